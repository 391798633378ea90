"""Compare audio files with the lengths that their containers state."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from asteroid_waveunet.audio.file_structure import boxes, chunks, mp3, objects, ogg

__all__ = ["format_of", "is_truncated"]

# The first bytes of a file -> libsndfile's name of its format, or FFmpeg's.
BEGINNINGS = {
    b"RIFF": "WAV",
    b"RIFX": "WAV",
    b"RF64": "RF64",
    b"BW64": "RF64",
    b"FORM": "AIFF",
    b"OggS": "OGG",
    b".snd": "AU",
    b"dns.": "AU",
    b"caff": "CAF",
    b"riff": "W64",
    b"Crea": "VOC",
    b"\x30\x26\xb2\x75": "ASF",
    b"\x1a\x45\xdf\xa3": "MATROSKA",
}

CHECKS: dict[str, Callable[[BinaryIO, int], bool]] = {
    "WAV": chunks.riff_is_truncated,
    "WAVEX": chunks.riff_is_truncated,
    "RF64": chunks.riff_is_truncated,
    "AIFF": chunks.aiff_is_truncated,
    "AU": chunks.au_is_truncated,
    "CAF": chunks.caf_is_truncated,
    "W64": chunks.w64_is_truncated,
    "VOC": chunks.voc_is_truncated,
    "OGG": ogg.is_truncated,
    "MP3": mp3.is_truncated,
    "MP4": boxes.is_truncated,
    "ASF": objects.asf_is_truncated,
    "MATROSKA": objects.matroska_is_truncated,
}


def format_of(start: bytes) -> str:
    """Return libsndfile's name of the format that a file's first bytes belong to, or FFmpeg's.

    >>> format_of(b"RIFF"), format_of(b"ID3"), format_of(b"fLaC")
    ('WAV', 'MP3', '')
    """
    if start[4:8] in boxes.FIRST:
        return "MP4"
    is_mp3 = start[:3] == b"ID3" or (start[:1] == b"\xff" and start[1:2] >= b"\xe0")
    return BEGINNINGS.get(start[:4], "MP3" if is_mp3 else "")


def is_truncated(path: Path, format: str) -> bool:
    """Return True if a file ends within its samples, before the end its container states.

    Tags after the samples may be incomplete. Of an ogg the last 128 kB are read, of other
    formats the headers. Invalid headers return False: that is for the decoder to judge,
    and a complete file must not be refused here.

    Args:
        format: as returned by `format_of`. Others than those of `CHECKS` return False.
    """
    check = CHECKS.get(format)
    if check is None:
        return False
    with path.open("rb") as file:
        return check(file, os.fstat(file.fileno()).st_size)
