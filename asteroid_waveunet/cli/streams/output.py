"""Standard output and error whose failure is never the work's.

A reader may close a pipe, a service may start the command without them, or a terminal's encoding
may lack a letter of a song's name. The work goes on.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

__all__ = ["one_line", "safe_output", "show_as"]

# Characters of names that would change a terminal: controls, and marks of the writing direction.
CONTROLS = {*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
ESCAPES = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in CONTROLS}
ESCAPES_IN_LINES = {code: escape for code, escape in ESCAPES.items() if chr(code) not in "\t\n\r"}


@contextlib.contextmanager
def safe_output() -> Iterator[None]:
    """Replace `sys.stdout` and `sys.stderr` by streams that never raise."""
    _occupy_closed_descriptors()
    before = sys.stdout, sys.stderr
    out, err = SafeStream(sys.stdout), SafeStream(sys.stderr)
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        sys.stdout.flush()
        if out.lost is not None:
            sys.stderr.write(f"note: text on standard output was lost: {out.lost}\n")
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def one_line(name: str) -> str:
    r"""Return a name as it can be printed in one line.

    >>> one_line("a" + chr(10) + "b") == "a" + chr(92) + "x0ab"
    True
    """
    return name.translate(ESCAPES)


def show_as(path: str, name: str) -> None:
    """Print a name in place of a temporary path, from now on."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, SafeStream):
            stream.names[path] = name


def _occupy_closed_descriptors() -> None:
    """Open the null device where standard streams are closed: a stem must not become one."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


class SafeStream(io.TextIOBase):
    """A text stream that drops what it cannot write, and escapes what a terminal should not get.

    That is what its encoding lacks, and control characters but those of lines.

    Args:
        stream: the stream; None if it was closed when Python started.
    Attributes:
        lost: why text was dropped, such as a full disk; None for a reader that went away.
        names: temporary path -> what to print in its place.
    """

    def __init__(self, stream: TextIO | None):
        self._stream = stream
        self.lost: str | None = None
        self.names: dict[str, str] = {}

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write text, or drop it."""
        for path, name in self.names.items():
            text = text.replace(path, name)
        text = text.translate(ESCAPES_IN_LINES)
        plain = text.encode(self.encoding, "backslashreplace").decode(self.encoding)
        self._try("write", plain)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, or drop it."""
        self._try("flush")

    def isatty(self) -> bool:
        """Return True for a terminal."""
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """Return the stream's descriptor."""
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, method: str, *arguments: str) -> None:
        if self._stream is None:
            return
        try:
            getattr(self._stream, method)(*arguments)
        except (OSError, ValueError) as reason:  # ValueError: closed by the caller
            if isinstance(reason, OSError) and reason.errno != errno.EPIPE:
                self.lost = reason.strerror
            with contextlib.suppress(OSError, ValueError):
                # Python flushes its own streams at its end, and would fail again.
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self._stream.fileno())
                os.close(null)
            self._stream = None
