"""Collectives for distributed training (max, sum, gather); no-ops on one process."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import distributed

__all__ = ["all_gather", "all_reduce_max", "all_reduce_sum", "is_initialized"]


def is_initialized() -> bool:
    """Return True if several processes train together."""
    return distributed.is_available() and distributed.is_initialized()


def all_reduce_max(*values: int) -> list[int]:
    """Return the maximum of each value over all processes."""
    if not is_initialized():
        return list(values)
    tensor = torch.tensor(values)
    distributed.all_reduce(tensor, distributed.ReduceOp.MAX, group=_cpu_group())
    return tensor.tolist()


def all_reduce_sum(values: list[float]) -> list[float]:
    """Return the sum of each value over all processes."""
    if not is_initialized():
        return values
    tensor = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(tensor, group=_cpu_group())
    return tensor.tolist()


def all_gather(values: list[Any]) -> list[Any]:
    """Return the values of all processes in one list, ordered by rank."""
    if not is_initialized():
        return values
    lists: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(lists, values, group=_cpu_group())
    return [value for rank_values in lists for value in rank_values]


def _cpu_group() -> Any:
    return _make_cpu_group(distributed.group.WORLD)


@functools.cache
def _make_cpu_group(world: Any) -> Any:
    """Return a gloo group of all processes: its collectives do not wait for the GPU."""
    return distributed.new_group(backend="gloo")
