"""Large files on a disk: room is asked for before they are written, and one run writes them."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import filelock

__all__ = ["NoSpace", "alone", "check_room", "free", "gigabytes", "room_explained"]

FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # the disk, or one's share of it


class NoSpace(OSError):
    """There is no room for what is to be written."""


def gigabytes(n_bytes: float) -> str:
    """
    >>> gigabytes(22_656_664_047), gigabytes(147_209)
    ('22.7 GB', '0.1 MB')
    """
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.1f} MB"


def free(folder: str | os.PathLike) -> int:
    """Bytes that may still be written to a folder, which need not be there yet."""
    folder = Path(folder).absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free


def check_room(folder: str | os.PathLike, n_bytes: int, what: str) -> None:
    """
    Raises:
        NoSpace: if a folder's disk has no room for so many bytes more.
    """
    there = free(folder)
    if there < n_bytes:
        raise NoSpace(
            f"{what} needs {gigabytes(n_bytes)} in {folder}, where {gigabytes(there)} are free. "
            f"Make room for {gigabytes(n_bytes - there)} more, or choose another disk, and run "
            "the same command again."
        )


@contextlib.contextmanager
def room_explained(folder: str | os.PathLike, what: str, n_bytes: int) -> Iterator[None]:
    """A disk that is full becomes a message.

    Args:
        n_bytes: that `what` needs in all, what is written of it included.
    Raises:
        NoSpace: if the disk becomes full, or one's quota is used up.
    """
    try:
        yield
    except OSError as reason:
        if reason.errno not in FULL:
            raise
        raise NoSpace(
            f"There is no space left for {what} in {folder}, which needs {gigabytes(n_bytes)} in "
            "all. Make room, and run the same command again."
        ) from reason


@contextlib.contextmanager
def alone(path: str | os.PathLike) -> Iterator[None]:
    """No other run makes this file or folder meanwhile; one that is about to is waited for."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print(f"Another run is about to make {path}; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
