"""Detect audio files that end before their container says, which libsndfile reads silently."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["is_truncated"]

MAX_PAGE = 27 + 255 + 255 * 255  # bytes of an ogg page: header, segment table, segments

# A program that writes to a pipe cannot return to the header and leaves a placeholder size there:
# 0, the largest integer, or one near 2 ** 31 (sox: 0x7FFFF000 in a wav and 0x7F000000 in an aiff,
# rounded down to whole frames). Such a file is taken as complete.
UNKNOWN_WAV_SIZE = 0x7FFF0000
UNKNOWN_RF64_SIZE = 2**62  # of 64-bit sizes
UNKNOWN_AIFF_SIZE = 0x7EFF0000
IN_DS64 = 0xFFFFFFFF  # 32-bit RF64 size that refers to the 64-bit one


def is_truncated(path: Path, format: str) -> bool:
    """Return True if a file ends within its samples, before the end its container states.

    Tags after the samples may be incomplete. Of an ogg the last 128 kB are read, of other
    formats the chunk headers. Invalid headers return False: that is for the decoder to judge,
    and a complete file must not be refused here.

    Args:
        format: libsndfile's name of the format. Other formats than wav (also RF64), aiff and
            ogg return False.
    """
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        if format in ("WAV", "WAVEX", "RF64"):
            return _riff_is_truncated(file, end)
        if format == "AIFF":
            return _aiff_is_truncated(file, end)
        if format == "OGG":
            return _ogg_is_truncated(file, end)
    return False


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
