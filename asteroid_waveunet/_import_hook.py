"""Make `import asteroid` work where torchaudio cannot load, and register our models with it.

`import asteroid_waveunet` imports neither torch nor Asteroid, to stay fast. The hook installed
here defers both tasks until something imports Asteroid.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["install", "register_models", "without_broken_stoi"]

MODELS = ("conv_tasnet", "mrcae", "spectrogram_unet", "wave_unet")


def register_models() -> None:
    """Import every architecture; each registers itself with Asteroid."""
    for module in MODELS:
        importlib.import_module(f"asteroid_waveunet.models.{module}")


@contextlib.contextmanager
def without_broken_stoi() -> Iterator[None]:
    """Import Asteroid without its STOI loss where torchaudio is installed but cannot load.

    `import asteroid` reaches torchaudio through that loss. It handles a missing torchaudio, but
    not one built for another CUDA than torch, which fails with OSError or RuntimeError. Marking
    torch_stoi as missing makes Asteroid skip the loss.
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
            yield
        finally:
            del sys.modules["torch_stoi"]
        return
    yield


class _AsteroidLoader(Loader):
    """Run Asteroid's own loader inside `without_broken_stoi`, then register our models."""

    def __init__(self, loader: Loader):
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with without_broken_stoi():
            self._loader.exec_module(module)
        # If one of our models imports Asteroid, it is only partly imported now; the package
        # registers all models afterwards.
        if "asteroid_waveunet._asteroid" not in sys.modules:
            register_models()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


class _AsteroidFinder(MetaPathFinder):
    """Find Asteroid as Python does, and wrap its loader."""

    def __init__(self) -> None:
        self._is_searching = False

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "asteroid" or self._is_searching:
            return None
        self._is_searching = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._is_searching = False
        if spec is not None and spec.loader is not None:
            spec.loader = _AsteroidLoader(spec.loader)
        return spec


def install() -> None:
    """Install the hook for `import asteroid`; if it is already imported, register our models."""
    if "asteroid.models" in sys.modules:
        register_models()
    elif not any(isinstance(finder, _AsteroidFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AsteroidFinder())
