"""What the processes that train together tell one another; alone, nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed

__all__ = ["gathered", "highest", "summed"]


def together() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def highest(value: int, device: torch.device) -> int:
    """The highest value that any process has."""
    if not together():
        return value
    tensor = torch.tensor(value, device=device)
    distributed.all_reduce(tensor, distributed.ReduceOp.MAX)
    return int(tensor)


def summed(values: list[float], device: torch.device) -> list[float]:
    """Each of the values, summed over the processes."""
    if not together():
        return values
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(tensor)
    return tensor.tolist()


def gathered(values: list[Any]) -> list[Any]:
    """The values of all processes, in the order of their ranks."""
    if not together():
        return values
    lists: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(lists, values)
    return [value for one in lists for value in one]
