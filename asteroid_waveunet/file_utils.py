"""Atomic writes of files and folders; checksums; one-line messages of exceptions."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["checksum", "first_line", "replacing", "replacing_folder"]


def first_line(reason: BaseException) -> str:
    """Return the first line of an exception's message, or its type's name if that is empty."""
    return (str(reason).strip().splitlines() or [type(reason).__name__])[0]


def checksum(
    path: str | os.PathLike, algorithm: str, progress: Callable[[int], object] | None = None
) -> str:
    """Return the hex digest of a file of any size.

    Args:
        algorithm: "md5", "sha256" or another name in hashlib.
        progress: called with the number of bytes of each block read.
    """
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
            if progress is not None:
                progress(len(block))
    return digest.hexdigest()


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path in the same folder that replaces `path` when the block succeeds.

    Readers and restarted runs never see a partial file. The temporary name keeps the suffix of
    `path`, for writers that infer the format from it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}.partial.{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """Yield an empty temporary sibling folder that replaces `folder` when the block succeeds.

    Readers never see a partial folder. If the process is killed, the next call for the same
    folder restores the earlier contents and deletes the temporary folder.
    """
    folder = Path(folder).absolute()
    partial = folder.with_name(f".partial.{folder.name}")
    earlier = folder.with_name(f".earlier.{folder.name}")
    if earlier.exists() and not folder.exists():  # killed between the two renames below
        earlier.rename(folder)
    for leftover in (partial, earlier):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        if folder.exists():
            folder.rename(earlier)
        partial.rename(folder)
        shutil.rmtree(earlier, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
