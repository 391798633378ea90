"""Weights that come with the package, by name; they load without a network.

>>> names()
('free',)
>>> folder("free").is_dir()
True
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["DEFAULT", "WEIGHTS", "Weights", "folder", "names"]


@dataclass(frozen=True)
class Weights:
    """Trained weights in a folder of this name: `model.safetensors` and `README.md`, their card.

    Attributes:
        summary: sources and training data, for `waveunet separate`.
        license: of the weights.
        scores: their quality in one line.
    """

    summary: str
    license: str
    scores: str


WEIGHTS = {
    "free": Weights(
        summary="vocals and accompaniment, trained on freely licensed music only",
        license="MIT",
        scores="a first version: median SDR on 8 test songs of MUSDB18: vocals 1.8 dB (mixture "
        "-7.0), accompaniment 7.2 dB (mixture 7.0)",
    ),
}
DEFAULT = "free"


def names() -> tuple[str, ...]:
    """Return the names of all weights, for `WaveUNet.from_pretrained`."""
    return tuple(WEIGHTS)


def folder(name: str) -> Path:
    """Return the folder of weights by name.

    Raises:
        ValueError: if the name is unknown; lists the known ones.
    """
    if name not in WEIGHTS:
        raise ValueError(f"Unknown weights {name!r}; expected one of {', '.join(WEIGHTS)}.")
    return Path(__file__).parent / name
