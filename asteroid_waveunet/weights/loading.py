"""Convert a model to Asteroid's dictionary, and load a model from trained weights."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch

from asteroid_waveunet._asteroid import asteroid
from asteroid_waveunet._import_hook import register_models
from asteroid_waveunet._version import __version__
from asteroid_waveunet.nn import meta
from asteroid_waveunet.weights import serialization

__all__ = ["check_overrides", "load", "serialize"]

Model = TypeVar("Model", bound=Any)  # a class of `models.base.SourceModel`


def serialize(model: Any, infos: Mapping[str, Any]) -> dict[str, Any]:
    """Return Asteroid's model dictionary; see `SourceModel.serialize`."""
    versions = {
        "torch_version": str(torch.__version__),
        "asteroid_version": asteroid.__version__,
        "asteroid_waveunet_version": __version__,
    }
    return {
        "model_name": type(model).__name__,
        "state_dict": model.get_state_dict(),
        "model_args": serialization.to_plain_python(model.get_model_args()),
        "infos": serialization.to_plain_python({"software_versions": versions, **infos}),
    }


def load(model_class: type[Model], source: Any, overrides: Mapping[str, Any]) -> Model:
    """Load a trained model; see `SourceModel.from_pretrained`.

    Args:
        model_class: the class to load, or a base class of it.
        source: name of the package's weights, file, folder, Hub name, URL or dictionary.
        overrides: constructor arguments that replace the stored ones.
    """
    conf = serialization.read(source)
    found = _find_class(model_class, conf["model_name"])
    stored = meta.build(found, conf["model_args"])
    check_overrides(stored.get_model_args(), overrides, found.replaceable)
    model = meta.build(found, {**conf["model_args"], **overrides}) if overrides else stored
    serialization.load_state_dict_strictly(model, conf["state_dict"])
    return model.eval()


def _find_class(base: type[Model], name: str) -> type[Model]:
    """Return `base` or a subclass of it by its name.

    Raises:
        ValueError: if neither has that name.
    """
    register_models()
    found = base if name == base.__name__ else vars(asteroid.models).get(name)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(
            f"These are weights of a {name}; expected a {base.__name__}. "
            "Load them with asteroid.models.BaseModel.from_pretrained."
        )
    return found


def check_overrides(
    stored: Mapping[str, Any], overrides: Mapping[str, Any], replaceable: Sequence[str]
) -> None:
    """Check that arguments can override those that the weights were trained with.

    The names of sources (not their number) and all arguments that do not affect the shapes of
    the weights can be overridden.

    Args:
        stored: all arguments of the trained model.
        overrides: the new values.
        replaceable: names that can be overridden besides the sources.
    Raises:
        ValueError: if one cannot be overridden; names it.

    >>> check_overrides({"levels": 12, "sample_rate": 22050}, {"levels": 6}, ["sample_rate"])
    Traceback (most recent call last):
      ...
    ValueError: Cannot override levels=6: the weights were trained with levels=12, which fixes \
their shapes. These can be overridden: sources (same number), sample_rate.
    """
    for name, value in overrides.items():
        if name == "sources" and isinstance(value, Sequence):
            differs, trained = len(value) != len(stored[name]), f"{len(stored[name])} sources"
        else:
            differs, trained = value != stored.get(name, value), f"{name}={stored.get(name)!r}"
            differs = differs and name not in ("sources", *replaceable)
        if differs:
            raise ValueError(
                f"Cannot override {name}={reprlib.repr(value)}: the weights were trained with "
                f"{trained}, which fixes their shapes. These can be overridden: "
                f"{', '.join(('sources (same number)', *replaceable))}."
            )
