"""Compare audio files with what their containers say: truncated, joined, or of unstated length."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = [
    "format_of",
    "has_unsized_samples",
    "is_chained",
    "is_truncated",
    "mp3_declares_length",
]

MAX_PAGE = 27 + 255 + 255 * 255  # bytes of an ogg page: header, segment table, segments

# A program that writes to a pipe cannot return to the header and leaves a placeholder size there:
# 0, the largest integer, or one near 2 ** 31 (sox: 0x7FFFF000 in a wav and 0x7F000000 in an aiff,
# rounded down to whole frames). Such a file is taken as complete.
UNKNOWN_WAV_SIZE = 0x7FFF0000
UNKNOWN_RF64_SIZE = 2**62  # of 64-bit sizes
UNKNOWN_AIFF_SIZE = 0x7EFF0000
IN_DS64 = 0xFFFFFFFF  # 32-bit RF64 size that refers to the 64-bit one


BEGINNINGS = {
    b"RIFF": "WAV",
    b"RIFX": "WAV",
    b"RF64": "RF64",
    b"BW64": "RF64",
    b"FORM": "AIFF",
    b"OggS": "OGG",
}


def format_of(start: bytes) -> str:
    """Return libsndfile's name of the format that a file's first bytes belong to.

    >>> format_of(b"RIFF"), format_of(b"ID3"), format_of(b"fLaC")
    ('WAV', 'MP3', '')
    """
    is_mp3 = start[:3] == b"ID3" or (start[:1] == b"\xff" and start[1:2] >= b"\xe0")
    return BEGINNINGS.get(start[:4], "MP3" if is_mp3 else "")


def is_truncated(path: Path, format: str) -> bool:
    """Return True if a file ends within its samples, before the end its container states.

    Tags after the samples may be incomplete. Of an ogg the last 128 kB are read, of other
    formats the chunk headers. Invalid headers return False: that is for the decoder to judge,
    and a complete file must not be refused here.

    Args:
        format: libsndfile's name of the format. Other formats than wav (also RF64), aiff, ogg
            and mp3 return False.
    """
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        if format in ("WAV", "WAVEX", "RF64"):
            return _riff_is_truncated(file, end)
        if format == "AIFF":
            return _aiff_is_truncated(file, end)
        if format == "OGG":
            return _ogg_is_truncated(file, end)
        if format == "MP3":
            start, sizes = _xing(file)
            return end - start < sizes.get(XING_BYTES, 0)
    return False


def has_unsized_samples(path: Path, format: str) -> bool:
    """Return True if samples may follow a stated size of 0, in a file that libsndfile finds empty.

    A wav whose `data` is followed by complete chunks up to the end of the file is really empty.
    """
    if format not in ("WAV", "WAVEX"):
        return True
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        order = ">" if file.read(4) == b"RIFX" else "<"
        following = None
        for name, start, size in _chunks(file, end, order):
            if following is not None or name == b"data":
                following = start + size
    return following is not None and following not in (end, end - 1)


def is_chained(path: Path) -> bool:
    """Return True for an ogg of several streams one after another, as joined files are.

    libsndfile ends with the first stream. Every page's header is read.
    """
    with path.open("rb") as file:
        end, at, in_first = os.fstat(file.fileno()).st_size, 0, True
        while at + 27 <= end:
            file.seek(at)
            header = file.read(27 + 255)
            if header[:4] != b"OggS":
                return False  # tags of other programs, or damage: that is for the decoder
            begins = bool(header[5] & 2)
            if begins and not in_first:
                return True
            in_first = in_first and begins
            lengths = header[27 : 27 + header[26]]
            at += 27 + len(lengths) + sum(lengths)
    return False


XING_FRAMES, XING_BYTES = 1, 2


def mp3_declares_length(path: Path) -> bool:
    """Return True if an mp3's first frame states the number of frames, and of this file alone.

    FFmpeg takes the same file for joined, and estimates its length, from a sixteenth more on.
    """
    with path.open("rb") as file:
        start, sizes = _xing(file)
        n_bytes, end = sizes.get(XING_BYTES, 0), os.fstat(file.fileno()).st_size
    is_joined = n_bytes and end - start > n_bytes + n_bytes // 32
    return bool(sizes.get(XING_FRAMES)) and not is_joined


def _xing(file: BinaryIO) -> tuple[int, dict[int, int]]:
    """Return where the frames of an mp3 start, and what a header there states.

    The header of an encoder is a silent first frame. Its content is "Xing" or "Info", flags, and
    for each flag that is set, frames (1) and bytes (2) come as 32-bit numbers; or 32 bytes into the
    frame "VBRI", 6 bytes, bytes and frames.
    """
    file.seek(0)
    start, tag = 0, file.read(10)
    while len(tag) == 10 and tag[:3] == b"ID3":  # ID3v2 tags; sizes have 7 bits a byte
        start += 10 + sum(byte << 7 * (3 - at) for at, byte in enumerate(tag[6:10]))
        start += 10 * bool(tag[5] & 0x10)  # its footer
        file.seek(start)
        tag = file.read(10)
    file.seek(start)
    frame = file.read(200)
    if len(frame) < 56:
        return start, {}
    if frame[36:40] == b"VBRI":
        n_bytes, n_frames = struct.unpack(">II", frame[46:54])
        return start, {XING_FRAMES: n_frames, XING_BYTES: n_bytes}
    is_mpeg1, is_mono = frame[1] & 0x08, frame[3] >> 6 == 3
    side = (17 if is_mono else 32) if is_mpeg1 else (9 if is_mono else 17)
    at = 4 + side
    if frame[at : at + 4] not in (b"Xing", b"Info"):
        return start, {}
    flags, *numbers = struct.unpack(">III", frame[at + 4 : at + 16])
    stated = [flag for flag in (XING_FRAMES, XING_BYTES) if flags & flag]
    return start, dict(zip(stated, numbers, strict=False))


def _riff_is_truncated(file: BinaryIO, end: int) -> bool:
    """Check a wav: RIFF (or RIFX, big-endian), or RF64 and BW64 with 64-bit sizes.

    RF64 and BW64 (EBU Tech 3306) begin with a `ds64` chunk: the 64-bit sizes of the file and
    of `data`.
    """
    order = ">" if file.read(4) == b"RIFX" else "<"
    long_size = 0
    for name, start, size in _chunks(file, end, order):
        if name == b"ds64" and start + 16 <= end:
            _, long_size = struct.unpack("<QQ", file.read(16))
        elif name == b"data" and size == IN_DS64:
            return end - start < long_size < UNKNOWN_RF64_SIZE
        elif name == b"data":
            return end - start < size < UNKNOWN_WAV_SIZE
    return False


def _aiff_is_truncated(file: BinaryIO, end: int) -> bool:
    """Check an aiff or aifc, whose samples are in the chunk `SSND`."""
    for name, start, size in _chunks(file, end, ">"):
        if name == b"SSND":
            return end - start < size < UNKNOWN_AIFF_SIZE
    return False


def _chunks(file: BinaryIO, end: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and size of each chunk of an IFF file, positioned at that start.

    A chunk is its name (4 letters), its size (32 bits in byte order `order`, ">" or "<") and
    its content, padded to an even size. The file begins with 4 letters, a size, and 4 letters.
    """
    position = 12
    while position + 8 <= end:
        file.seek(position)
        name, size = struct.unpack(f"{order}4sI", file.read(8))
        if not name.decode("latin-1").isprintable():
            return  # not a chunk
        yield name, position + 8, size
        position += 8 + size + size % 2


def _ogg_is_truncated(file: BinaryIO, end: int) -> bool:
    """Check that an ogg's last page is complete and marked as the last.

    A page (RFC 3533) is b"OggS", the version 0, flags (4: the last page of a stream), 20 bytes
    that do not matter here, the number of segments, their lengths (one byte each), and the
    segments.

    Bytes after the last page are ignored: some programs append tags. If these fill the part
    that is read, the result is False.
    """
    file.seek(max(0, end - 2 * MAX_PAGE))
    tail = file.read()
    at = tail.rfind(b"OggS")
    while at >= 0 and tail[at + 4 : at + 6] >= b"\0\x08":  # other version or unknown flags
        at = tail.rfind(b"OggS", 0, at)
    if at < 0:
        return False
    header = tail[at : at + 27]
    if len(header) < 27 or not header[5] & 4:
        return True
    lengths = tail[at + 27 : at + 27 + header[26]]
    return len(lengths) < header[26] or at + 27 + len(lengths) + sum(lengths) > len(tail)
