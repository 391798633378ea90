"""The Wave-U-Net for Asteroid: music source separation on the waveform.

models      the networks: WaveUNet and the systems it is compared with; presets.make("M4")
nn          what they are built from: geometry (lengths, context, step), blocks, STFT
streaming   Stream: exact block-wise inference; export of one hop
separation  songs to stems: tensors, arrays, files, folders
catalogue   many songs, on object storage and on Ray clusters: separate_catalogue
cloud       files by URL, the connection to a cluster
audio       reading, writing, resampling
pretrained  weights that come with the package: pretrained.names()
weights     saving, safe loading, the Hugging Face Hub
losses      Asteroid's mono losses on stereo estimates
infer       Asteroid's command asteroid-infer with these models
cli         the command `waveunet`
experiment  data, training, evaluation, publishing (needs the extra "experiment")
file_utils  write a file whole or not at all; checksums
file_locks  locks on files and folders that end with their process
system_errors  the system's errors, explained
system_report  versions, devices and memory, for bug reports

The public names load on first use: importing the package imports neither torch nor Asteroid.
"""

from __future__ import annotations

from asteroid_waveunet import _early_interrupt  # noqa: F401  # isort: skip  # first

import importlib
from typing import TYPE_CHECKING, Any

from asteroid_waveunet import _import_hook, pretrained
from asteroid_waveunet._version import __version__

if TYPE_CHECKING:
    from asteroid_waveunet.catalogue.separate_catalogue import separate_catalogue
    from asteroid_waveunet.models import presets
    from asteroid_waveunet.models.conv_tasnet import TasNet
    from asteroid_waveunet.models.mrcae import MRCAE
    from asteroid_waveunet.models.spectrogram_unet import SpectrogramUNet
    from asteroid_waveunet.models.wave_unet import WaveUNet
    from asteroid_waveunet.separation.separate import separate
    from asteroid_waveunet.streaming.wave_unet_stream import Stream

__all__ = [
    "MRCAE",
    "SpectrogramUNet",
    "Stream",
    "TasNet",
    "WaveUNet",
    "__version__",
    "presets",
    "pretrained",
    "separate",
    "separate_catalogue",
]

# Name -> its module. Each is imported on first use: torch and Asteroid take seconds.
_PUBLIC = {
    "MRCAE": "models.mrcae",
    "SpectrogramUNet": "models.spectrogram_unet",
    "Stream": "streaming.wave_unet_stream",
    "TasNet": "models.conv_tasnet",
    "WaveUNet": "models.wave_unet",
    "presets": "models.presets",
    "separate": "separation.separate",
    "separate_catalogue": "catalogue.separate_catalogue",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _import_hook.register_models()
    module = importlib.import_module(f"{__name__}.{_PUBLIC[name]}")
    value = getattr(module, name, module)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_import_hook.install()
