"""Load a model by name, check output folders."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from asteroid_waveunet import pretrained
from asteroid_waveunet.cli.choices import PRECISIONS
from asteroid_waveunet.file_utils import first_line

if TYPE_CHECKING:
    import argparse

    import torch

    from asteroid_waveunet.models.base import SourceModel
    from asteroid_waveunet.streaming.options import SeparationOptions

__all__ = [
    "add_separation_options",
    "check_writable",
    "describe_device",
    "is_preset",
    "load_model",
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
    add("--shifts", type=int, default=1, metavar="N", help="average N shifted passes (default: 1)")
    add("--mixture-consistency", action="store_true", help="make the stems sum to the song")


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


def load_model(name: str, device: str | None = None) -> SourceModel:
    """Load a model without clipping; `--clip` handles samples beyond full scale when writing.

    Args:
        name: folder, file, Hub name, URL, preset or the package's weights.
        device: a torch device. Default: CUDA, else MPS, else the CPU.
    Raises:
        FileNotFoundError: if the model does not exist.
        ValueError: if it is not a model of this package, or the device is not available.
    """
    from asteroid_waveunet.models import presets
    from asteroid_waveunet.models.base import SourceModel

    if is_preset(name):
        if name not in presets.PRESETS:
            raise FileNotFoundError(
                f"Found no file or folder {name!r}, no weights of the package of that name "
                f"({', '.join(pretrained.names())}), and no preset {name!r} "
                f"({', '.join(presets.PRESETS)}). Models on the Hugging Face Hub are user/model."
            )
        model: SourceModel = presets.make(name)
        warnings.warn(
            f"{name} is a preset, an untrained model: its estimates are meaningless. Give a "
            "trained model by its folder, file, Hub name or URL.",
            stacklevel=2,
        )
    else:
        model = SourceModel.from_pretrained(name)
    return model.to(_device(device)).without_clipping()


def is_preset(name: str) -> bool:
    """Return True for a name that is neither a path, nor remote, nor weights of the package."""
    known = name in pretrained.names() or Path(name).exists()
    return "/" not in name and not Path(name).suffix and not known


def describe_device(model: SourceModel) -> str:
    """Return the device of a model in words, such as "cuda:0 (NVIDIA A100)"."""
    import torch

    device = next(model.parameters()).device
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)" if device.type == "cpu" else str(device)


def _device(name: str | None) -> torch.device:
    import torch

    if name is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        torch.empty(1, device=name).cpu()
        return torch.device(name)
    except (RuntimeError, AssertionError, ValueError, NotImplementedError) as reason:
        raise ValueError(
            f"Device {name!r} is not available ({first_line(reason)}); cpu always works."
        ) from reason


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
        raise OSError(
            f"Cannot write to {folder} ({reason.strerror}); choose another folder with -o."
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
