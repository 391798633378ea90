"""The pages of ogg files.

A page (RFC 3533) is b"OggS", the version 0, flags (2: the first page of a stream, 4: the last), 20
bytes that do not matter here, the number of segments, their lengths (one byte each), and the
segments.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

__all__ = ["is_truncated", "links"]

MAX_PAGE = 27 + 255 + 255 * 255  # bytes: header, segment table, segments
BEGINS, ENDS = 2, 4


def links(path: Path) -> list[tuple[int, int]]:
    """Return start and end of each of the streams one after another, as joined files have.

    The streams of one piece, such as audio and video, begin together. Every page's header is read.
    Bytes that are no page (tags of other programs, damage) belong to the last stream.
    """
    starts, at, in_first_pages = [0], 0, True
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        while at + 27 <= end:
            file.seek(at)
            header = file.read(27 + 255)
            if header[:4] != b"OggS":
                break
            begins = bool(header[5] & BEGINS)
            if begins and not in_first_pages:
                starts.append(at)
            in_first_pages = begins
            lengths = header[27 : 27 + header[26]]
            at += 27 + len(lengths) + sum(lengths)
    return [*zip(starts, [*starts[1:], end], strict=True)]


def is_truncated(file: BinaryIO, end: int) -> bool:
    """Check that an ogg's last page is complete and marked as the last.

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
    if len(header) < 27 or not header[5] & ENDS:
        return True
    lengths = tail[at + 27 : at + 27 + header[26]]
    return len(lengths) < header[26] or at + 27 + len(lengths) + sum(lengths) > len(tail)
