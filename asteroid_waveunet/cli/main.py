"""Parse the command line of `waveunet` and run the chosen command."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import NoReturn

from asteroid_waveunet import _early_interrupt
from asteroid_waveunet._version import __version__
from asteroid_waveunet.cli.streams.output import safe_output
from asteroid_waveunet.system_errors import explain

__all__ = ["main"]

# Command -> its line in `waveunet --help`; each is a module of this package.
COMMANDS = {
    "separate": "write the stems of songs",
    "evaluate": "score a model or a folder of estimates",
    "compare": "compare two sets of scores, track by track",
    "publish": "upload a trained and scored model to the Hugging Face Hub",
    "export": "write a model as one file (weights, or one hop for other programs) or as a page",
    "demo": "separate songs in the browser, on this machine",
    "convert": "turn a TensorFlow checkpoint of the paper's code into a model",
}

INTERRUPTED = 130  # exit status of a command ended by Ctrl-C, by the shell's convention


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    User errors are printed to stderr in one line.

    Args:
        arguments: words after `waveunet`; those of this process if None.
    Returns:
        Exit status: 0 if everything was done, 1 if something failed, 130 if interrupted.
    """
    # Read when torch is imported. Threads that wait busily slow down a machine with other work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words = sys.argv[1:] if arguments is None else list(arguments)
    with safe_output(), _sigterm_as_interrupt(), warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
        try:
            _early_interrupt.restore()
            if sorted(words) == ["--verbose", "--version"]:
                return _print_system_report()
            options = _parser(words).parse_args(words)
            options.arguments = words
            return options.run(options)
        except (ValueError, OSError, ImportError) as reason:
            print(f"error: {explain(reason)}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted; run the same command again to resume", file=sys.stderr)
            return INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """A parser that tells a file whose name begins with a dash from an unknown option."""

    def error(self, message: str) -> NoReturn:
        files = [word for word in message.split() if word.startswith("-") and os.path.lexists(word)]
        hint = f". {files[0]} is a file: write ./{files[0]}" if files else ""
        if message.endswith("expected one argument"):
            hint = ". A name that begins with a dash is written as ./-NAME"
        super().error(f"{message}{hint}")


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Build the parser; only the chosen command's module is imported and adds its options."""
    parser = _Parser(
        prog="waveunet", description="Separate songs into their sources with the Wave-U-Net."
    )
    parser.add_argument(
        "--version",
        action="version",
        version=__version__,
        help="print the version; with --verbose also those of libraries, devices and memory",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name in words[:1]:
            module = importlib.import_module(f"{__package__}.{name}")
            module.add_options(command)
            command.set_defaults(run=module.run)
    return parser


def _print_system_report() -> int:
    from asteroid_waveunet.system_report import system_report

    print(system_report())
    return 0


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C: no half-written file is left behind."""

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
