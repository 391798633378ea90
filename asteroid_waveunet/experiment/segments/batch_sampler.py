"""Batch indices computed from epoch and step alone: training can resume at any step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler, default_collate

__all__ = [
    "EndlessShuffle",
    "ResumableBatchSampler",
    "balanced_partition",
    "collate",
    "make_endless",
]


class ResumableBatchSampler(Sampler[list[int]]):
    """A DataLoader's `batch_sampler` of consecutive indices 0, 1, 2, ... without an end.

    Step k of training takes the next `world_size * batch_size` indices after step k - 1, and each
    process (rank) takes `batch_size` of them in turn. So W processes with batches of b train on
    the same segments as one process with batches of W * b, and an epoch that starts at step k
    reads nothing of the steps before.

        step 0                  step 1                  step 2
        |- rank 0 -|- rank 1 -| |- rank 0 -|- rank 1 -| |- rank 0 -|- ...
        0          b          2b           3b

    Args:
        steps: batches per epoch and process, >= 1.
        batch_size: indices per batch and process.
        world_size: number of processes.
        rank: index of this process.

    >>> batches = ResumableBatchSampler(steps=3, batch_size=2)
    >>> batches.seek(epoch=1, step=1)
    >>> list(batches)
    [[8, 9], [10, 11]]
    """

    def __init__(self, steps: int, batch_size: int, world_size: int = 1, rank: int = 0) -> None:
        self.steps = steps
        self.batch_size = batch_size
        self.world_size = world_size
        self.rank = rank
        self._resized_at = (0, 0)  # the first epoch and index of the current batch size
        self.seek(0)

    def seek(self, epoch: int, step: int = 0) -> None:
        """Let the next pass cover the rest of this epoch, from this step on."""
        self._next = (epoch, step)

    def resize(self, epoch: int, batch_size: int) -> None:
        """Change the batch size from this epoch on; the indices continue without a gap."""
        self._resized_at = (epoch, self._first(epoch, 0))
        self.batch_size = batch_size

    def indices(self, epoch: int, step: int) -> list[int]:
        """Return this process's indices of one step."""
        first = self._first(epoch, step) + self.rank * self.batch_size
        return list(range(first, first + self.batch_size))

    def _first(self, epoch: int, step: int) -> int:
        since, index = self._resized_at
        return index + ((epoch - since) * self.steps + step) * self.world_size * self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        # A generator reads the position when the first batch is requested, not before.
        epoch, first = self._next
        for step in range(first, self.steps):
            yield self.indices(epoch, step)

    def __len__(self) -> int:
        return self.steps  # of a whole epoch: Lightning counts completed steps as well


class EndlessShuffle(Dataset):
    """Repeat a data set endlessly, reshuffled on each pass: item i is from pass i // length.

    Each pass takes each item once, in an order that depends on the seed and the pass alone.

    >>> items = EndlessShuffle(["a", "b", "c"], seed=1)
    >>> sorted(items[i] for i in range(6, 9))
    ['a', 'b', 'c']
    """

    endless = True

    def __init__(self, dataset: Any, seed: int = 0) -> None:
        self.dataset = dataset
        self.seed = seed
        self._cached_pass: tuple[int, list[int]] = (-1, [])

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self._shuffled(index)]

    def __getitems__(self, indices: Sequence[int]) -> Any:
        """Return a batch from the data set's own `__getitems__`, or a list of items."""
        shuffled = [self._shuffled(index) for index in indices]
        get_batch = getattr(self.dataset, "__getitems__", None)
        return get_batch(shuffled) if get_batch else [self.dataset[index] for index in shuffled]

    def _shuffled(self, index: int) -> int:
        number, position = divmod(index, len(self))
        if number != self._cached_pass[0]:
            generator = torch.Generator().manual_seed(hash((self.seed, number)))
            self._cached_pass = number, torch.randperm(len(self), generator=generator).tolist()
        return self._cached_pass[1][position]


def make_endless(dataset: Any, seed: int) -> Any:
    """Wrap a data set in `EndlessShuffle` unless its attribute `endless` is true."""
    return dataset if getattr(dataset, "endless", False) else EndlessShuffle(dataset, seed)


def collate(batch: Any) -> Any:
    """Collate a list of items; return anything else, a batch already, as it is (`collate_fn`).

    A data set whose `__getitems__(indices)` returns a whole batch, as a tuple of tensors, saves
    copying each item.
    """
    return default_collate(batch) if isinstance(batch, list) else batch


def balanced_partition(lengths: Sequence[int], n_parts: int) -> list[list[int]]:
    """Partition items into parts of about equal total length; return the indices of each part.

    Longest first, each to the part with the smallest total: at worst a third above the optimum
    (Graham, Bounds on multiprocessing timing anomalies, 1969).

    >>> balanced_partition([5, 3, 3, 1], 2)
    [[0, 3], [1, 2]]
    """
    parts: list[list[int]] = [[] for _ in range(n_parts)]
    totals = [0] * n_parts
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        smallest = totals.index(min(totals))
        parts[smallest].append(index)
        totals[smallest] += lengths[index]
    return [sorted(part) for part in parts]
