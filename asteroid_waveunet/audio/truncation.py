"""Audio files that end before their container says, which libsndfile passes over."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["is_cut_off"]

LARGEST_PAGE = 27 + 255 + 255 * 255  # bytes of ogg: header, segment table, segments

# A program that writes to a pipe cannot go back to the header, and leaves a size there that no
# file has: 0, the largest number, or one near 2 ** 31 (sox: 0x7FFFF000 in a wav and 0x7F000000
# in an aiff, rounded down to whole frames). Such a file is whole as far as anyone can tell.
UNKNOWN_WAV_SIZE = 0x7FFF0000
UNKNOWN_RF64_SIZE = 2**62  # of 64 bits
UNKNOWN_AIFF_SIZE = 0x7EFF0000
IN_DS64 = 0xFFFFFFFF  # an RF64 size of 32 bits that refers to the one of 64 bits


def is_cut_off(path: Path, format: str) -> bool:
    """Whether a file ends before its container says: within the samples, not in tags after them.

    Of an ogg the last 128 kB are read, of others the heads of chunks. Where they make no sense the
    answer is no: the decoder may refuse them, and a whole file must not be refused here.

    Args:
        format: libsndfile's name of it, such as "WAV". The answer is no for others than wav
            (also RF64), aiff and ogg.
    """
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        if format in ("WAV", "WAVEX", "RF64"):
            return _riff_is_cut_off(file, end)
        if format == "AIFF":
            return _aiff_is_cut_off(file, end)
        if format == "OGG":
            return _ogg_is_cut_off(file, end)
    return False


def _riff_is_cut_off(file: BinaryIO, end: int) -> bool:
    """A wav: RIFF (or RIFX, big-endian), or RF64 and BW64 with sizes of 64 bits (EBU Tech 3306).

    Those have a chunk `ds64` in front: the sizes of the file and of `data`, 64 bits each.
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


def _aiff_is_cut_off(file: BinaryIO, end: int) -> bool:
    """An aiff, or an aifc: their samples are in the chunk `SSND`."""
    for name, start, size in _chunks(file, end, ">"):
        if name == b"SSND":
            return end - start < size < UNKNOWN_AIFF_SIZE
    return False


def _chunks(file: BinaryIO, end: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and size of the chunks of an IFF file, which then stands at that start.

    A chunk is its name (4 letters), its size (32 bits in `order`, ">" or "<") and so many
    bytes, one more if they are odd. Around them all: 4 letters, a size, and 4 letters.
    """
    at = 12
    while at + 8 <= end:
        file.seek(at)
        name, size = struct.unpack(f"{order}4sI", file.read(8))
        if not name.decode("latin-1").isprintable():
            return  # what follows is no chunk
        yield name, at + 8, size
        at += 8 + size + size % 2


def _ogg_is_cut_off(file: BinaryIO, end: int) -> bool:
    """An ogg: its last page is marked as such, and there to its last byte.

    A page (RFC 3533) is b"OggS", the version 0, flags (4: the last page of a stream), and 20
    bytes that do not matter here; then the number of segments, their lengths, a byte each, and
    the segments.

    What follows the last page is not looked at: tags that a program put there. If they fill all
    that is read, nothing is known.
    """
    file.seek(max(0, end - 2 * LARGEST_PAGE))
    tail = file.read()
    at = tail.rfind(b"OggS")
    while at >= 0 and tail[at + 4 : at + 6] >= b"\0\x08":  # another version, or unknown flags
        at = tail.rfind(b"OggS", 0, at)
    if at < 0:
        return False
    header = tail[at : at + 27]
    if len(header) < 27 or not header[5] & 4:
        return True
    lengths = tail[at + 27 : at + 27 + header[26]]
    return len(lengths) < header[26] or at + 27 + len(lengths) + sum(lengths) > len(tail)
