"""Asteroid's losses on estimates of more than one channel, and a loss on magnitudes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asteroid_waveunet.nn.stft import Spectrum

__all__ = ["ChannelsInTime", "MagnitudeL1"]


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


class MagnitudeL1(nn.Module):
    """The mean absolute error of the magnitudes of the short-time spectrum: the loss of U7a.

    On signals, `(..., time)` twice, so that every model can be trained with it. The frames are
    those of `SpectrogramUNet`. Its own magnitudes, mask * |X|, are those of its estimates but for
    what its masked frames, that overlap, contradict one another.

    Computed in float32 at least, on the signals' device, to which the transform goes by itself: a
    loss that nobody moves can be called from anywhere.

    Args:
        window, hop: of the transform, in samples; see `Spectrum`.
    Raises:
        ValueError: if one of them is out of its range.

    >>> loss = MagnitudeL1()
    >>> loss(torch.randn(2, 2, 98048), torch.randn(2, 2, 98048)).shape
    torch.Size([])
    """

    def __init__(self, window: int = 1024, hop: int = 768):
        super().__init__()
        self.spectrum = Spectrum(window, hop)

    def forward(self, estimates: Tensor, targets: Tensor) -> Tensor:
        dtype = torch.promote_types(estimates.dtype, targets.dtype)
        dtype = torch.promote_types(dtype, torch.float32)
        gain = self.spectrum.gain
        if (gain.dtype, gain.device) != (dtype, estimates.device):
            self.spectrum.to(estimates.device, dtype)
        return F.l1_loss(self._magnitudes(estimates), self._magnitudes(targets))

    def _magnitudes(self, signals: Tensor) -> Tensor:
        """Of all frames that hold a sample which the inverse brings back."""
        window, hop = self.spectrum.window, self.spectrum.hop
        left = window - hop
        right = left - (signals.shape[-1] + 2 * left - window) % -hop
        padded = F.pad(signals.flatten(0, -2), (left, right))
        return self.spectrum.magnitudes(self.spectrum.analyse(padded))
