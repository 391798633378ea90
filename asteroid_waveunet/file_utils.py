"""Atomic writes of files and folders; checksums; one-line messages of exceptions."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

from asteroid_waveunet import file_locks
from asteroid_waveunet.system_errors import naming

__all__ = [
    "checksum",
    "expanded",
    "first_line",
    "nfc",
    "remove_leftovers",
    "replacing",
    "replacing_folder",
    "temporary_beside",
    "utf_8_path",
    "valid_unicode",
]

TEMPORARY = re.compile(r"\.([0-9a-f]+)\.(partial\.|lock$)")  # names that `replacing` makes
OLD = 24 * 3600  # seconds after which a temporary file on a file system without locks is left over


def first_line(reason: BaseException) -> str:
    """Return the first line of an exception's message, or its type's name if that is empty."""
    return (str(reason).strip().splitlines() or [type(reason).__name__])[0]


def expanded(path: str | os.PathLike) -> Path:
    """Return a path with its leading `~` or `~user` replaced by that home, if there is one.

    >>> expanded("~no-such-user.wav")
    PosixPath('~no-such-user.wav')
    """
    path = Path(path)
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def valid_unicode(text: str) -> str:
    r"""Escape the bytes of file names that are no UTF-8: UTF-8 cannot encode them.

    >>> valid_unicode("caf\udce9") == "caf" + chr(92) + "udce9"
    True
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def nfc(name: str) -> str:
    """Return a name in Unicode's composed form: macOS writes "é" as "e" and an accent.

    >>> len("e" + chr(0x301)), len(nfc("e" + chr(0x301)))
    (2, 1)
    """
    return unicodedata.normalize("NFC", name)


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

    Readers and restarted runs never see a partial file, and several writers of the same path do
    not meet: the last one to finish wins. The temporary name keeps the suffix of `path`, for
    writers that infer the format from it. The first call for a folder deletes what killed
    processes left there.
    """
    path = Path(path)
    with temporary_beside(path) as partial:
        yield partial
        os.replace(partial, path)


@contextlib.contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file beside another, which is deleted at the end.

    As for `replacing`, the first call for a folder deletes what killed processes left there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers_once(path.parent.absolute())
    token = secrets.token_hex(8)
    prefix = f".{token}.partial."
    partial = path.with_name(
        prefix + file_locks.shorten(path.name, file_locks.LONGEST_NAME - len(prefix))
    )
    with naming(path, f".{token}."), _marked_alive(path.parent, token):
        try:
            yield partial
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def utf_8_path(path: Path) -> Iterator[Path]:
    """Yield a path to a file for libraries that take UTF-8 only: a link, if its name is none."""
    if valid_unicode(str(path)) == str(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="waveunet.") as folder:
        link = Path(folder, "file")
        link.symlink_to(path.absolute())
        yield link


@contextlib.contextmanager
def _marked_alive(folder: Path, token: str) -> Iterator[None]:
    """Hold a lock for a temporary file: on the file itself, it would stop writers on SMB shares."""
    lock = folder / f".{token}.lock"
    descriptor = None
    with contextlib.suppress(file_locks.LocksUnsupported):
        descriptor = file_locks.acquire(lock)
    try:
        yield
    finally:
        if descriptor is None:
            lock.unlink(missing_ok=True)
        else:
            file_locks.release(lock, descriptor)


@functools.cache
def _remove_leftovers_once(folder: Path) -> None:
    remove_leftovers(folder)


def remove_leftovers(folder: str | os.PathLike) -> None:
    """Delete the temporary files of `replacing` in a folder whose processes are dead.

    A living process holds a lock. On a file system without locks, only files older than a day are
    deleted.
    """
    by_token: dict[str, list[Path]] = {}
    with contextlib.suppress(OSError), os.scandir(os.fspath(folder)) as entries:
        for entry in entries:
            if (match := TEMPORARY.match(entry.name)) and entry.is_file(follow_symlinks=False):
                by_token.setdefault(match[1], []).append(Path(entry.path))
    for token, files in by_token.items():
        with contextlib.suppress(OSError):  # another process deletes them, or their owner does
            _remove_if_dead(Path(folder, f".{token}.lock"), files)


def _remove_if_dead(lock: Path, files: list[Path]) -> None:
    try:
        descriptor = file_locks.acquire(lock)
    except file_locks.LocksUnsupported:
        if time.time() - max(file.stat().st_mtime for file in files) > OLD:
            for file in {*files, lock}:
                file.unlink(missing_ok=True)
        return
    if descriptor is None:
        return
    try:
        for file in files:
            if file != lock:
                file.unlink(missing_ok=True)
    finally:
        file_locks.release(lock, descriptor)


@contextlib.contextmanager
def replacing_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """Yield an empty temporary sibling folder that replaces `folder` when the block succeeds.

    Readers never see a partial folder. Of several processes that write the same folder, one does
    and the others wait. If the process is killed, the next call for the same folder restores the
    earlier contents and deletes the temporary folder.
    """
    folder = Path(folder).absolute()
    partial = folder.with_name(f".partial.{folder.name}")
    earlier = folder.with_name(f".earlier.{folder.name}")
    with file_locks.locked(folder):
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
