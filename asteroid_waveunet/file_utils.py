"""Files appear whole or not at all; whether they are as they were."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["checksum", "replacing"]


def checksum(
    path: str | os.PathLike, algorithm: str, told: Callable[[int], object] | None = None
) -> str:
    """Hex digits of a file that may be larger than memory.

    Args:
        algorithm: "md5", "sha256" or another one of hashlib's.
        told: is given the number of bytes of each block that was read.
    """
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
            if told is not None:
                told(len(block))
    return digest.hexdigest()


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A path to write to, beside `path`, whose place it takes when the block ends well.

    Readers, and a run that is started again after a kill, never see half a file. The name
    ends as `path`'s does, for writers that take the format from it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}.partial.{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
