"""Locks on files and folders that end with their process.

The operating system holds them (`flock`), so they also exclude processes in other containers, and
on other machines where a network file system supports it. A killed process keeps none. The package
filelock is not used: it leaves its files behind, and where a file system has no locks it waits
forever or makes a file that a killed process keeps, depending on its version.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = [
    "AlreadyLocked",
    "LocksUnsupported",
    "acquire",
    "is_first_process",
    "lock_file",
    "locked",
    "release",
    "shorten",
]

# Errors of file systems without locks, such as NFS without its lock service or Lustre's default.
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)
BUSY = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
POLL_SECONDS = 0.2
LONGEST_NAME = 255  # bytes, in most file systems
UNUSED_BYTE = 2**30  # Windows locks bytes: one far behind the content

_held: set[int] = set()


class AlreadyLocked(OSError):
    """Another process holds the lock."""


class LocksUnsupported(OSError):
    """The file system has no locks."""


@contextlib.contextmanager
def locked(path: str | os.PathLike, wait: bool = True) -> Iterator[None]:
    """Lock a file or folder, which need not exist yet, while the block runs.

    The lock is a hidden file, `.NAME.lock`, in the same folder; it is deleted at the end. If the
    file system has no locks, a note on stderr says so and the block runs unprotected.

    Args:
        wait: wait for another process that has the lock, and say so; otherwise fail.

    Raises:
        AlreadyLocked: if another process, or another thread, has the lock.
        OSError: if the folder cannot be written to.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, locked(f"{folder}/song"):
    ...     try:
    ...         with locked(f"{folder}/song", wait=False):
    ...             pass
    ...     except AlreadyLocked:
    ...         print("in use")
    in use
    """
    path = Path(path).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = lock_file(path)
    try:
        descriptor = _wait(lock, path, wait)
    except LocksUnsupported as reason:
        print(f"note: {reason}; do not start this twice at a time", file=sys.stderr)
        yield
        return
    try:
        with contextlib.suppress(OSError):  # a full disk
            os.ftruncate(descriptor, 0)
            os.write(descriptor, _holder().encode())
        yield
    finally:
        release(lock, descriptor)


def lock_file(path: Path) -> Path:
    """Return the file of `locked`. It exists while the lock is held, or if a holder was killed."""
    return path.with_name(f".{shorten(path.name, LONGEST_NAME - 6)}.lock")


def is_first_process() -> bool:
    """Return False in all but the first process of a distributed training.

    Launchers number their processes in the environment: torchrun and Lightning in `RANK` or
    `LOCAL_RANK`, SLURM in `SLURM_PROCID`.
    """
    ranks = (os.environ.get(name) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    return next((rank for rank in ranks if rank), "0") == "0"


def _wait(lock: Path, path: Path, wait: bool) -> int:
    said = False
    while (descriptor := acquire(lock)) is None:
        if not wait:
            raise AlreadyLocked(
                f"{path} is in use by another process{_read_holder(lock)}; wait for its end or "
                "stop it, then run the same command again."
            )
        if not said:
            print(f"Another process{_read_holder(lock)} is writing {path}; waiting for it.")
            said = True
        time.sleep(POLL_SECONDS)
    return descriptor


def acquire(path: Path) -> int | None:
    """Open or create a file and lock it; return its descriptor, or None if the lock is taken.

    `release` ends the lock. Forked children do not inherit it.

    Raises:
        LocksUnsupported: if the file system has no locks.
        OSError: if the file cannot be opened.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if not _try_lock(descriptor, path):
                os.close(descriptor)
                return None
            if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                _held.add(descriptor)
                return descriptor
        except FileNotFoundError:
            pass
        except OSError as reason:
            if reason.errno != errno.ESTALE:
                os.close(descriptor)
                raise
        os.close(descriptor)  # another process has deleted the file since it was opened


def _try_lock(descriptor: int, path: Path) -> bool:
    """Lock without waiting; return False if the lock is taken."""
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, UNUSED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as reason:
        if reason.errno in BUSY:
            return False
        if reason.errno in UNSUPPORTED:
            raise LocksUnsupported(
                reason.errno, f"the file system of {path.parent} has no locks ({reason.strerror})"
            ) from reason
        raise
    return True


def release(lock: Path, descriptor: int) -> None:
    """Delete the lock file of `acquire` and end the lock."""
    # Deleted while locked: whoever has opened the deleted file notices in `acquire`.
    with contextlib.suppress(OSError):
        lock.unlink()
    _held.discard(descriptor)
    os.close(descriptor)
    if sys.platform == "win32":  # which deletes no open files
        with contextlib.suppress(OSError):
            lock.unlink()


def shorten(name: str, n_bytes: int) -> str:
    """Return a file's name, or its last `n_bytes` bytes if it is longer."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= n_bytes else encoded[-n_bytes:].decode(errors="ignore")


def _holder() -> str:
    now = datetime.now().astimezone().isoformat(" ", "minutes")
    return f"process {os.getpid()} on {socket.gethostname()}, since {now}"


def _read_holder(lock: Path) -> str:
    """Return what the holder has written, in brackets, or nothing."""
    with contextlib.suppress(OSError):
        text = lock.read_text(encoding="utf-8", errors="replace").strip()
        return f" ({text})" if text else ""
    return ""


def _close_in_child() -> None:
    """Close inherited descriptors: a forked child must not keep its dead parent's locks."""
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
