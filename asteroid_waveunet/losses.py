"""Asteroid's losses for multichannel estimates, and a loss on STFT magnitudes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asteroid_waveunet.nn.stft import STFT

__all__ = ["ChannelsInTime", "MagnitudeL1"]


class ChannelsInTime(nn.Module):
    """Apply a loss for `(batch, n_src, time)` to `(batch, n_src, channels, time)`.

    Channels are concatenated along time, so the loss sees one long signal per source: it finds
    one permutation or partition for all channels, and a mean or SI-SDR covers all of them. In a
    time-frequency loss, only one window per pair of channels spans the boundary. Mono estimates,
    `(batch, n_src, time)`, are unchanged.

    Args:
        loss: any of Asteroid's time-domain losses or wrappers, called with `(estimates, targets)`.

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
        return self.loss(_concatenate_channels(estimates), _concatenate_channels(targets), **kwargs)


def _concatenate_channels(signals: Tensor) -> Tensor:
    return signals.flatten(2) if signals.ndim == 4 else signals


class MagnitudeL1(nn.Module):
    """Mean absolute error of STFT magnitudes, the loss of U7a.

    It takes signals, `(..., time)` twice, so any model can be trained with it. Frames match
    those of `SpectrogramUNet`. That model's masked magnitudes, mask * |X|, differ from those of
    its estimates only by the inconsistency of overlapping masked frames.

    Computed in float32 or higher on the device of the signals; the transform moves there itself.

    Args:
        window, hop: of the transform, in samples; see `STFT`.
    Raises:
        ValueError: if one of them is out of its range.

    >>> loss = MagnitudeL1()
    >>> loss(torch.randn(2, 2, 98048), torch.randn(2, 2, 98048)).shape
    torch.Size([])
    """

    def __init__(self, window: int = 1024, hop: int = 768):
        super().__init__()
        self.stft = STFT(window, hop)

    def forward(self, estimates: Tensor, targets: Tensor) -> Tensor:
        dtype = torch.promote_types(estimates.dtype, targets.dtype)
        dtype = torch.promote_types(dtype, torch.float32)
        gain = self.stft.gain
        if (gain.dtype, gain.device) != (dtype, estimates.device):
            self.stft.to(estimates.device, dtype)
        return F.l1_loss(self._magnitudes(estimates), self._magnitudes(targets))

    def _magnitudes(self, signals: Tensor) -> Tensor:
        """Magnitudes of all frames that contain a sample, zero-padded at both ends."""
        window, hop = self.stft.window, self.stft.hop
        left = window - hop
        right = left - (signals.shape[-1] + 2 * left - window) % -hop
        padded = F.pad(signals.flatten(0, -2), (left, right))
        return self.stft.magnitudes(self.stft.analyse(padded))
