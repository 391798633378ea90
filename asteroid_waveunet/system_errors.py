"""Errors of the operating system, explained: the reason, the path and what to do."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["explain", "naming", "write_error"]

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)

REMEDIES = {
    errno.ENOSPC: "Free some space, or write elsewhere.",
    errno.EDQUOT: "Your quota is used up: free some space, or write elsewhere.",
    errno.EFBIG: "The file system or `ulimit -f` limits file sizes. Free some space, or write "
    "elsewhere.",
    errno.EACCES: "Change its permissions, or choose another place.",
    errno.EPERM: "Change its permissions, or choose another place.",
    errno.EROFS: "It cannot be written to; choose another place.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EMFILE: "Raise the limit with `ulimit -n`.",
    errno.EIO: "The disk may be failing; try another.",
    errno.ENOTDIR: "A file is where a folder is expected; choose another place.",
    errno.EISDIR: "A folder is where a file is expected; choose another place.",
}


def explain(error: BaseException) -> str:
    """Return one line on an error: for one of the system the path, the reason and a remedy.

    >>> explain(PermissionError(errno.EACCES, "Permission denied", "out/song"))
    'out/song: Permission denied. Change its permissions, or choose another place.'
    """
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        names = [error.filename] if error.filename2 is None else [error.filename, error.filename2]
        paths = " -> ".join(os.fsdecode(name) for name in names if not isinstance(name, int))
        remedy = REMEDIES.get(error.errno, "")
        return f"{paths}: {error.strerror}. {remedy}".rstrip()
    expected = isinstance(error, (ValueError, OSError, ImportError))
    return str(error) if expected else f"{type(error).__name__}: {error}"


def unreadable(path: str | os.PathLike, error: OSError) -> OSError:
    """Return an error of the same type that says in one line what to do.

    >>> str(unreadable("a.wav", PermissionError(13, "Permission denied")))
    'a.wav cannot be read: Permission denied. Allow reading it and entering its folders (chmod).'
    """
    remedy = "Check the disk that it is on, or copy it elsewhere."
    if isinstance(error, PermissionError):
        remedy = "Allow reading it and entering its folders (chmod)."
    return type(error)(f"{path} cannot be read: {error.strerror}. {remedy}")


def write_error(path: Path, partial: Path, reason: Exception) -> OSError:
    """Return the system's error behind a library's failure to write, which lost it.

    Args:
        path: final path, for the message.
        partial: the file that could not be written; a try to append to it repeats the error.
        reason: the library's error.
    """
    try:
        with partial.open("ab", buffering=0) as file:
            file.write(bytes(2**20))
            os.fsync(file.fileno())
    except OSError as error:
        return OSError(error.errno, f"cannot be written: {error.strerror}", str(path))
    return OSError(f"{path} cannot be written: {reason} Try again, or write elsewhere.")


@contextlib.contextmanager
def naming(path: Path, temporary: str) -> Iterator[None]:
    """Let the system's errors name the file that is being written.

    Args:
        temporary: what the names of its temporary files begin with.
    """
    try:
        yield
    except OSError as error:
        nameless = error.filename is None and error.errno in DISK_ERRORS
        if nameless or Path(os.fsdecode(error.filename or "")).name.startswith(temporary):
            error.filename, error.filename2 = str(path), None
        raise
