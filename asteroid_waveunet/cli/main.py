"""The `waveunet` command: load the chosen command's module, parse its options, run it.

Modules of commands import what they run inside their functions, so help and wrong options are
answered without loading torch.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import NoReturn

from asteroid_waveunet._version import __version__

__all__ = ["main"]

# Command, which is also the name of its module in `cli` -> one line of help.
COMMANDS = {
    "separate": "write the sources of songs as files",
    "evaluate": "score a model, or a folder of estimates",
    "compare": "compare two sets of scores, track by track",
    "publish": "put a trained and scored model on the Hugging Face Hub",
    "export": "write a model as one file: weights, or one hop of it for other programs",
    "convert": "convert a TensorFlow checkpoint of the paper's code to a model",
}

INTERRUPTED = 130  # exit status that shells report after Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; print user errors to stderr.

    Args:
        arguments: command-line arguments; None for those of this process.
    Returns:
        The exit status: 0 on success, 1 on an error, 130 after an interruption.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser(arguments).parse_args(arguments)
    options.arguments = arguments
    with _sigterm_as_interrupt(), warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
        try:
            return options.command(options)
        except (ValueError, OSError, ImportError) as reason:
            print(f"error: {reason}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("stopped; run the same command again to resume", file=sys.stderr)
            return INTERRUPTED


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser with all commands, of which only the chosen one has its options."""
    parser = argparse.ArgumentParser(
        prog="waveunet", description="Separate songs into their sources with the Wave-U-Net."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name == chosen:
            importlib.import_module(f"asteroid_waveunet.cli.{name}").add_options(command)
    return parser


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM too, to remove partial files."""

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
