"""Exclude operations from mixed precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

__all__ = ["HALF_DTYPES", "autocast_disabled"]

HALF_DTYPES = (torch.float16, torch.bfloat16)


def autocast_disabled(
    device: torch.device, dtypes: tuple[torch.dtype, ...] = HALF_DTYPES
) -> AbstractContextManager:
    """Return a context that disables torch.autocast and keeps the dtype of the tensors.

    Args:
        device: of the tensors.
        dtypes: autocast dtypes to disable; autocast to another dtype stays enabled.

    >>> signal, weight = torch.ones(2, 2), torch.ones(2, 2)
    >>> with torch.autocast("cpu", torch.bfloat16):
    ...     with autocast_disabled(signal.device):
    ...         (signal @ weight).dtype
    ...     with autocast_disabled(signal.device, dtypes=(torch.float16,)):
    ...         (signal @ weight).dtype
    torch.float32
    torch.bfloat16
    """
    kind = device.type
    enabled = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    if enabled and torch.get_autocast_dtype(kind) in dtypes:
        return torch.autocast(kind, enabled=False)
    return nullcontext()
