"""torch.hub entry points: `torch.hub.load(repository, "waveunet", ...)`.

Each entry takes the name, folder, file or URL of trained weights, or nothing for a fresh model;
keyword arguments replace the model's own, of trained weights where these allow it.
"""

dependencies = [
    "torch",
    "asteroid",
    "huggingface_hub",
    "requests",
    "safetensors",
    "soundfile",
    "soxr",
]

from asteroid_waveunet import WaveUNet as _WaveUNet  # noqa: E402
from asteroid_waveunet import presets as _presets  # noqa: E402


def waveunet(name_or_path=None, **model_args):
    """A Wave-U-Net: trained if `name_or_path` is given, fresh if not.

    Args:
        name_or_path: `"user/model"` on the Hugging Face Hub, a folder, a file or a URL.
        model_args: arguments of `asteroid_waveunet.WaveUNet`.

    >>> import torch
    >>> model = torch.hub.load(".", "waveunet", source="local", levels=6)
    >>> model(torch.zeros(1, 22050)).shape
    torch.Size([2, 22050])
    """
    if name_or_path is None:
        return _WaveUNet(**model_args)
    return _WaveUNet.from_pretrained(name_or_path, **model_args)


def _entry(preset):
    def entry(name_or_path=None, **model_args):
        if name_or_path is None:
            return _presets.make(preset.name, **model_args)
        return _WaveUNet.from_pretrained(name_or_path, **model_args)

    entry.__name__ = preset.name.lower().replace("-", "_")
    entry.__doc__ = f"""The paper's {preset.name} ({preset.source}).

    Trained if `name_or_path` is given, fresh if not; see `waveunet`.

    >>> import torch
    >>> model = torch.hub.load(".", "{entry.__name__}", source="local", levels=6)
    >>> model.sources
    {preset.arguments["sources"]}
    """
    return entry


globals().update({_e.__name__: _e for _e in map(_entry, _presets.PRESETS.values())})
