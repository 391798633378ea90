"""Segments of prepared tracks for a DataLoader: a mixture with its context, and the targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from .preparation import Prepared

__all__ = ["Segments"]


class Lengths(Protocol):
    """What a segment needs to know of a model: samples in and samples out."""

    @property
    def input(self) -> int: ...

    @property
    def output(self) -> int: ...


class Segments(Dataset):
    """Segments of prepared tracks: `(mixture, targets)`, the mixture longer by its context.

    An item is the mixture `(channels, input)` and the targets `(n_src, channels, output)`, for
    one channel `(n_src, output)`, float32. The mixture is the sum of all groups, "rest" included.
    Beyond a track's ends everything is zero; a track shorter than a segment is padded with zeros.

        mixture   |--- left_context ---|------ output ------|--- right context ---|
        targets                        |------ output ------|

    Training draws segments at random: `item[i]` depends on (seed, i) alone, and a track is drawn
    as often as its length asks for. `i` goes on beyond `len()`, see `sampling.Batches`. Validation
    (`random=False`) walks over every sample of every track once, without augmentation.

    Args:
        tracks: from `prepare`, of one preparation.
        lengths: samples in and out, as `model.geometry.fit(n)` gives them.
        left_context: samples of mixture before the first target, `model.geometry.left_context`.
        epoch_length: segments an epoch, for random segments only.
        seed: of the draws, >= 0.
        augmentation: called with the groups `(n, channels, input)` and a numpy Generator.
        random: whether to draw (training) or to walk (validation).
        remix: the share of drawn segments whose groups are each from a place of their own, so
            that a source is heard with others than its own song's.
    """

    def __init__(
        self,
        tracks: Sequence[Prepared],
        lengths: Lengths,
        left_context: int,
        epoch_length: int | None = None,
        seed: int = 0,
        augmentation: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
        random: bool = True,
        remix: float = 0.0,
    ) -> None:
        _check_alike(tracks)
        if not 0 <= left_context <= lengths.input - lengths.output:
            raise ValueError(
                f"a left context of {left_context} does not fit an input of {lengths.input} and"
                f" an output of {lengths.output} samples"
            )
        if random and (epoch_length is None or epoch_length < 1):
            raise ValueError(f"random segments need an epoch_length >= 1, got {epoch_length!r}")
        self.tracks = tuple(tracks)
        self.lengths = lengths
        self.left_context = left_context
        self.seed = seed
        self.augmentation = augmentation
        self.random = random
        self.remix = remix
        samples = [track.length for track in self.tracks]
        segments = [math.ceil(length / lengths.output) for length in samples]
        # ends[i]: how many samples (or segments) there are up to the end of track i.
        self._ends = np.cumsum(samples if random else segments)
        self._length = epoch_length if random and epoch_length else int(self._ends[-1])

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self._drawn(index) if self.random else self._walked(index)

    def _drawn(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng([self.seed, index])
        if self.remix and rng.random() < self.remix:
            rows = [np.s_[i : i + 1] for i in range(len(self.tracks[0].groups))]
            groups = np.concatenate([self._draw(rng, row) for row in rows])
        else:
            groups = self._draw(rng, np.s_[:])
        if self.augmentation is not None:
            groups = self.augmentation(groups, rng)
        return self._item(groups, self.tracks[0])

    def _draw(self, rng: np.random.Generator, rows: slice) -> np.ndarray:
        """Some groups of one segment, `(rows, channels, input)`, from anywhere."""
        # A sample drawn evenly from all tracks lies in a track as often as the track is long.
        sample = rng.integers(self._ends[-1])
        track = self.tracks[np.searchsorted(self._ends, sample, side="right")]
        start = int(rng.integers(max(track.length - self.lengths.output, 0) + 1))
        return self._groups(track, start, rows)

    def _walked(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        number, start = self.place(index)
        track = self.tracks[number]
        return self._item(self._groups(track, start), track)

    def place(self, index: int) -> tuple[int, int]:
        """Of a walk (`random=False`): which track a segment is of, and its first target's place."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"segment {index} of {len(self)}")
        index %= len(self)
        number = int(np.searchsorted(self._ends, index, side="right"))
        first = self._ends[number - 1] if number else 0
        return number, int(index - first) * self.lengths.output

    def _groups(self, track: Prepared, start: int, rows: slice = np.s_[:]) -> np.ndarray:
        return crop(track.load()[rows], start - self.left_context, self.lengths.input)

    def _item(self, groups: np.ndarray, track: Prepared) -> tuple[torch.Tensor, torch.Tensor]:
        mixture = groups.sum(axis=0, dtype=np.float32)
        stop = self.left_context + self.lengths.output
        targets = groups[: track.n_src, :, self.left_context : stop]
        if track.channels == 1:
            targets = targets[:, 0]
        return torch.from_numpy(mixture), torch.from_numpy(
            np.ascontiguousarray(targets, np.float32)
        )


def crop(samples: np.ndarray, start: int, length: int) -> np.ndarray:
    """`samples[..., start : start + length]` as a copy, zeros where that is outside.

    >>> crop(np.array([1, 2, 3]), -1, 5).tolist()
    [0, 1, 2, 3, 0]
    """
    piece = np.zeros((*samples.shape[:-1], length), samples.dtype)
    first, last = max(start, 0), min(start + length, samples.shape[-1])
    if first < last:
        piece[..., first - start : last - start] = samples[..., first:last]
    return piece


def _check_alike(tracks: Sequence[Prepared]) -> None:
    if not tracks:
        raise ValueError("segments need at least one prepared track, got none")
    kinds = {(track.groups, track.n_src, track.channels, track.sample_rate) for track in tracks}
    if len(kinds) > 1:
        raise ValueError(f"tracks of different preparations cannot be mixed: {sorted(kinds)}")
