"""Random plans of training segments: track, position and augmentation of each group of stems.

A plan covers a whole batch as small arrays. `mixing` executes it on the CPU, `gpu_dataset` on a
GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asteroid_waveunet.experiment.data.prepared_store import Prepared
from asteroid_waveunet.experiment.segments.augmentation import (
    AUGMENTATIONS,
    SHARED_IN_A_SONG,
    Amounts,
    check_names,
)

__all__ = ["Plan", "RandomPlans"]

# Each segment has separate random numbers for each purpose: enabling one augmentation does not
# change the others.
PURPOSES = ("remix", "position", *AUGMENTATIONS)
NUMBERS_PER_GROUP = 3


@dataclass(frozen=True)
class Plan:
    """The content of n segments.

    Attributes:
        tracks: `(n, groups)`, index of the track.
        starts: `(n, groups)`, position of the first target in it, in samples.
        amounts: gains, swaps and so on. The gains convert from the store's whole numbers.
    """

    tracks: np.ndarray
    starts: np.ndarray
    amounts: Amounts

    def __len__(self) -> int:
        return len(self.tracks)


class RandomPlans:
    """Draw random segments; a track is drawn with a probability proportional to its length.

    Args:
        tracks: from `prepare`, of one preparation.
        output: target samples per segment.
        seed: >= 0; a segment depends on its index and the seed alone.
        augmentation: names of `AUGMENTATIONS`.
        remix: fraction of segments whose sources come from different positions and tracks.
        remix_stems: fraction of these whose groups do too, prepared by stem.

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
        remix_stems: float = 0.0,
    ) -> None:
        self.seed = seed
        self.augmentation = check_names(augmentation)
        self.remix = remix
        self.remix_stems = remix_stems
        # The first group of each one's source.
        owners = tracks[0].owners
        self.leaders = [owners.index(owner) for owner in owners]
        self.lengths = np.array([track.length for track in tracks])
        self.gains = np.array([track.gains for track in tracks])
        self.output = output

    def plan(self, indices: Sequence[int]) -> Plan:
        """Return the plan of the segments with these indices.

        Raises:
            IndexError: for an index below 0; there is no last segment.
        """
        if min(indices) < 0:
            raise IndexError(f"segment {min(indices)}; random segments are numbered from 0 on")
        n_groups = self.gains.shape[1]
        shape = len(PURPOSES), n_groups, NUMBERS_PER_GROUP
        numbers = np.stack([_random_numbers(self.seed, index, shape) for index in indices])
        uniform = {purpose: numbers[:, i] for i, purpose in enumerate(PURPOSES)}
        # Unless remixed, all groups of a segment take the position of the first; unless their
        # stems are remixed too, that of the first of their source.
        remixed = uniform["remix"][:, :1, :1] < self.remix
        stems_remixed = uniform["remix"][:, :1, 1:2] < self.remix_stems
        for purpose in ("position", *SHARED_IN_A_SONG):
            own = uniform[purpose]
            sources = np.where(stems_remixed, own, own[:, self.leaders])
            uniform[purpose] = np.where(remixed, sources, own[:, :1])
        position = uniform["position"]
        # A sample drawn uniformly from all tracks selects each with the right probability.
        ends = self.lengths.cumsum()
        samples = (position[..., 0] * ends[-1]).astype(np.int64)
        tracks = np.searchsorted(ends, samples, side="right")
        n_starts = np.maximum(self.lengths[tracks] - self.output, 0) + 1
        starts = (position[..., 1] * n_starts).astype(np.int64)
        amounts = Amounts.neutral(len(indices), n_groups)
        for name in self.augmentation:
            AUGMENTATIONS[name](amounts, uniform[name])
        amounts.gains[...] *= self.gains[tracks, np.arange(n_groups)]
        return Plan(tracks, starts, amounts)


def _random_numbers(seed: int, index: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers in [0, 1) for one segment. A keyed Philox generator takes microseconds."""
    key = np.array([seed, index], np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).random(shape)
