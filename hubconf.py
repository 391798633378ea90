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

import asteroid_waveunet as _package  # noqa: E402


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
    return _model(_package.WaveUNet, name_or_path, model_args)


def spectrogramunet(name_or_path=None, **model_args):
    """The spectrogram U-Net, the paper's U7, with arguments of `SpectrogramUNet`; see `waveunet`.

    >>> import torch
    >>> torch.hub.load(".", "spectrogramunet", source="local", initial_filters=2).sample_rate
    8192
    """
    return _model(_package.SpectrogramUNet, name_or_path, model_args)


def tasnet(name_or_path=None, **model_args):
    """Asteroid's Conv-TasNet, with arguments of `TasNet`; see `waveunet`.

    >>> import torch
    >>> torch.hub.load(".", "tasnet", source="local", n_repeats=1, in_channels=2).in_channels
    2
    """
    return _model(_package.TasNet, name_or_path, model_args)


def mrcae(name_or_path=None, **model_args):
    """The multi-resolution convolutional auto-encoder, with arguments of `MRCAE`; see `waveunet`.

    >>> import torch
    >>> torch.hub.load(".", "mrcae", source="local", filters=2).in_channels
    2
    """
    return _model(_package.MRCAE, name_or_path, model_args)


def _model(kind, name_or_path, model_args):
    if name_or_path is None:
        return kind(**model_args)
    return kind.from_pretrained(name_or_path, **model_args)


def _entry(preset):
    def entry(name_or_path=None, **model_args):
        if name_or_path is None:
            return _package.presets.make(preset.name, **model_args)
        return waveunet(name_or_path, **model_args)

    entry.__name__ = preset.name.lower().replace("-", "_")
    entry.__doc__ = f"""The paper's {preset.name} ({preset.source}).

    Trained if `name_or_path` is given, fresh if not; see `waveunet`.

    >>> import torch
    >>> model = torch.hub.load(".", "{entry.__name__}", source="local", levels=6)
    >>> model.sources
    {preset.arguments["sources"]}
    """
    return entry


globals().update({_e.__name__: _e for _e in map(_entry, _package.presets.PRESETS.values())})
