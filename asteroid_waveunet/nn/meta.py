"""Models on the meta device: shapes without memory, to reject absurd sizes before building."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

__all__ = ["MAX_WEIGHTS", "build", "check_size"]

MAX_WEIGHTS = 2**29
"""Maximum of one model: 2 GB in float32, fifty times the paper's M4."""

Model = TypeVar("Model", bound=nn.Module)


def build(model_class: type[Model], arguments: Mapping[str, Any]) -> Model:
    """Build a model on the meta device.

    Raises:
        ValueError: if the arguments are invalid or make more than `MAX_WEIGHTS` weights.

    >>> from asteroid_waveunet import MRCAE
    >>> model = build(MRCAE, {"filters": 3})
    >>> next(model.parameters()).device
    device(type='meta')
    """
    n_weights = 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal n_weights
        n_weights += parameter.numel() if parameter.is_meta else 0
        if n_weights > MAX_WEIGHTS:  # stop here: the rest may be a million layers
            raise ValueError(
                f"The arguments of this {model_class.__name__} make a model of {n_weights:.1e} "
                f"weights or more ({4 * n_weights / 1e9:.0f} GB in float32); the maximum is "
                f"{MAX_WEIGHTS:.1e}. Lower its levels, filters or kernel sizes."
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"):
            return model_class(**arguments)
    except TypeError as reason:
        raise ValueError(f"Invalid arguments for {model_class.__name__}: {reason}.") from reason
    except RuntimeError as reason:
        raise ValueError(
            f"The arguments of this {model_class.__name__} make a model of more weights than can "
            f"be counted; the maximum is {MAX_WEIGHTS:.1e} ({reason})."
        ) from reason
    finally:
        hook.remove()


def check_size(model_class: type[nn.Module], arguments: Mapping[str, Any]) -> None:
    """Reject an absurdly large model before any memory is taken.

    Constructors call this after checking each argument. On the meta device it does nothing:
    `build` checks the result.

    Raises:
        ValueError: if the arguments make more than `MAX_WEIGHTS` weights.
    """
    if not torch.empty(0).is_meta:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the constructor has already warned
            build(model_class, arguments)
