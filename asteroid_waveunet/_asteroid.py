"""Asteroid's base class and model registry."""

from __future__ import annotations

import asteroid
from asteroid.models import BaseModel

__all__ = ["BaseModel", "asteroid", "register"]


def register(model_class: type) -> type:
    """Register a class for `asteroid.models.get` and `from_pretrained`; usable as a decorator.

    Asteroid rejects a name that is already registered; a class from the same module, such as a
    reloaded one, is replaced.

    Raises:
        ValueError: if Asteroid or another package has registered that name.
    """
    registry = vars(asteroid.models)
    registered = registry.get(model_class.__name__)
    if getattr(registered, "__module__", None) == model_class.__module__:
        del registry[model_class.__name__]
    asteroid.models.register_model(model_class)
    return model_class
