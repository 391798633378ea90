"""Data set of training or validation segments: mixtures with context, and targets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from asteroid_waveunet.experiment.data.prepared_store import Prepared
from asteroid_waveunet.experiment.segments.augmentation import Amounts
from asteroid_waveunet.experiment.segments.mixing import Mixer
from asteroid_waveunet.experiment.segments.random_plans import Plan, RandomPlans

__all__ = ["BatchedDataset", "Segments", "check_segments"]


class Lengths(Protocol):
    """Input and output length of a segment, in samples."""

    @property
    def input(self) -> int: ...

    @property
    def output(self) -> int: ...


class BatchedDataset(Dataset):
    """A data set that makes whole batches in `__getitems__(indices)`."""

    _length: int

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        mixtures, targets = self.__getitems__([index])
        return mixtures[0], targets[0]

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


class Segments(BatchedDataset):
    """Segments `(mixture, targets)` of prepared tracks; the mixture is longer by its context.

    An item is the mixture `(channels, input)` and the targets `(n_src, channels, output)`, or
    `(n_src, output)` for one channel, float32. The mixture is the sum of all groups of stems,
    "rest" included. Tracks are zero-padded at both ends.

        mixture   |--- left_context ---|------ output ------|--- right context ---|
        targets                        |------ output ------|

    Training segments are random: `item[i]` depends on (seed, i) alone, and tracks are drawn in
    proportion to their length. `i` may exceed `len()`, see `ResumableBatchSampler`. Validation
    (`random=False`) covers every sample of every track once, without augmentation.

    Batches need no collation: `DataLoader(..., collate_fn=batch_sampler.collate)`.

    Args:
        tracks: from `prepare`, of one preparation.
        lengths: input and output samples, from `model.geometry.fit(n)`.
        left_context: mixture samples before the first target, `model.geometry.left_context`.
        epoch_length: segments per epoch, for random segments only.
        seed: of the random segments, >= 0.
        augmentation: names of `AUGMENTATIONS`, for random segments only.
        random: random segments (training) instead of consecutive ones (validation).
        remix: fraction of random segments that mix sources from different positions and tracks.
        remix_stems: fraction of these that mix the stems of a source too, prepared by stem.
        threads: threads that make a batch, >= 1; None for torch's number. Worker processes
            always use one. Threads without workers are faster than as many workers.
    """

    def __init__(
        self,
        tracks: Sequence[Prepared],
        lengths: Lengths,
        left_context: int,
        epoch_length: int | None = None,
        seed: int = 0,
        augmentation: Sequence[str] = (),
        random: bool = True,
        remix: float = 0.0,
        remix_stems: float = 0.0,
        threads: int | None = None,
    ) -> None:
        check_segments(tracks, lengths, left_context)
        if threads is not None and threads < 1:
            raise ValueError(f"threads is {threads}; expected at least 1")
        if random and (epoch_length is None or epoch_length < 1):
            raise ValueError(f"random segments need an epoch_length >= 1, got {epoch_length!r}")
        self.tracks = tuple(tracks)
        self.lengths = lengths
        self.left_context = left_context
        self.random = self.endless = random
        self.threads = threads
        self._plans = RandomPlans(tracks, lengths.output, seed, augmentation, remix, remix_stems)
        # ends[i]: number of consecutive segments up to the end of track i.
        self._ends = np.cumsum([math.ceil(track.length / lengths.output) for track in tracks])
        self._length = epoch_length if random and epoch_length else int(self._ends[-1])

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return a batch of the segments with these indices."""
        plan = self._plans.plan(indices) if self.random else self._consecutive(indices)
        first = self.tracks[0]
        mixtures = _empty(len(plan), first.channels, self.lengths.input)
        targets = _empty(len(plan), first.n_src, first.channels, self.lengths.output)
        arrays = mixtures.numpy(), targets.numpy()

        def make(numbers: Iterable[int]) -> None:
            for i in numbers:
                self._mixer.make(plan, i, arrays[0][i], arrays[1][i])

        threads = self.threads or torch.get_num_threads()
        if threads == 1 or get_worker_info() is not None:
            make(range(len(plan)))
        else:
            parts = [range(n, len(plan), threads) for n in range(threads)]
            list(self._pool.map(make, parts))
        return mixtures, targets[:, :, 0] if first.channels == 1 else targets

    @cached_property
    def _mixer(self) -> Mixer:
        maps = [track.map() for track in self.tracks]
        first = self.tracks[0]
        return Mixer(maps, self.left_context, first.sample_rate, first.owners)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads or torch.get_num_threads())

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the memory maps, which would be pickled as samples; workers map them again."""
        return {name: x for name, x in vars(self).items() if name not in ("_mixer", "_pool")}

    def _consecutive(self, indices: Sequence[int]) -> Plan:
        positions = np.array([self.locate(index) for index in indices])
        n_groups = len(self.tracks[0].groups)
        tracks, starts = (np.repeat(column[:, None], n_groups, axis=1) for column in positions.T)
        amounts = Amounts.neutral(*tracks.shape)
        amounts.gains[...] = [self.tracks[number].gains for number in positions[:, 0]]
        return Plan(tracks, starts, amounts)

    def locate(self, index: int) -> tuple[int, int]:
        """Return the track index and first target's position of a consecutive segment."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"segment {index} of {len(self)}")
        index %= len(self)
        number = int(np.searchsorted(self._ends, index, side="right"))
        first = self._ends[number - 1] if number else 0
        return number, int(index - first) * self.lengths.output


def _empty(*shape: int) -> Tensor:
    """Allocate a float32 tensor in memory that is not copied again before training."""
    if get_worker_info() is not None:
        # As torch's default_collate: in memory shared with the main process.
        n = math.prod(shape)
        storage = torch.UntypedStorage._new_shared(n * torch.float32.itemsize)
        return torch.empty(0).set_(storage, 0, shape)  # type: ignore[call-overload]
    # NumPy requests large pages, which are allocated several times as fast as torch's.
    return torch.from_numpy(np.empty(shape, np.float32))


def check_segments(tracks: Sequence[Prepared], lengths: Lengths, left_context: int) -> None:
    """Raise ValueError unless segments of these lengths can be cut from these tracks."""
    if not tracks:
        raise ValueError("segments need at least one prepared track, got none")
    kinds = {(t.groups, t.owners, t.n_src, t.channels, t.sample_rate) for t in tracks}
    if len(kinds) > 1:
        raise ValueError(
            f"tracks of different preparations cannot be mixed: {sorted(kinds)}; with remix_stems, "
            "the songs of all data sets need the same stems"
        )
    if not 0 <= left_context <= lengths.input - lengths.output:
        raise ValueError(
            f"a left context of {left_context} does not fit an input of {lengths.input} and"
            f" an output of {lengths.output} samples"
        )
