"""What the processes that train together tell one another; alone, nothing."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import distributed

__all__ = ["gathered", "highest", "summed"]


def together() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def highest(*values: int) -> list[int]:
    """Of each of the values, the highest that any process has."""
    if not together():
        return list(values)
    tensor = torch.tensor(values)
    distributed.all_reduce(tensor, distributed.ReduceOp.MAX, group=_group())
    return tensor.tolist()


def summed(values: list[float]) -> list[float]:
    """Each of the values, summed over the processes."""
    if not together():
        return values
    tensor = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(tensor, group=_group())
    return tensor.tolist()


def gathered(values: list[Any]) -> list[Any]:
    """The values of all processes, in the order of their ranks."""
    if not together():
        return values
    lists: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(lists, values, group=_group())
    return [value for one in lists for value in one]


def _group() -> Any:
    return _beside(distributed.group.WORLD)


@functools.cache
def _beside(world: Any) -> Any:
    """The same processes, which talk from CPU to CPU: what they say waits for no GPU's work."""
    return distributed.new_group(backend="gloo")
