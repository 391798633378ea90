"""Which items make a batch: of any step, by numbers alone, so that training can begin anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler, default_collate

__all__ = ["Batches", "Reshuffled", "collated", "dealt", "endless"]


class Batches(Sampler[list[int]]):
    """The indices of each batch, as a DataLoader's `batch_sampler`: 0, 1, 2, ... without an end.

    Step k of training takes the next `ranks * batch_size` indices after step k - 1; of these each
    process (rank) takes its `batch_size` in turn. So W processes with batches of b see together
    what one process with batches of W * b sees, and an epoch that is begun at its step k reads
    nothing of what came before.

        step 0                  step 1                  step 2
        |- rank 0 -|- rank 1 -| |- rank 0 -|- rank 1 -| |- rank 0 -|- ...
        0          b          2b           3b

    Args:
        steps: batches an epoch (of each process), >= 1.
        batch_size: indices in a batch (of each process).
        ranks: how many processes train together.
        rank: which of them this is.

    >>> batches = Batches(steps=3, batch_size=2)
    >>> batches.go_to(epoch=1, step=1)
    >>> list(batches)
    [[8, 9], [10, 11]]
    """

    def __init__(self, steps: int, batch_size: int, ranks: int = 1, rank: int = 0) -> None:
        self.steps = steps
        self.batch_size = batch_size
        self.ranks = ranks
        self.rank = rank
        self._began = (0, 0)  # the epoch and the index at which batches came to have this size
        self.go_to(0)

    def go_to(self, epoch: int, step: int = 0) -> None:
        """The next pass is through the rest of this epoch, from this step on."""
        self._next = (epoch, step)

    def resize(self, epoch: int, batch_size: int) -> None:
        """Batches have another size from this epoch on; the indices go on without a gap."""
        self._began = (epoch, self._first(epoch, 0))
        self.batch_size = batch_size

    def indices(self, epoch: int, step: int) -> list[int]:
        """Of this process, in one step."""
        first = self._first(epoch, step) + self.rank * self.batch_size
        return list(range(first, first + self.batch_size))

    def _first(self, epoch: int, step: int) -> int:
        since, index = self._began
        return index + ((epoch - since) * self.steps + step) * self.ranks * self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        # A generator: it asks where to begin when the first batch is wanted, not before.
        epoch, first = self._next
        for step in range(first, self.steps):
            yield self.indices(epoch, step)

    def __len__(self) -> int:
        return self.steps  # of a whole epoch: Lightning counts those that were done before, too


class Reshuffled(Dataset):
    """A data set of so many items as an endless one: item i is from its pass i // length.

    Every pass takes each item once, in an order of its own that depends on the seed alone.

    >>> items = Reshuffled(["a", "b", "c"], seed=1)
    >>> sorted(items[i] for i in range(6, 9))
    ['a', 'b', 'c']
    """

    endless = True

    def __init__(self, dataset: Any, seed: int = 0) -> None:
        self.dataset = dataset
        self.seed = seed
        self._pass: tuple[int, list[int]] = (-1, [])

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self._place(index)]

    def __getitems__(self, indices: Sequence[int]) -> Any:
        """The data set's own batch, if it makes whole ones."""
        places = [self._place(index) for index in indices]
        whole = getattr(self.dataset, "__getitems__", None)
        return whole(places) if whole else [self.dataset[place] for place in places]

    def _place(self, index: int) -> int:
        number, place = divmod(index, len(self))
        if number != self._pass[0]:
            generator = torch.Generator().manual_seed(hash((self.seed, number)))
            self._pass = number, torch.randperm(len(self), generator=generator).tolist()
        return self._pass[1][place]


def endless(dataset: Any, seed: int) -> Any:
    """A data set whose attribute `endless` is true, as it is; any other reshuffled pass by pass."""
    return dataset if getattr(dataset, "endless", False) else Reshuffled(dataset, seed)


def collated(batch: Any) -> Any:
    """A DataLoader's `collate_fn`: items become a batch; what is one stays as it is.

    A data set whose `__getitems__(indices)` gives a whole batch at once, as a tuple of tensors,
    saves the copy of every item that collating would be.
    """
    return default_collate(batch) if isinstance(batch, list) else batch


def dealt(lengths: Sequence[int], ranks: int) -> list[list[int]]:
    """Numbers of pieces of work for each rank, about as much for each; every piece once.

    The longest first, each to who has least: at worst a third more than the best deal
    (Graham, Bounds on multiprocessing timing anomalies, 1969).

    >>> dealt([5, 3, 3, 1], 2)
    [[0, 3], [1, 2]]
    """
    hands: list[list[int]] = [[] for _ in range(ranks)]
    load = [0] * ranks
    for number in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        least = load.index(min(load))
        hands[least].append(number)
        load[least] += lengths[number]
    return [sorted(hand) for hand in hands]
