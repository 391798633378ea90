"""Temporary folders of workers; those of killed ones are deleted by the next worker."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from asteroid_waveunet.file_locks import AlreadyLocked, locked

__all__ = ["worker_folder"]

NAME = "waveunet-scratch"


@contextlib.contextmanager
def worker_folder(parent: str | None) -> Iterator[Path]:
    """Yield an empty folder for one worker, deleted at the end.

    Args:
        parent: an existing folder; by default the system's temporary folder.
    Raises:
        OSError: if it cannot be written to.
    """
    root = Path(parent or tempfile.gettempdir(), NAME)
    root.mkdir(parents=True, exist_ok=True)
    for left in root.glob("worker-*"):
        with contextlib.suppress(AlreadyLocked, OSError), locked(left, wait=False):
            shutil.rmtree(left, ignore_errors=True)
    folder = root / f"worker-{secrets.token_hex(8)}"
    with locked(folder):
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
