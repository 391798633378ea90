"""Augmentation of training segments: each function takes all groups of one, and returns them anew.

The mixture is summed afterwards, so whatever is done to a source is heard in the mixture too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np

Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def random_gains(
    groups: np.ndarray, rng: np.random.Generator, low: float = 0.7, high: float = 1.0
) -> np.ndarray:
    """Each group times its own gain, drawn uniformly from [low, high): the paper's augmentation.

    Args:
        groups: `(n, channels, time)` float32, the sources of one segment.
        rng: where the gains come from.
        low, high: bounds of the gain, linear amplitude.

    >>> ones = np.ones((2, 1, 3), np.float32)
    >>> random_gains(ones, np.random.default_rng(0), low=0.5, high=0.5)[:, 0, 0].tolist()
    [0.5, 0.5]
    """
    gains = rng.uniform(low, high, size=(len(groups), 1, 1))
    return groups * gains.astype(np.float32)


def swap_channels(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each group with its channels in reverse order (stereo: left and right) half of the time.

    Args:
        groups: `(n, channels, time)`.
        rng: one fair coin a group comes from it.

    >>> left_only = np.array([[[1.0], [0.0]]] * 8, np.float32)
    >>> sorted(set(swap_channels(left_only, np.random.default_rng(0))[:, 0, 0].tolist()))
    [0.0, 1.0]
    """
    heads = rng.random(len(groups)) < 0.5
    return np.where(heads[:, None, None], groups[:, ::-1], groups)


AUGMENTATIONS: dict[str, Augmentation] = {
    "random_gains": random_gains,
    "swap_channels": swap_channels,
}


def compose(names: str | Iterable[str]) -> Augmentation:
    """One augmentation that applies the named ones in the order given; no name changes nothing.

    Raises:
        ValueError: for a name that is not in `AUGMENTATIONS`.

    >>> augment = compose(["random_gains", "swap_channels"])
    >>> augment(np.zeros((4, 2, 10), np.float32), np.random.default_rng(0)).shape
    (4, 2, 10)
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    unknown = [name for name in names if name not in AUGMENTATIONS]
    if unknown:
        raise ValueError(
            f"unknown augmentation {', '.join(map(repr, unknown))}; "
            f"the known ones are {', '.join(AUGMENTATIONS)}"
        )
    return partial(_apply, tuple(AUGMENTATIONS[name] for name in names))


def _apply(
    steps: tuple[Augmentation, ...], groups: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    for step in steps:
        groups = step(groups, rng)
    return groups
