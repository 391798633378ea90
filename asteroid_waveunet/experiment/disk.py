"""Disk space: check it before large writes and report a full disk."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "NoSpace",
    "check_free_space",
    "explain_full_disk",
    "format_size",
    "free_space",
]

FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # full disk, exhausted quota


class NoSpace(OSError):
    """Too little free disk space."""


def format_size(n_bytes: float) -> str:
    """Format a number of bytes in GB or MB.

    >>> format_size(22_656_664_047), format_size(147_209)
    ('22.7 GB', '0.1 MB')
    """
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.1f} MB"


def free_space(folder: str | os.PathLike) -> int:
    """Return the free bytes on the disk of a folder, which need not exist yet."""
    folder = Path(folder).absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free


def check_free_space(folder: str | os.PathLike, n_bytes: int, what: str) -> None:
    """Require `n_bytes` of free disk space for `what`.

    Raises:
        NoSpace: if less is free.
    """
    free = free_space(folder)
    if free < n_bytes:
        raise NoSpace(
            f"{what} needs {format_size(n_bytes)} in {folder}, where {format_size(free)} are free. "
            f"Free {format_size(n_bytes - free)} more, or choose another disk, and run the same "
            "command again."
        )


@contextlib.contextmanager
def explain_full_disk(folder: str | os.PathLike, what: str, n_bytes: int) -> Iterator[None]:
    """Replace the error of a full disk by one that says how much space is needed.

    Args:
        n_bytes: that `what` needs in total, including the part already written.
    Raises:
        NoSpace: if the disk becomes full or a quota is exhausted.
    """
    try:
        yield
    except OSError as reason:
        if reason.errno not in FULL:
            raise
        raise NoSpace(
            f"No space left in {folder} for {what}, which needs {format_size(n_bytes)} in total. "
            "Free some, and run the same command again."
        ) from reason
