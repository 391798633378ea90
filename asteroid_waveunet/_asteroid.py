"""The one door to Asteroid: import it where torchaudio cannot load, and register our model."""

from __future__ import annotations

import importlib
import sys
import warnings

__all__ = ["BaseModel", "asteroid", "register"]


def import_asteroid():
    """Imports Asteroid, without its STOI loss where that loss cannot load.

    `import asteroid` reaches torchaudio through that loss, and catches only a torchaudio that
    is missing, not one built for another CUDA than torch, which fails with OSError or
    RuntimeError. Marking torch_stoi as missing meanwhile makes Asteroid take its own way out.
    """
    try:
        importlib.import_module("torch_stoi")
    except ImportError:
        pass  # Asteroid handles a missing package itself.
    except (OSError, RuntimeError) as reason:
        warnings.warn(
            f"Asteroid's STOI loss is off: torchaudio cannot be loaded ({reason}). Install a "
            "torchaudio that matches torch, or uninstall it, to silence this.",
            stacklevel=2,
        )
        sys.modules["torch_stoi"] = None  # type: ignore[assignment]
        try:
            importlib.import_module("asteroid.losses")
        finally:
            del sys.modules["torch_stoi"]
    return importlib.import_module("asteroid")


asteroid = import_asteroid()
BaseModel = importlib.import_module("asteroid.models").BaseModel


def register(model_class: type) -> type:
    """Makes `asteroid.models.get(name)` and `BaseModel.from_pretrained` find a class of ours.

    Asteroid refuses a name twice; a module that is reloaded brings the same class anew, which
    takes the place of the old one. A decorator.

    Raises:
        ValueError: if Asteroid, or somebody else, already has a model of that name.
    """
    registry = vars(asteroid.models)
    known = registry.get(model_class.__name__)
    if getattr(known, "__module__", None) == model_class.__module__:
        del registry[model_class.__name__]
    asteroid.models.register_model(model_class)
    return model_class
