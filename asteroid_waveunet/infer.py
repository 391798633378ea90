"""Asteroid's command `asteroid-infer` for the models of this package.

    python -m asteroid_waveunet.infer user/model --files song.wav --resample

Asteroid has no plug-in discovery, so its own command does not know these models. It also keeps
only the first channel of a file, rescales the estimates and cannot write stereo. Here, each model
separates with its own method; Asteroid's models work as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asteroid import separate as asteroid_separate

from asteroid_waveunet.models.base import SourceModel

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `asteroid-infer`.

    Args:
        arguments: command-line arguments; None for those of this process.
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
