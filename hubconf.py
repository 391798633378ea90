"""torch.hub entry points: `torch.hub.load(repository, "waveunet", ...)`.

Each entry point takes the name, folder, file or URL of trained weights, or None for an untrained
model. Keyword arguments are those of the model; with trained weights, only some can be overridden.
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


def waveunet(name_or_path=None, pretrained=None, **model_args):
    """Load a trained Wave-U-Net, or build an untrained one if neither name is given.

    Args:
        name_or_path: `"user/model"` on the Hugging Face Hub, a folder, a file or a URL.
        pretrained: name of weights that come with the package, such as `"free"`.
        model_args: arguments of `asteroid_waveunet.WaveUNet`.

    >>> import torch
    >>> model = torch.hub.load(".", "waveunet", source="local", levels=6)
    >>> model(torch.zeros(1, 22050)).shape
    torch.Size([2, 22050])
    """
    if pretrained is not None and name_or_path is not None:
        raise ValueError(f"Give either {name_or_path!r} or pretrained={pretrained!r}, not both.")
    return _load_or_build(_package.WaveUNet, pretrained or name_or_path, model_args)


def spectrogramunet(name_or_path=None, **model_args):
    """Load or build a `SpectrogramUNet`, the paper's U7; see `waveunet`.

    >>> import torch
    >>> torch.hub.load(".", "spectrogramunet", source="local", initial_filters=2).sample_rate
    8192
    """
    return _load_or_build(_package.SpectrogramUNet, name_or_path, model_args)


def tasnet(name_or_path=None, **model_args):
    """Load or build a `TasNet`, Asteroid's Conv-TasNet; see `waveunet`.

    >>> import torch
    >>> torch.hub.load(".", "tasnet", source="local", n_repeats=1, in_channels=2).in_channels
    2
    """
    return _load_or_build(_package.TasNet, name_or_path, model_args)


def mrcae(name_or_path=None, **model_args):
    """Load or build an `MRCAE`, a multi-resolution convolutional auto-encoder; see `waveunet`.

    >>> import torch
    >>> torch.hub.load(".", "mrcae", source="local", filters=2).in_channels
    2
    """
    return _load_or_build(_package.MRCAE, name_or_path, model_args)


def _load_or_build(model_class, name_or_path, model_args):
    if name_or_path is None:
        return model_class(**model_args)
    return model_class.from_pretrained(name_or_path, **model_args)


def _entry(preset):
    def entry(name_or_path=None, **model_args):
        if name_or_path is None:
            return _package.presets.make(preset.name, **model_args)
        return waveunet(name_or_path, **model_args)

    entry.__name__ = preset.name.lower().replace("-", "_")
    entry.__doc__ = f"""Load or build the paper's {preset.name} ({preset.source}); see `waveunet`.

    >>> import torch
    >>> model = torch.hub.load(".", "{entry.__name__}", source="local", levels=6)
    >>> model.sources
    {preset.arguments["sources"]}
    """
    return entry


globals().update({_e.__name__: _e for _e in map(_entry, _package.presets.PRESETS.values())})
