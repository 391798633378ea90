"""Other separators with random weights, as calls on a clip at 44.1 kHz."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from functools import partial

from torch import Tensor

__all__ = ["OTHERS"]

SOURCES = ["drums", "bass", "other", "vocals"]


def open_unmix(name: str, clip: Tensor) -> Callable[[], Tensor]:
    """Four-source networks and Wiener filter, with the settings of Open-Unmix's command."""
    model = import_openunmix().__dict__[name](pretrained=False).eval()
    return partial(model.to(clip.device), clip[None])


def import_openunmix() -> types.ModuleType:
    """Import the package, even if torchaudio is missing or cannot be loaded.

    It imports torchaudio to read and resample files, which is not measured. PyPI's torchaudio is
    built for CUDA and fails to load with a CPU build of torch; an empty module replaces it.
    """
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError):
        sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    try:
        import openunmix.model
    finally:
        if not hasattr(sys.modules["torchaudio"], "__version__"):
            del sys.modules["torchaudio"]
    return openunmix


def demucs(clip: Tensor) -> Callable[[], Tensor]:
    """The released htdemucs (41 984 456 parameters), with the settings of its command."""
    from demucs.apply import apply_model
    from demucs.htdemucs import HTDemucs

    # Differences from the class's defaults are those of the released model: demucs/grids/mmi.py.
    model = HTDemucs(SOURCES, bottom_channels=512, dconv_mode=3, segment=7.8).eval()
    return partial(apply_model, model.to(clip.device), clip[None], split=True, overlap=0.25)


def conv_tasnet(clip: Tensor) -> Callable[[], Tensor]:
    """Asteroid's Conv-TasNet: channels as a batch, windows from the documentation's example."""
    from asteroid.dsp.overlap_add import LambdaOverlapAdd
    from asteroid.models import ConvTasNet

    model = LambdaOverlapAdd(ConvTasNet(n_src=2, sample_rate=44100), n_src=2, window_size=64000)
    return partial(model.eval().to(clip.device), clip[:, None])


OTHERS = {  # title: (package to install, function that returns the call)
    "Open-Unmix, umxhq": ("openunmix", partial(open_unmix, "umxhq")),
    "Open-Unmix, umxl": ("openunmix", partial(open_unmix, "umxl")),
    "Demucs v4, htdemucs": ("demucs", demucs),
    "Asteroid's Conv-TasNet": ("asteroid", conv_tasnet),
}
