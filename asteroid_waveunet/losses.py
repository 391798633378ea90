"""Asteroid's losses on estimates of more than one channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

__all__ = ["ChannelsInTime"]


class ChannelsInTime(nn.Module):
    """Lets a loss for `(batch, n_src, time)` take `(batch, n_src, channels, time)`.

    The channels are laid end to end along time, so that a loss sees one long signal per
    source: a permutation or partition is found once for all channels, a mean or an SI-SDR goes
    over all of them, and a time-frequency loss meets the joint between two channels in one
    window only. Mono estimates, `(batch, n_src, time)`, pass through.

    Args:
        loss: any of Asteroid's time-domain losses or wrappers; gets `(estimates, targets)`.

    >>> import torch
    >>> from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr
    >>> loss = ChannelsInTime(PITLossWrapper(pairwise_neg_sisdr))
    >>> loss(torch.randn(3, 2, 2, 800), torch.randn(3, 2, 2, 800)).shape
    torch.Size([])
    """

    def __init__(self, loss: Callable[..., Any]):
        super().__init__()
        self.loss = loss

    def forward(self, estimates: Tensor, targets: Tensor, **kwargs: Any) -> Any:
        return self.loss(_in_time(estimates), _in_time(targets), **kwargs)


def _in_time(signals: Tensor) -> Tensor:
    return signals.flatten(2) if signals.ndim == 4 else signals
