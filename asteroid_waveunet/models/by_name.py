"""Load a model by any name that a command takes, onto a device."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from asteroid_waveunet import pretrained
from asteroid_waveunet.file_utils import first_line
from asteroid_waveunet.models import presets
from asteroid_waveunet.models.base import SourceModel

__all__ = ["describe_device", "find_device", "is_preset", "load_model"]


def load_model(name: str, device: str | None = None) -> SourceModel:
    """Load a model without clipping; `--clip` handles samples beyond full scale when writing.

    Args:
        name: folder, file, Hub name, URL, preset or the package's weights.
        device: a torch device. Default: CUDA, else MPS, else the CPU.
    Raises:
        FileNotFoundError: if the model does not exist.
        ValueError: if it is not a model of this package, or the device is not available.
    """
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
    return model.to(find_device(device)).without_clipping()


def is_preset(name: str) -> bool:
    """Return True for a name that is neither a path, nor remote, nor weights of the package."""
    known = name in pretrained.names() or Path(name).exists()
    return "/" not in name and not Path(name).suffix and not known


def describe_device(model: SourceModel) -> str:
    """Return the device of a model in words, such as "cuda:0 (NVIDIA A100)"."""
    device = next(model.parameters()).device
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)" if device.type == "cpu" else str(device)


def find_device(name: str | None) -> torch.device:
    """Return a device by name; by default CUDA, else MPS, else the CPU.

    Raises:
        ValueError: if it is not available.
    """
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
