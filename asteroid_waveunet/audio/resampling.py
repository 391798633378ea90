"""Band-limited resampling with soxr, of whole signals and of signals in blocks."""

from __future__ import annotations

import numpy as np
import soxr
import torch
from torch import Tensor

__all__ = ["Resampler", "resample"]


class Resampler:
    """Resample a signal block by block.

    Args:
        from_rate, to_rate: in Hz; if they are equal, samples are returned unchanged.
        channels: number of parallel signals.

    >>> resampler = Resampler(44100, 22050, channels=2)
    >>> resampler.feed(torch.zeros(2, 441)).shape[-1] + resampler.flush().shape[-1]
    221
    """

    def __init__(self, from_rate: float, to_rate: float, channels: int):
        self._stream: soxr.ResampleStream | None = None
        if from_rate != to_rate:
            self._stream = soxr.ResampleStream(
                from_rate, to_rate, channels, dtype="float32", quality="VHQ"
            )
        self._empty = torch.zeros(channels, 0)  # with the last block's dtype and device

    def feed(self, block: Tensor, last: bool = False) -> Tensor:
        """Resample the next `(channels, n)` block; return the samples that are final."""
        self._empty = block[:, :0]
        if self._stream is None:
            return block
        frames = np.ascontiguousarray(block.float().cpu().numpy().T)
        resampled = self._stream.resample_chunk(frames, last=last)
        return torch.from_numpy(np.ascontiguousarray(resampled.T)).to(block)

    def flush(self) -> Tensor:
        """Return the remaining samples."""
        return self.feed(self._empty, last=True)


def resample(
    samples: Tensor, from_rate: float, to_rate: float, length: int | None = None
) -> Tensor:
    """Resample `(..., time)` samples.

    Args:
        from_rate, to_rate: in Hz; if they are equal, samples are returned unchanged.
        length: of the result, in samples; the filter's tail is cut or zero-padded. Default:
            `round(time * to_rate / from_rate)`. Pass the original length when converting back.

    >>> resample(torch.zeros(2, 441), 44100, 22050).shape
    torch.Size([2, 220])
    """
    if length is None:
        length = round(samples.shape[-1] * to_rate / from_rate)
    if from_rate != to_rate and samples.shape[-1]:
        flat = samples.reshape(-1, samples.shape[-1])
        resampled = Resampler(from_rate, to_rate, len(flat)).feed(flat, last=True)
        samples = resampled.reshape(*samples.shape[:-1], -1)
    missing = length - samples.shape[-1]
    return torch.nn.functional.pad(samples, (0, missing)) if missing else samples
