"""What random segments are made of: which music, from where, how loud.

Drawn for a whole batch as small arrays, which the executors follow: `cutting` on the processor,
`device_store` on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asteroid_waveunet.experiment.data.prepared_store import Prepared
from asteroid_waveunet.experiment.segments.augmentation import AUGMENTATIONS, Amounts, checked

__all__ = ["Drawing", "Plan"]

# An item has uniform numbers of its own for each purpose, as many a group as any needs: so what is
# done for one purpose changes nothing for the others.
PURPOSES = ("remix", "place", *AUGMENTATIONS)
NUMBERS = 3


@dataclass(frozen=True)
class Plan:
    """What the groups of n segments are, row by row.

    Attributes:
        tracks: `(n, groups)`, which track.
        starts: `(n, groups)`, the place of the first target in it, in samples.
        amounts: gains, swaps and so on. The gains are times the whole numbers of the store.
    """

    tracks: np.ndarray
    starts: np.ndarray
    amounts: Amounts

    def __len__(self) -> int:
        return len(self.tracks)


class Drawing:
    """Random segments of tracks: a track is drawn as often as its length asks for.

    Args:
        tracks: from `prepare`, of one preparation.
        output: samples a target has.
        seed: >= 0; what is drawn for an index depends on both alone.
        augmentation: names of `AUGMENTATIONS`.
        remix: the share of segments whose groups are each from a place of their own.

    Raises:
        ValueError: for an unknown augmentation.
    """

    def __init__(
        self,
        tracks: Sequence[Prepared],
        output: int,
        seed: int = 0,
        augmentation: Sequence[str] = (),
        remix: float = 0.0,
    ) -> None:
        self.seed = seed
        self.augmentation = checked(augmentation)
        self.remix = remix
        self.lengths = np.array([track.length for track in tracks])
        self.gains = np.array([track.gains for track in tracks])
        self.output = output

    def plan(self, indices: Sequence[int]) -> Plan:
        """What the segments with these indices are made of.

        Raises:
            IndexError: for an index below 0: there is no last one.
        """
        if min(indices) < 0:
            raise IndexError(f"segment {min(indices)}; random ones are numbered from 0 on")
        n_groups = self.gains.shape[1]
        shape = len(PURPOSES), n_groups, NUMBERS
        drawn = np.stack([_uniform(self.seed, index, shape) for index in indices])
        uniform = {purpose: drawn[:, i] for i, purpose in enumerate(PURPOSES)}
        # Unless it is remixed, all groups of a segment take the first one's place.
        remixed = uniform["remix"][:, :1, :1] < self.remix
        place = np.where(remixed, uniform["place"], uniform["place"][:, :1])
        # A sample drawn evenly from all tracks lies in a track as often as the track is long.
        ends = self.lengths.cumsum()
        tracks = np.searchsorted(ends, (place[..., 0] * ends[-1]).astype(np.int64), side="right")
        places = np.maximum(self.lengths[tracks] - self.output, 0) + 1
        starts = (place[..., 1] * places).astype(np.int64)
        amounts = Amounts.none(len(indices), n_groups)
        for name in self.augmentation:
            AUGMENTATIONS[name](amounts, uniform[name])
        amounts.gains[...] *= self.gains[tracks, np.arange(n_groups)]
        return Plan(tracks, starts, amounts)


def _uniform(seed: int, index: int, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers in [0, 1) for one item: Philox is made to be keyed, and so costs microseconds."""
    key = np.array([seed, index], np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).random(shape)
