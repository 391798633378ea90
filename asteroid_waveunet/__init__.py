"""The Wave-U-Net in Asteroid: music source separation on the waveform.

geometry    which lengths exist: context, step, delays (integers only)
blocks      down block, up block, upsampling, output head
source_model  shapes, separation and files of weights, which all models have in common
model       WaveUNet, an Asteroid BaseModel
arguments   what a model's arguments may be, checked before anything is built
spectrogram_unet, conv_tasnet, mrcae  the systems that the paper compares itself with
long_filters  convolutions with filters of some hundred samples, by spectra
spectrum    the short-time Fourier transform and its exact inverse
precision   where mixed precision must end
presets     the paper's models: presets.make("M4")
step        the network hop by hop, with what it remembers in between
streaming   Stream: fed block by block, as one pass over the track
pieces      the same for networks that know no hops
refinement  the mean over shifts, mixture consistency
track       a stream for tracks of any rate and channels
stems       which stems are written, how they fit full scale, in which format
separation  a tensor, an array, a file -> its sources
audio       audio files and tensors, sample rates, channels
truncation  audio files that end too early
mp4         m4a songs, .stem.mp4 files (with the extra "formats")
files       files appear whole or not at all; their checksums
export      one hop as a file for other programs (with the extra "export")
batch       many songs: which they are, and what became of each
cli         the command `waveunet`;  commands  what each of its commands does
weights     trained models as files
untrusted   files of weights read so that they can do no harm
remote      files of the Hugging Face Hub and of URLs
foreign     whose weights a file holds that are not ours
infer       Asteroid's command asteroid-infer with these models
losses      Asteroid's mono losses on stereo estimates, an error of magnitudes
experiment  data, training, scores, publishing (with the extra "experiment")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from asteroid_waveunet import _import_hook
from asteroid_waveunet._version import __version__

if TYPE_CHECKING:
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
    "separate",
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
