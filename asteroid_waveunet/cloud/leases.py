"""Leases on folders of object storage: locks for processes of any machines.

Object storage has no locks. A lease is an object that its holder writes again every few seconds.
Whoever waits for it reads it as often: one that stays the same for a while was left by a killed
process or a lost machine, and is taken over. No two clocks are compared. A holder that was only cut
off finds another's lease when it is back, and stops.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime

from asteroid_waveunet.cloud import storage

__all__ = ["leased"]

BEAT_SECONDS = 10.0
DEAD_SECONDS = 45.0  # without a beat


class _Lease:
    """One process's lease.

    Args:
        url: of its object.
    """

    def __init__(self, url: str):
        self._url, self._key, self._beats = url, secrets.token_hex(8), 0
        self._since = datetime.now().astimezone().isoformat(" ", "minutes")
        self._ended = threading.Event()
        self._lost: str | None = None  # who has taken it over

    def take(self, folder: str) -> None:
        """Write the object, after its present holder has ended or is dead."""
        said = False
        seen, since = b"", time.monotonic()
        found = self._attempt()
        while not self._is_own(found):
            if found != seen:
                seen, since = found, time.monotonic()
            elif time.monotonic() - since >= DEAD_SECONDS:
                print(f"{_holder(seen)} is gone; going on with {folder}", file=sys.stderr)
                storage.write_bytes(self._url, self._content())
                break
            if found and not said:
                said = True
                print(
                    f"{_holder(found)} is writing {folder}; waiting for its end, or until it has "
                    f"been silent for {DEAD_SECONDS:.0f} s",
                    file=sys.stderr,
                )
            time.sleep(BEAT_SECONDS)
            try:
                found = self._attempt()
            except OSError:  # tried again at the next beat; the holder was not seen to be silent
                seen = b""

    def _attempt(self) -> bytes:
        """Create the object unless it exists; return its content.

        It is this process's own too if the answer was lost and the client repeated the creation.
        """
        content = self._content()
        return content if storage.create_bytes(self._url, content) else self._read()

    def keep(self) -> None:
        """Write the object again and again, until `end`, or until it is another's."""
        while not self._ended.wait(BEAT_SECONDS) and not self._lost:
            with contextlib.suppress(OSError):  # tried again at the next beat
                self.beat()

    def beat(self) -> None:
        """Write the object again, unless it is another's."""
        found = self._read()
        if found and not self._is_own(found):
            self._lost = _holder(found)
        else:
            storage.write_bytes(self._url, self._content())

    def check(self) -> None:
        """Check that the folder is still this process's.

        Raises:
            OSError: if another has taken it over.
        """
        if self._lost:
            raise OSError(
                f"{self._lost} has taken over {self._url.rpartition('/.waveunet/')[0]}: this "
                f"machine could not write there for {DEAD_SECONDS:.0f} s. Run the command again "
                "when that one has ended."
            )

    def end(self) -> None:
        """Stop writing the object."""
        self._ended.set()

    def release(self) -> None:
        """Delete the object."""
        with contextlib.suppress(OSError):
            if self._is_own(self._read()):
                storage.remove(self._url)

    def _content(self) -> bytes:
        self._beats += 1
        holder = f"The command of process {os.getpid()} on {platform.node()}, since {self._since},"
        return json.dumps({"holder": holder, "key": self._key, "beats": self._beats}).encode()

    def _read(self) -> bytes:
        try:
            return storage.read_bytes(self._url)
        except FileNotFoundError:
            return b""

    def _is_own(self, content: bytes) -> bool:
        return self._key.encode() in content


def _holder(content: bytes) -> str:
    try:
        return str(json.loads(content)["holder"])
    except (ValueError, KeyError, TypeError):
        return "Another command"


@contextlib.contextmanager
def leased(folder: str) -> Iterator[Callable[[], None]]:
    """Be the only one that writes to a folder of object storage, for the block.

    Another's lease is waited for, and a note on stderr says so. That of a dead process is taken
    over after `DEAD_SECONDS`.

    Args:
        folder: a URL.
    Yields:
        A function that raises OSError if another has taken the folder over meanwhile.
    Raises:
        OSError: if the folder cannot be read or written.
    """
    lease = _Lease(storage.join(folder, ".waveunet/lease.json"))
    lease.take(folder)
    keeper = threading.Thread(target=lease.keep, daemon=True)
    keeper.start()
    try:
        yield lease.check
    finally:
        lease.end()
        keeper.join()
        lease.release()
