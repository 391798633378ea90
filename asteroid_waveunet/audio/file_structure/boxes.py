"""The boxes of mp4 files: a size, 4 letters, and a content, which may be boxes."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["FIRST", "find_box", "is_fragmented", "is_truncated", "iterate_boxes"]

FIRST = (b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
PARENTS = (b"moov", b"udta")


def iterate_boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of each box that ends within `end`.

    The size has 32 bits; 1: 64 bits follow, 0: up to the end.
    """
    for name, box_start, box_end in _stated_boxes(file, start, end):
        if box_end > end:
            return
        yield name, box_start, box_end


def find_box(file: BinaryIO, wanted: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Return start and end of the first box of a name, also in `moov` and `udta`."""
    for name, box_start, box_end in iterate_boxes(file, start, end):
        if name == wanted:
            return box_start, box_end
        if name in PARENTS and (found := find_box(file, wanted, box_start + 8, box_end)):
            return found
    return None


def is_fragmented(path: Path) -> bool:
    """Return True for an mp4 whose index is in pieces, for streaming; its length is unknown."""
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        return find_box(file, b"mvex", 0, end) is not None


def is_truncated(file: BinaryIO, end: int) -> bool:
    """Check an mp4 that lacks its index, or has it in pieces, for a box beyond its end.

    If there is a whole index, reading tells better: other streams may be what is missing.
    """
    names = []
    for name, _, box_end in _stated_boxes(file, 0, end):
        if box_end > end:
            return b"moov" not in names or find_box(file, b"mvex", 0, end) is not None
        names.append(name)
    return False


def _stated_boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes; the last may end beyond `end`."""
    while start + 8 <= end:
        file.seek(start)
        size, name = struct.unpack(">I4s", file.read(8))
        if size == 1:
            long_size = file.read(8)
            size = struct.unpack(">Q", long_size)[0] if len(long_size) == 8 else 0
        size = end - start if size == 0 else size
        if size < 8 or not name.decode("latin-1").isprintable():
            return
        yield name, start, start + size
        start += size
