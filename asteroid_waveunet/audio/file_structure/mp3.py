"""The header that an mp3 encoder stores in a silent first frame: numbers of frames and bytes."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

__all__ = ["declares_length", "is_truncated"]

XING_FRAMES, XING_BYTES = 1, 2


def is_truncated(file: BinaryIO, end: int) -> bool:
    """Check that an mp3 holds the stated number of bytes."""
    start, sizes = _xing(file)
    return end - start < sizes.get(XING_BYTES, 0)


def declares_length(path: Path) -> bool:
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
