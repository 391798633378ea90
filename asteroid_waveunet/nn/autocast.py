"""Where mixed precision must end."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

__all__ = ["own_precision"]

HALVES = (torch.float16, torch.bfloat16)


def own_precision(
    device: torch.device, instead_of: tuple[torch.dtype, ...] = HALVES
) -> AbstractContextManager:
    """A `with` block without mixed precision (torch.autocast), in the tensors' own.

    Args:
        device: of the tensors.
        instead_of: kinds of mixed precision that end; others, and none, stay as they are.

    >>> signal, weight = torch.ones(2, 2), torch.ones(2, 2)
    >>> with torch.autocast("cpu", torch.bfloat16):
    ...     with own_precision(signal.device):
    ...         (signal @ weight).dtype
    ...     with own_precision(signal.device, instead_of=(torch.float16,)):
    ...         (signal @ weight).dtype
    torch.float32
    torch.bfloat16
    """
    kind = device.type
    mixed = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    if mixed and torch.get_autocast_dtype(kind) in instead_of:
        return torch.autocast(kind, enabled=False)
    return nullcontext()
