"""Segments of prepared tracks for a DataLoader: a mixture with its context, and the targets."""

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
from asteroid_waveunet.experiment.segments.mixing import Cutter
from asteroid_waveunet.experiment.segments.random_plans import Drawing, Plan

__all__ = ["Batched", "Segments"]


class Lengths(Protocol):
    """What a segment needs to know of a model: samples in and samples out."""

    @property
    def input(self) -> int: ...

    @property
    def output(self) -> int: ...


class Batched(Dataset):
    """A data set that makes whole batches, `__getitems__(indices)`; an item is one of a batch."""

    _length: int

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        mixtures, targets = self.__getitems__([index])
        return mixtures[0], targets[0]

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


class Segments(Batched):
    """Segments of prepared tracks: `(mixture, targets)`, the mixture longer by its context.

    An item is the mixture `(channels, input)` and the targets `(n_src, channels, output)`, for
    one channel `(n_src, output)`, float32. The mixture is the sum of all groups, "rest" included.
    Beyond a track's ends everything is zero; a track shorter than a segment is padded with zeros.

        mixture   |--- left_context ---|------ output ------|--- right context ---|
        targets                        |------ output ------|

    Training draws segments at random: `item[i]` depends on (seed, i) alone, and a track is drawn
    as often as its length asks for. `i` goes on beyond `len()`, see `sampling.Batches`. Validation
    (`random=False`) walks over every sample of every track once, without augmentation.

    A loader gets its batches whole: `DataLoader(..., collate_fn=sampling.collated)`.

    Args:
        tracks: from `prepare`, of one preparation.
        lengths: samples in and out, as `model.geometry.fit(n)` gives them.
        left_context: samples of mixture before the first target, `model.geometry.left_context`.
        epoch_length: segments an epoch, for random segments only.
        seed: of the draws, >= 0.
        augmentation: names of `AUGMENTATIONS`, for random segments only.
        random: whether to draw (training) or to walk (validation).
        remix: the share of drawn segments whose groups are each from a place of their own, so
            that a source is heard with others than its own song's.
        threads: that cut a batch, >= 1; None for as many as torch has. A loader's worker process
            has one in any case. Without workers, threads are faster than as many workers.
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
        threads: int | None = None,
    ) -> None:
        check(tracks, lengths, left_context)
        if threads is not None and threads < 1:
            raise ValueError(f"threads is {threads}; expected at least 1")
        if random and (epoch_length is None or epoch_length < 1):
            raise ValueError(f"random segments need an epoch_length >= 1, got {epoch_length!r}")
        self.tracks = tuple(tracks)
        self.lengths = lengths
        self.left_context = left_context
        self.random = self.endless = random
        self.threads = threads
        self._drawing = Drawing(tracks, lengths.output, seed, augmentation, remix)
        # ends[i]: how many segments of a walk there are up to the end of track i.
        self._ends = np.cumsum([math.ceil(track.length / lengths.output) for track in tracks])
        self._length = epoch_length if random and epoch_length else int(self._ends[-1])

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The segments with these indices, in a batch."""
        plan = self._drawing.plan(indices) if self.random else self._walk(indices)
        first = self.tracks[0]
        mixtures = empty(len(plan), first.channels, self.lengths.input)
        targets = empty(len(plan), first.n_src, first.channels, self.lengths.output)
        written = mixtures.numpy(), targets.numpy()

        def cut(numbers: Iterable[int]) -> None:
            for i in numbers:
                self._cutter.cut(plan, i, written[0][i], written[1][i])

        threads = self.threads or torch.get_num_threads()
        if threads == 1 or get_worker_info() is not None:
            cut(range(len(plan)))
        else:
            shares = [range(n, len(plan), threads) for n in range(threads)]
            list(self._pool.map(cut, shares))
        return mixtures, targets[:, :, 0] if first.channels == 1 else targets

    @cached_property
    def _cutter(self) -> Cutter:
        maps = [track.map() for track in self.tracks]
        return Cutter(maps, self.left_context, self.tracks[0].sample_rate)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads or torch.get_num_threads())

    def __getstate__(self) -> dict[str, Any]:
        """For a worker process, which maps the tracks anew: a map would travel as its samples."""
        return {name: x for name, x in vars(self).items() if name not in ("_cutter", "_pool")}

    def _walk(self, indices: Sequence[int]) -> Plan:
        places = np.array([self.place(index) for index in indices])
        n_groups = len(self.tracks[0].groups)
        tracks, starts = (np.repeat(column[:, None], n_groups, axis=1) for column in places.T)
        amounts = Amounts.none(*tracks.shape)
        amounts.gains[...] = [self.tracks[number].gains for number in places[:, 0]]
        return Plan(tracks, starts, amounts)

    def place(self, index: int) -> tuple[int, int]:
        """Of a walk (`random=False`): which track a segment is of, and its first target's place."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"segment {index} of {len(self)}")
        index %= len(self)
        number = int(np.searchsorted(self._ends, index, side="right"))
        first = self._ends[number - 1] if number else 0
        return number, int(index - first) * self.lengths.output


def empty(*shape: int) -> Tensor:
    """A tensor to be filled, where it need not be copied any more on its way to the training."""
    if get_worker_info() is not None:
        # As torch's own collating does: in memory that the main process shares.
        n = math.prod(shape)
        storage = torch.UntypedStorage._new_shared(n * torch.float32.itemsize)
        return torch.empty(0).set_(storage, 0, shape)  # type: ignore[call-overload]
    # numpy asks for large pages, which are several times as fast to get as torch's small ones.
    return torch.from_numpy(np.empty(shape, np.float32))


def check(tracks: Sequence[Prepared], lengths: Lengths, left_context: int) -> None:
    """Raises ValueError unless segments of these lengths can be cut out of these tracks."""
    if not tracks:
        raise ValueError("segments need at least one prepared track, got none")
    kinds = {(track.groups, track.n_src, track.channels, track.sample_rate) for track in tracks}
    if len(kinds) > 1:
        raise ValueError(f"tracks of different preparations cannot be mixed: {sorted(kinds)}")
    if not 0 <= left_context <= lengths.input - lengths.output:
        raise ValueError(
            f"a left context of {left_context} does not fit an input of {lengths.input} and"
            f" an output of {lengths.output} samples"
        )
