"""What processes that train together tell one another."""

from __future__ import annotations

import os

import torch.distributed

from asteroid_waveunet.experiment.training import distributed


def test_alone_everything_stays_as_it_is():
    assert distributed.highest(-1, 2) == [-1, 2]
    assert distributed.summed([1.5, 2.0]) == [1.5, 2.0]
    assert distributed.gathered(["a", 2]) == ["a", 2]


def test_together_they_agree(tmp_path):
    """Two processes, of which each says what it got: the same."""
    children = []
    for rank in range(2):
        child = os.fork()
        if child:
            children.append(child)
            continue
        try:
            store = f"file://{tmp_path}/meeting"
            torch.distributed.init_process_group("gloo", store, rank=rank, world_size=2)
            found = (
                distributed.highest(3 * rank - 1, -rank),
                distributed.summed([rank + 0.1, 10.0]),
                distributed.gathered([f"of {rank}"] * (2 - rank)),
            )
            (tmp_path / str(rank)).write_text(repr(found))
        finally:
            os._exit(0)
    for child in children:
        os.waitpid(child, 0)
    expected = repr(([2, 0], [1.1 + 0.1, 20.0], ["of 0", "of 0", "of 1"]))
    assert (tmp_path / "0").read_text() == (tmp_path / "1").read_text() == expected
