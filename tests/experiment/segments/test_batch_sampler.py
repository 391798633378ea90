"""The batch sampler: every index once, for any number of processes and any first step."""

from __future__ import annotations

from itertools import chain

import torch
from hypothesis import given
from hypothesis import strategies as st

from asteroid_waveunet.experiment.segments.batch_sampler import (
    EndlessShuffle,
    ResumableBatchSampler,
    balanced_partition,
    collate,
)


def epochs(batches: ResumableBatchSampler, first: int, last: int) -> list[list[int]]:
    found = []
    for epoch in range(first, last):
        batches.seek(epoch)
        found += list(batches)
    return found


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4))
def test_ranks_together_take_the_batches_of_one_process(steps, batch_size, world_size):
    one = epochs(ResumableBatchSampler(steps, world_size * batch_size), 0, 3)
    several = [
        epochs(ResumableBatchSampler(steps, batch_size, world_size, rank), 0, 3)
        for rank in range(world_size)
    ]
    assert one == [list(chain(*parts)) for parts in zip(*several, strict=True)]
    assert list(chain(*one)) == list(range(3 * steps * world_size * batch_size))


@given(st.integers(1, 5), st.integers(0, 5))
def test_epochs_can_start_at_any_step(steps, step):
    batches = ResumableBatchSampler(steps, 2)
    whole = epochs(batches, 3, 4)
    batches.seek(3, step)
    assert list(batches) == whole[step:]
    assert len(batches) == steps


def test_resized_batches_continue_without_a_gap():
    batches = ResumableBatchSampler(2, 3)
    found = epochs(batches, 0, 2)
    batches.resize(2, 6)
    found += epochs(batches, 2, 4)
    assert [len(batch) for batch in found] == [3] * 4 + [6] * 4
    assert list(chain(*found)) == list(range(36))
    assert batches.indices(3, 1) == found[-1]


def test_iterator_reads_the_position_at_the_first_batch():
    """Lightning creates the iterator before the epoch is known."""
    batches = ResumableBatchSampler(2, 1)
    iterator = iter(batches)
    batches.seek(4)
    assert list(iterator) == [[8], [9]]


def test_loader_with_persistent_workers_reads_each_epoch():
    batches = ResumableBatchSampler(3, 2)
    loader = torch.utils.data.DataLoader(
        EndlessShuffle(torch.arange(6)),
        batch_sampler=batches,
        num_workers=1,
        persistent_workers=True,
    )
    for epoch in range(2):
        batches.seek(epoch, step=0)
        assert sorted(torch.cat(list(loader)).tolist()) == list(range(6))


def test_shuffle_order_depends_on_pass_and_seed():
    items = EndlessShuffle("abcdefgh", seed=3)
    passes = ["".join(items[i] for i in range(8 * n, 8 * n + 8)) for n in range(3)]
    assert len(set(passes)) == 3 and {"".join(sorted(p)) for p in passes} == {"abcdefgh"}
    again, other = EndlessShuffle("abcdefgh", seed=3), EndlessShuffle("abcdefgh", seed=4)
    assert [again[i] for i in (17, 3)] == [items[i] for i in (17, 3)]
    assert [other[i] for i in range(8)] != [items[i] for i in range(8)]


def test_shuffle_uses_the_data_sets_own_batches():
    class Whole(list):
        def __getitems__(self, indices):
            return tuple(self[i] for i in indices)

    items = EndlessShuffle(Whole("abcd"), seed=3)
    assert items.__getitems__([6, 1]) == (items[6], items[1])
    assert EndlessShuffle("abcd", seed=3).__getitems__([6, 1]) == [items[6], items[1]]


def test_collate_stacks_items_and_keeps_batches():
    whole = (torch.zeros(2, 1), torch.ones(2, 1))
    assert collate(whole) is whole
    mixtures, targets = collate([(torch.zeros(1), torch.ones(1))] * 2)
    assert torch.equal(mixtures, whole[0]) and torch.equal(targets, whole[1])


@given(st.lists(st.integers(0, 50), max_size=12), st.integers(1, 5))
def test_balanced_partition_is_complete_and_balanced(lengths, n_parts):
    parts = balanced_partition(lengths, n_parts)
    assert sorted(chain(*parts)) == list(range(len(lengths)))
    loads = [sum(lengths[i] for i in part) for part in parts]
    least_possible = max([sum(lengths) / n_parts, *lengths], default=0)
    assert max(loads) <= least_possible + max(lengths, default=0)


def test_balanced_partition_of_nothing_is_empty():
    assert balanced_partition([], 2) == [[], []]
