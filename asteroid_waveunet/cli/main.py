"""The `waveunet` command: parse, one call, done."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import NoReturn

from asteroid_waveunet._version import __version__
from asteroid_waveunet.cli import compare, convert, evaluate, export, publish, separate

__all__ = ["main"]

COMMANDS = (separate, evaluate, compare, publish, export, convert)

INTERRUPTED = 130  # what a shell reports of a command that Ctrl-C ended


def main(arguments: Sequence[str] | None = None) -> int:
    """The command's exit status: 0 if all was done, 1 if something was not."""
    parser = argparse.ArgumentParser(
        prog="waveunet", description="Takes songs apart into their sources with the Wave-U-Net."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    options = parser.parse_args(arguments)
    options.arguments = sys.argv[1:] if arguments is None else list(arguments)
    with _ending_as_interrupted(), warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
        try:
            return options.command(options)
        except (ValueError, OSError, ImportError) as reason:
            print(f"error: {reason}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("stopped; the same command again goes on from here", file=sys.stderr)
            return INTERRUPTED


@contextlib.contextmanager
def _ending_as_interrupted() -> Iterator[None]:
    """A SIGTERM ends the command as Ctrl-C does: nothing half-written is left behind."""

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
