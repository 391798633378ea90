"""Songs that are no regular files (pipes, standard input, file objects) as files."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from asteroid_waveunet.file_utils import expanded
from asteroid_waveunet.system_errors import unreadable

__all__ = ["Source", "is_pipe", "local_file", "path_of"]

Source = str | os.PathLike | IO[bytes]


def is_pipe(path: Path) -> bool:
    """Return True for a named pipe or a socket; False where the system does not let one see it."""
    try:
        return path.is_fifo() or path.is_socket()
    except OSError:
        return False  # opening the file gives the reason


def path_of(source: Source) -> Path | None:
    """Return the path of a file, a pipe or an open file; None for other objects."""
    if isinstance(source, (str, os.PathLike)):
        return expanded(source)
    name = getattr(source, "name", None)  # "<stdin>", or a number of a descriptor
    return Path(name) if isinstance(name, str) and not name.startswith("<") else None


@contextlib.contextmanager
def local_file(source: Source, name: str | None = None) -> Iterator[Path]:
    """Yield the path of a file that can be read more than once.

    A pipe or a file object is copied to a temporary file, which is deleted afterwards: some
    formats have their index at the end.

    Args:
        source: a path, or an object whose `read(n)` returns bytes.
        name: of the temporary file; by default the pipe's or the object's own.
    Raises:
        OSError: if the copy does not fit into the temporary folder.
    """
    if isinstance(source, (str, os.PathLike)):
        path = expanded(source)
        if not is_pipe(path):
            yield path
            return
        with contextlib.ExitStack() as stack:
            try:
                stream = stack.enter_context(path.open("rb"))
            except OSError as error:
                raise unreadable(path, error) from error
            yield stack.enter_context(_copied(stream, name or path.name))
        return
    own = path_of(source)
    with _copied(source, name or (own.name if own else "stream")) as path:
        yield path


@contextlib.contextmanager
def _copied(stream: IO[bytes], name: str) -> Iterator[Path]:
    """Copy a stream from where it stands to a temporary file."""
    with tempfile.TemporaryDirectory(prefix="waveunet.") as folder:
        path = Path(folder) / name
        with path.open("wb") as file:
            while block := stream.read(2**20):
                if not isinstance(block, bytes):
                    raise ValueError(
                        f"{name} yields {type(block).__name__}, not bytes; open it in binary mode."
                    )
                _write(file, block, name)
        yield path


def _write(file: IO[bytes], block: bytes, name: str) -> None:
    try:
        file.write(block)
        file.flush()
    except OSError as error:
        folder = tempfile.gettempdir()
        free = shutil.disk_usage(folder).free // 2**20
        raise OSError(
            f"{name} does not fit into the temporary folder {folder}: {error.strerror}, {free} MB "
            "free. Set TMPDIR to a folder with more room."
        ) from error
