"""Collectives on one process and on two."""

from __future__ import annotations

import os

import torch.distributed

from asteroid_waveunet.experiment.training import distributed


def test_one_process_keeps_its_values():
    assert distributed.all_reduce_max(-1, 2) == [-1, 2]
    assert distributed.all_reduce_sum([1.5, 2.0]) == [1.5, 2.0]
    assert distributed.all_gather(["a", 2]) == ["a", 2]


def test_two_processes_get_the_same_result(tmp_path):
    children = []
    for rank in range(2):
        child = os.fork()
        if child:
            children.append(child)
            continue
        try:
            store = f"file://{tmp_path}/store"
            torch.distributed.init_process_group("gloo", store, rank=rank, world_size=2)
            result = (
                distributed.all_reduce_max(3 * rank - 1, -rank),
                distributed.all_reduce_sum([rank + 0.1, 10.0]),
                distributed.all_gather([f"of {rank}"] * (2 - rank)),
            )
            (tmp_path / str(rank)).write_text(repr(result))
        finally:
            os._exit(0)
    for child in children:
        os.waitpid(child, 0)
    expected = repr(([2, 0], [1.1 + 0.1, 20.0], ["of 0", "of 0", "of 1"]))
    assert (tmp_path / "0").read_text() == (tmp_path / "1").read_text() == expected
