"""Files whose header states their size: asf (wma) and matroska (mka, mkv, webm)."""

from __future__ import annotations

import struct
from typing import BinaryIO

__all__ = ["asf_is_truncated", "matroska_is_truncated"]

FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
BROADCAST = 1  # flag of a file whose size was unknown when it was written
SEGMENT = b"\x18\x53\x80\x67"


def asf_is_truncated(file: BinaryIO, end: int) -> bool:
    """Check an asf: its header has objects of a 16-byte name and a 64-bit size, both counted.

    The one of file properties states the size of the file, after 16 bytes, and flags.
    """
    position = 30
    while position + 24 <= end:
        file.seek(position)
        name, size = struct.unpack("<16sQ", file.read(24))
        if name == FILE_PROPERTIES:
            content = file.read(68)
            if len(content) < 68:
                return True
            stated, flags = struct.unpack_from("<Q40xI", content, 16)
            return not flags & BROADCAST and stated > end
        if size < 24:
            return False
        position += size
    return False


def matroska_is_truncated(file: BinaryIO, end: int) -> bool:
    """Check a matroska: after its header (4 bytes, a size, content) the segment states a size."""
    file.seek(4)
    size = _read_size(file)
    if size is None:
        return False
    file.seek(size, 1)
    if file.read(4) != SEGMENT:
        return False
    size = _read_size(file)
    return size is not None and file.tell() + size > end


def _read_size(file: BinaryIO) -> int | None:
    """Read a number whose leading zero bits tell its bytes; None if it is unknown (all ones)."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    rest = file.read(length - 1)
    bits = 7 * length
    number = int.from_bytes(first + rest, "big") & (1 << bits) - 1
    return None if len(rest) < length - 1 or number == (1 << bits) - 1 else number
