"""Options that commands share, and checks of output folders."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from asteroid_waveunet import pretrained
from asteroid_waveunet.cli.choices import PRECISIONS

if TYPE_CHECKING:
    import argparse

    from asteroid_waveunet.models.base import SourceModel
    from asteroid_waveunet.streaming.options import SeparationOptions

__all__ = [
    "add_cluster_options",
    "add_separation_options",
    "check_writable",
    "output_folder",
    "separation_options",
]

MODEL_HELP = "folder, file, Hub name (user/model), URL, preset or package weights: "
MODEL_HELP += ", ".join(pretrained.names())


def add_separation_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of how a model separates, shared by `separate` and `evaluate`."""
    add = parser.add_argument
    add(
        "--device",
        help="cpu, cuda, cuda:1, mps ... (default: cuda, mps or cpu)",
    )
    add("--precision", choices=PRECISIONS, default="fp32", help="(default: %(default)s)")
    add("--shifts", type=int, default=1, metavar="N", help="average N passes, shifted (default: 1)")
    add("--mixture-consistency", action="store_true", help="make the stems sum to the song")


def add_cluster_options(add: Callable[..., object]) -> None:
    """Add the options of a Ray cluster with a parser's or a group's `add_argument`."""
    add(
        "--cluster",
        metavar="ADDRESS",
        help="Ray cluster: auto (that of this machine), ray://HOST:10001, or local to start one",
    )
    add(
        "--gpus-per-worker",
        "--gpus_per_worker",
        type=float,
        metavar="N",
        help="may be a fraction (default: 1 if the cluster has GPUs)",
    )
    add(
        "--cpus-per-worker",
        "--cpus_per_worker",
        type=float,
        metavar="N",
        help="cores and threads (default: 1)",
    )


def separation_options(options: argparse.Namespace, model: SourceModel) -> SeparationOptions:
    """Build the options for a model.

    Raises:
        ValueError: if `--shifts` or `--mixture-consistency` does not fit the model.
    """
    from asteroid_waveunet.streaming.options import (
        SeparationOptions,
        check_consistency,
        check_shifts,
    )

    check_shifts(options.shifts, model.geometry)
    if options.mixture_consistency:
        check_consistency(model.n_src)
    return SeparationOptions(options.precision, options.shifts, options.mixture_consistency)


def check_writable(folder: Path) -> None:
    """Create a folder and check that files can be written to it.

    Raises:
        OSError: if not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as reason:
        why = "it is a file" if folder.is_file() else reason.strerror
        raise OSError(
            f"Cannot write to {folder} ({why}); choose another folder with -o."
        ) from reason


@contextlib.contextmanager
def output_folder(folder: Path) -> Iterator[None]:
    """Create a folder for the block's files, see `check_writable`; delete it if it stays empty."""
    existed = folder.exists()
    check_writable(folder)
    try:
        yield
    finally:
        if not existed:
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
