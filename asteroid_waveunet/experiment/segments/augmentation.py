"""Augmentations of training segments by name: what each draws for the groups of a segment.

The mixture is summed afterwards, so whatever is done to a source is heard in the mixture too.

[1] Stoller, Ewert, Dixon. Wave-U-Net. ISMIR 2018, section 4.1.
[2] Uhlich et al. Improving music source separation based on deep neural networks through data
    augmentation and network blending. ICASSP 2017.
[3] Défossez et al. Music Source Separation in the Waveform Domain. 2019 (Demucs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

__all__ = ["AUGMENTATIONS", "Amounts", "checked"]

STRETCHED_SHARE = 0.2  # of the segments
TEMPO_RANGE = 0.12  # either way
PITCH_RANGE = 2  # semitones either way


@dataclass(frozen=True)
class Amounts:
    """What is done to the groups of n segments.

    Attributes:
        gains: `(n, groups)`, linear amplitude; a negative one flips the sign.
        swaps: `(n, groups)`, whether channels are in reverse order (stereo: left and right).
        tempos: `(n,)`, how many times as fast.
        pitches: `(n,)`, by how many semitones higher.
    """

    gains: np.ndarray
    swaps: np.ndarray
    tempos: np.ndarray
    pitches: np.ndarray

    @classmethod
    def none(cls, n: int, groups: int) -> Amounts:
        """Nothing is changed."""
        rows = n, groups
        return cls(np.ones(rows), np.zeros(rows, np.bool_), np.ones(n), np.zeros(n, np.int64))


def random_gains(amounts: Amounts, uniform: np.ndarray) -> None:
    """Each group times its own gain from [0.7, 1), the paper's augmentation [1].

    Args:
        amounts: of n segments, to be changed.
        uniform: `(n, groups, 3)`, drawn from [0, 1); one number a group is all that most need.

    >>> amounts = Amounts.none(1, 2)
    >>> random_gains(amounts, np.array([[[0.0] * 3, [0.5] * 3]]))
    >>> amounts.gains.tolist()
    [[0.7, 0.85]]
    """
    amounts.gains[...] *= 0.7 + 0.3 * uniform[..., 0]


def wide_gains(amounts: Amounts, uniform: np.ndarray) -> None:
    """Each group times its own gain from [0.25, 1.25), as in [2] and Open-Unmix."""
    amounts.gains[...] *= 0.25 + uniform[..., 0]


def swap_channels(amounts: Amounts, uniform: np.ndarray) -> None:
    """Each group with its channels in reverse order half of the time [2]."""
    amounts.swaps[...] ^= uniform[..., 0] < 0.5


def flip_signs(amounts: Amounts, uniform: np.ndarray) -> None:
    """Each group times -1 half of the time [3]."""
    amounts.gains[...] *= np.where(uniform[..., 0] < 0.5, -1, 1)


def pitch_tempo(amounts: Amounts, uniform: np.ndarray) -> None:
    """A fifth of the segments up to 12 % slower or faster and 2 semitones lower or higher [3].

    All groups of a segment alike, drums too, as in [3]: what was in tune and in time stays so.
    Noise, and so drums, becomes some 1 dB softer by it, in the mixture as in the targets.
    It takes some hundred times as long as cutting a segment does.
    """
    share, tempo, pitch = uniform[:, 0].T
    chosen = share < STRETCHED_SHARE
    n_pitches = 2 * PITCH_RANGE + 1
    amounts.tempos[chosen] = 1 + TEMPO_RANGE * (2 * tempo[chosen] - 1)
    amounts.pitches[chosen] = (n_pitches * pitch[chosen]).astype(np.int64) - PITCH_RANGE


AUGMENTATIONS: dict[str, Callable[[Amounts, np.ndarray], None]] = {
    "random_gains": random_gains,
    "wide_gains": wide_gains,
    "swap_channels": swap_channels,
    "flip_signs": flip_signs,
    "pitch_tempo": pitch_tempo,
}


def checked(names: str | Iterable[str]) -> tuple[str, ...]:
    """The names, if all are known.

    Raises:
        ValueError: for a name that is not in `AUGMENTATIONS`.

    >>> checked("random_gains")
    ('random_gains',)
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    unknown = [name for name in names if name not in AUGMENTATIONS]
    if unknown:
        raise ValueError(
            f"unknown augmentation {', '.join(map(repr, unknown))}; "
            f"the known ones are {', '.join(AUGMENTATIONS)}"
        )
    return names
