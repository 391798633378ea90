"""What commands share: the model that is named, and what can be written where."""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from asteroid_waveunet.file_utils import first_line

if TYPE_CHECKING:
    import torch

    from asteroid_waveunet.models.base import SourceModel

__all__ = ["PRECISIONS", "check_writable", "is_preset", "load", "printable"]

PRECISIONS = ("fp32", "bf16")
"""A copy of `streaming.options.PRECISIONS`, which cannot be imported without torch."""


def load(name: str, device: str | None = None) -> SourceModel:
    """A model that does not clip, by folder, file, Hub name, URL or preset.

    It is `--clip` that decides on samples beyond full scale, when files are written.

    Raises:
        FileNotFoundError: if nothing has that name.
        ValueError: if it holds no model, or there is no such device.
    """
    from asteroid_waveunet.models import presets
    from asteroid_waveunet.models.base import SourceModel

    if is_preset(name):
        model: SourceModel = presets.make(name)
        warnings.warn(
            f"{name} is a preset: a model that was never trained, whose estimates mean nothing. "
            "Name a trained one by its folder, file, Hub name or URL.",
            stacklevel=2,
        )
    else:
        model = SourceModel.from_pretrained(name)
    return model.to(_device(device)).without_clipping()


def is_preset(name: str) -> bool:
    """Whether a model's name is that of a preset, being neither a path nor anything remote."""
    return "/" not in name and not Path(name).suffix and not Path(name).exists()


def _device(name: str | None) -> torch.device:
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(1, device=name).cpu()
        return torch.device(name)
    except (RuntimeError, AssertionError, ValueError, NotImplementedError) as reason:
        raise ValueError(
            f"There is no device {name!r} here ({first_line(reason)}); cpu always is."
        ) from reason


def check_writable(folder: Path) -> None:
    """Finds out before the work.

    Raises:
        OSError: if files cannot be written into the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as reason:
        raise OSError(
            f"Nothing can be written into {folder} ({reason.strerror}); name another with -o."
        ) from reason


def printable(text: object) -> str:
    """What a terminal of any encoding shows of a name in another."""
    encoding = sys.stdout.encoding or "ascii"
    return str(text).encode(encoding, "backslashreplace").decode(encoding)
