"""Augmentations of training segments, by name.

They apply to groups of stems before the mixture is summed, so the mixture stays their sum.

[1] Stoller, Ewert, Dixon. Wave-U-Net. ISMIR 2018, section 4.1.
[2] Uhlich et al. Improving music source separation based on deep neural networks through data
    augmentation and network blending. ICASSP 2017.
[3] Défossez et al. Music Source Separation in the Waveform Domain. 2019 (Demucs).
[4] Ko et al. Audio Augmentation for Speech Recognition. Interspeech 2015.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

__all__ = ["AUGMENTATIONS", "SHARED_IN_A_SONG", "Amounts", "check_names"]

STRETCHED_FRACTION = 0.2  # of the segments
MAX_TEMPO_CHANGE = 0.12  # relative, in either direction
MAX_PITCH_SHIFT = 2  # semitones, in either direction
MAX_SPEED = 1.2  # and as much slower


@dataclass(frozen=True)
class Amounts:
    """The augmentation of n segments.

    Attributes:
        gains: `(n, groups)`, linear amplitude; a negative gain flips the sign.
        swaps: `(n, groups)` bool, reverse the order of channels (stereo: left and right).
        tempos: `(n,)`, speed factor.
        pitches: `(n,)`, shift in semitones.
        speeds: `(n, groups)`, speed factor of resampling, which moves pitch and formants too.
    """

    gains: np.ndarray
    swaps: np.ndarray
    tempos: np.ndarray
    pitches: np.ndarray
    speeds: np.ndarray

    @classmethod
    def neutral(cls, n: int, groups: int) -> Amounts:
        """Return amounts that change nothing."""
        rows = n, groups
        return cls(
            gains=np.ones(rows),
            swaps=np.zeros(rows, np.bool_),
            tempos=np.ones(n),
            pitches=np.zeros(n, np.int64),
            speeds=np.ones(rows),
        )


def random_gains(amounts: Amounts, uniform: np.ndarray) -> None:
    """Scale each group by its own gain from [0.7, 1), the paper's augmentation [1].

    Args:
        amounts: of n segments, changed in place.
        uniform: `(n, groups, 3)` random numbers from [0, 1); most augmentations use the first.

    >>> amounts = Amounts.neutral(1, 2)
    >>> random_gains(amounts, np.array([[[0.0] * 3, [0.5] * 3]]))
    >>> amounts.gains.tolist()
    [[0.7, 0.85]]
    """
    amounts.gains[...] *= 0.7 + 0.3 * uniform[..., 0]


def wide_gains(amounts: Amounts, uniform: np.ndarray) -> None:
    """Scale each group by its own gain from [0.25, 1.25), as in [2] and Open-Unmix."""
    amounts.gains[...] *= 0.25 + uniform[..., 0]


def swap_channels(amounts: Amounts, uniform: np.ndarray) -> None:
    """Reverse the channels of each group with probability 0.5 [2]."""
    amounts.swaps[...] ^= uniform[..., 0] < 0.5


def flip_signs(amounts: Amounts, uniform: np.ndarray) -> None:
    """Flip the sign of each group with probability 0.5 [3]."""
    amounts.gains[...] *= np.where(uniform[..., 0] < 0.5, -1, 1)


def pitch_tempo(amounts: Amounts, uniform: np.ndarray) -> None:
    """Change tempo by up to 12 % and pitch by up to 2 semitones in a fifth of the segments [3].

    All groups of a segment change alike, drums included, as in [3], and stay in tune and in time.
    Noise, and so drums, becomes about 1 dB softer, in mixture and targets. Takes about a hundred
    times as long as cutting a segment.
    """
    chance, tempo, pitch = uniform[:, 0].T
    chosen = chance < STRETCHED_FRACTION
    n_pitches = 2 * MAX_PITCH_SHIFT + 1
    amounts.tempos[chosen] = 1 + MAX_TEMPO_CHANGE * (2 * tempo[chosen] - 1)
    amounts.pitches[chosen] = (n_pitches * pitch[chosen]).astype(np.int64) - MAX_PITCH_SHIFT


def speed(amounts: Amounts, uniform: np.ndarray) -> None:
    """Play each group up to 1.2 times as fast or as slowly, as a tape [4].

    Pitch, tempo and formants change together, by up to 3 semitones, so that singers and
    instruments sound like others of another size. The groups of one song change alike, remixed
    ones independently. Takes about ten times as long as cutting a segment.
    """
    amounts.speeds[...] *= MAX_SPEED ** (2 * uniform[..., 0] - 1)


AUGMENTATIONS: dict[str, Callable[[Amounts, np.ndarray], None]] = {
    "random_gains": random_gains,
    "wide_gains": wide_gains,
    "swap_channels": swap_channels,
    "flip_signs": flip_signs,
    "pitch_tempo": pitch_tempo,
    "speed": speed,
}
SHARED_IN_A_SONG = ("speed",)  # unless remixed, all groups of a segment share the random numbers


def check_names(names: str | Iterable[str]) -> tuple[str, ...]:
    """Return the names as a tuple.

    Raises:
        ValueError: for a name not in `AUGMENTATIONS`.

    >>> check_names("random_gains")
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
