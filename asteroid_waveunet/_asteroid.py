"""Everything that models need of Asteroid: its base class and its registry."""

from __future__ import annotations

import asteroid
from asteroid.models import BaseModel

__all__ = ["BaseModel", "asteroid", "register"]


def register(model_class: type) -> type:
    """Register a class with Asteroid: `asteroid.models.get` and `from_pretrained` then find it.

    A decorator. Asteroid refuses to register a name twice, so a class of the same module, such
    as a reloaded one, replaces the old one.

    Raises:
        ValueError: if Asteroid or another package has a model of that name.
    """
    registry = vars(asteroid.models)
    known = registry.get(model_class.__name__)
    if getattr(known, "__module__", None) == model_class.__module__:
        del registry[model_class.__name__]
    asteroid.models.register_model(model_class)
    return model_class
