"""Start a model from trained weights, as far as they fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from asteroid_waveunet.weights import serialization

__all__ = ["WarmStart", "warm_start"]

LEAST = 0.5  # of the model's weights


@dataclass(frozen=True)
class WarmStart:
    """The tensors of a model that were copied, and those that keep their initial values."""

    copied: tuple[str, ...]
    kept: tuple[str, ...]


def warm_start(model: nn.Module, source: Any) -> WarmStart:
    """Copy all tensors that have the same name and shape in trained weights.

    A model with other sources or channels than the trained one shares all layers but the first
    and the last.

    Args:
        model: changed in place.
        source: trained weights, as for `from_pretrained`.
    Raises:
        FileNotFoundError, OSError: as `from_pretrained`.
        ValueError: as `from_pretrained`; or if less than half of the model's weights would be
            copied, because its layers have other sizes.

    >>> from asteroid_waveunet import WaveUNet
    >>> trained = WaveUNet(("accompaniment", "vocals"), levels=2)
    >>> model = WaveUNet(("bass", "drums", "vocals"), levels=2)
    >>> warm_start(model, trained.serialize()).kept
    ('head.conv.weight', 'head.conv.bias')
    """
    conf = serialization.read(source)
    trained, own = conf["state_dict"], model.state_dict()
    fits = {
        name: name in trained and trained[name].shape == tensor.shape
        for name, tensor in own.items()
    }
    share = sum(own[name].numel() for name in own if fits[name]) / sum(
        tensor.numel() for tensor in own.values()
    )
    if share < LEAST:
        arguments = ", ".join(f"{name}={value!r}" for name, value in conf["model_args"].items())
        raise ValueError(
            f"Only {100 * share:.0f} % of the model's weights fit {conf['model_name']}({arguments})"
            ". Build the model with the levels, filters and kernels of these weights; sources and "
            "channels may differ."
        )
    with torch.no_grad():
        for name, tensor in own.items():
            if fits[name]:
                tensor.copy_(trained[name])
    return WarmStart(*(tuple(name for name in own if fits[name] == flag) for flag in (True, False)))
