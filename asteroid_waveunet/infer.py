"""Asteroid's own command `asteroid-infer`, with the models of this package.

    python -m asteroid_waveunet.infer user/model --files song.wav --resample

Asteroid has no discovery of plug-ins, so that its command finds no WaveUNet by itself, nor any
other model here. And it hands files to a function that keeps their first channel, rescales the
estimates and cannot write stereo ones. Here each model separates by its own method, which is that
function for Asteroid's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asteroid import separate as asteroid_separate

from asteroid_waveunet.models.base import SourceModel

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs `asteroid-infer`.

    Args:
        arguments: of the command; those of this process if None.
    """
    from asteroid.scripts import asteroid_cli

    asteroid_cli.separate = _separate
    asteroid_cli.infer(None if arguments is None else list(arguments))


def _separate(model: Any, *args: Any, **kwargs: Any) -> Any:
    if isinstance(model, SourceModel):
        return model.separate(*args, **kwargs)
    return asteroid_separate.separate(model, *args, **kwargs)


if __name__ == "__main__":
    main()
