"""Files whose samples are in chunks with a name and a size: wav, aiff, w64, caf, voc; au; avi.

A program that writes to a pipe cannot return to the header and leaves a placeholder size there:
0, -1, the largest integer, or one near 2 ** 31 (sox: 0x7FFFF000 in a wav and 0x7F000000 in an
aiff, rounded down to whole frames). Such a file is taken as complete.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = [
    "aiff_is_truncated",
    "au_is_truncated",
    "caf_is_truncated",
    "has_unsized_samples",
    "is_joined",
    "riff_is_truncated",
    "voc_is_truncated",
    "w64_is_truncated",
]

UNKNOWN_WAV_SIZE = 0x7FFF0000  # also of au
UNKNOWN_LONG_SIZE = 2**62  # of 64-bit sizes
UNKNOWN_AIFF_SIZE = 0x7EFF0000
WHOLE_FILES = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM")
IN_DS64 = 0xFFFFFFFF  # 32-bit RF64 size that refers to the 64-bit one

W64_CHUNK = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # ends the name of a chunk, 4 letters


def has_unsized_samples(path: Path) -> bool:
    """Return True for a wav, RF64 or BW64 that states no samples and yet holds some.

    One whose `data` is followed by complete chunks up to the end of the file is really empty.
    """
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        following = None
        for name, start, size in _riff_chunks(file, end):
            if name == b"data" and size:
                return False
            if following is not None or name == b"data":
                following = start + size
    return following is not None and following not in (end, end - 1)


def riff_is_truncated(file: BinaryIO, end: int) -> bool:
    """Check a wav, RF64 or BW64; or an avi, whose streams are in a list `movi`.

    A last sample that is stated in part needs not be there.
    """
    frame, order = 1, _byte_order(file)
    for name, start, size in _riff_chunks(file, end):
        if name == b"fmt " and size >= 16 and len(content := file.read(16)) == 16:
            frame = max(1, *struct.unpack(f"{order}H", content[12:14]))
        if name == b"data" or (name == b"LIST" and file.read(4) == b"movi"):
            known = size < UNKNOWN_WAV_SIZE or IN_DS64 < size < UNKNOWN_LONG_SIZE
            return known and (end - start) // frame < size // frame
    return False


def _byte_order(file: BinaryIO) -> str:
    """Return the byte order of a wav, for `struct`."""
    file.seek(0)
    return ">" if file.read(4) == b"RIFX" else "<"


def is_joined(path: Path) -> bool:
    """Return True for a wav, RF64 or aiff that another such file follows; no program reads it."""
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        start = file.read(4)
        chunks = _chunks(file, end, ">") if start == b"FORM" else _riff_chunks(file, end)
        return any(name in WHOLE_FILES for name, _, _ in chunks)


def _riff_chunks(file: BinaryIO, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield chunks as `_chunks`, `data` with its 64-bit size where it has one.

    RIFX is big-endian. RF64 and BW64 (EBU Tech 3306) begin with a `ds64` chunk: the 64-bit sizes
    of the file and of `data`.
    """
    order = _byte_order(file)
    long_size = IN_DS64
    for name, start, size in _chunks(file, end, order):
        if name == b"ds64" and start + 16 <= end:
            _, long_size = struct.unpack("<QQ", file.read(16))
        elif name == b"data" and size == IN_DS64:
            size = long_size
        yield name, start, size


def aiff_is_truncated(file: BinaryIO, end: int) -> bool:
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


def au_is_truncated(file: BinaryIO, end: int) -> bool:
    """Check an au: where its samples start, and their size, follow the first 4 bytes."""
    order = ">" if file.read(4) == b".snd" else "<"
    header = file.read(8)
    if len(header) < 8:
        return False
    start, size = struct.unpack(f"{order}II", header)
    return end - start < size < UNKNOWN_WAV_SIZE


def caf_is_truncated(file: BinaryIO, end: int) -> bool:
    """Check a caf: from byte 8 on, chunks of a name, a 64-bit size and the content."""
    position = 8
    while position + 12 <= end:
        file.seek(position)
        name, size = struct.unpack(">4sq", file.read(12))
        if name == b"data" or size < 0:
            return name == b"data" and end - position - 12 < size < UNKNOWN_LONG_SIZE
        position += 12 + size
    return False


def w64_is_truncated(file: BinaryIO, end: int) -> bool:
    """Check a w64: from byte 40 on, chunks of a 16-byte name and a 64-bit size, both counted."""
    position = 40
    while position + 24 <= end:
        file.seek(position)
        name, kind, size = struct.unpack("<4s12sQ", file.read(24))
        if kind != W64_CHUNK or size < 24:
            return False
        if name == b"data":
            return end - position < size < UNKNOWN_LONG_SIZE
        position += size + -size % 8
    return False


def voc_is_truncated(file: BinaryIO, end: int) -> bool:
    """Check a voc: blocks of a type (one byte; 0: the end), a size (three bytes) and content."""
    file.seek(20)
    position = int.from_bytes(file.read(2), "little")
    while 26 <= position < end:
        file.seek(position)
        kind, *size = file.read(4)
        if not kind:
            return False
        position += 4 + int.from_bytes(bytes(size), "little")
    return position > end
