"""Stream a track of any sample rate and channel count through a fixed-rate model."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from asteroid_waveunet.audio.checks import to_channels
from asteroid_waveunet.audio.resampling import Resampler
from asteroid_waveunet.streaming.base import MAX_HOP
from asteroid_waveunet.streaming.ensemble import Consistent, Shifted
from asteroid_waveunet.streaming.interface import BatchStream, StreamableModel
from asteroid_waveunet.streaming.options import SeparationOptions, check_consistency

__all__ = ["TrackStream", "make_stream"]


def make_stream(model: StreamableModel, batch_size: int, options: SeparationOptions) -> BatchStream:
    """Return a stream of `(batch, channels, n)` blocks at the model's sample rate.

    Raises:
        ValueError: if the model does not support the options.
    """
    if options.mixture_consistency:
        check_consistency(model.n_src)
    if options.shifts == 1:
        stream = model.stream(batch_size, options.dtype)
    else:
        stream = Shifted(model, options.shifts, batch_size, options.dtype)
    return Consistent(stream) if options.mixture_consistency else stream


class TrackStream:
    """Separate a track that arrives in blocks, at its own sample rate and channel count.

    The input is resampled and converted to the model's channels; the estimates are converted
    back and have the track's exact length. A mono track is repeated for a model of several
    channels. A mono model separates each channel of a track independently, which preserves
    the stereo image. (The paper averages the channels and scores that estimate in both:
    `model.predict_track`.) With `options.channels` "each", so does a model of several
    channels with a track of another number of them, each of which it gets in all its channels.

    Blocks must hold finite floats; their source checks that.

    Args:
        sample_rate: of the track, in Hz.
        channels: number of the track's channels.
    Attributes:
        block: recommended number of samples per `push`.
    Raises:
        ValueError: if the rate differs and `options.resample` is False, the channels cannot be
            converted, or the model does not support the options.
    """

    def __init__(
        self,
        model: StreamableModel,
        sample_rate: float,
        channels: int,
        options: SeparationOptions,
    ):
        if sample_rate != model.sample_rate and not options.resample:
            raise ValueError(
                f"The track is sampled at {sample_rate} Hz, the model works at "
                f"{model.sample_rate} Hz; resample=True converts."
            )
        fits = channels in (1, model.in_channels)
        self._each = model.in_channels == 1 or (options.channels == "each" and not fits)
        if not self._each:
            to_channels(torch.empty(channels, 1), model.in_channels)  # raises the error early
        self._channels, self._in_channels = channels, model.in_channels
        self._n_src = model.n_src
        self._in = Resampler(sample_rate, model.sample_rate, channels)
        self._out = Resampler(model.sample_rate, sample_rate, channels * model.n_src)
        self._stream = make_stream(model, channels if self._each else 1, options)
        self._missing = 0  # samples without estimates yet
        self.block = round(MAX_HOP * sample_rate / model.sample_rate)

    def push(self, block: Tensor) -> Tensor:
        """Feed `(channels, n)` samples; return the final estimates, `(n_src, channels, m)`."""
        self._missing += block.shape[-1]
        return self._cropped(self._out.feed(self._separated(self._in.feed(block))))

    def finish(self) -> Tensor:
        """Return the remaining estimates: in total as many as there were samples."""
        rest = self._separated(self._in.flush())
        last = self._from_model(self._stream.finish())
        tail = self._out.feed(torch.cat((rest, last), dim=-1), last=True)
        return self._cropped(F.pad(tail, (0, max(0, self._missing - tail.shape[-1]))))

    def _separated(self, mixture: Tensor) -> Tensor:
        """Separate `(channels, n)` -> `(n_src * channels, m)`, at the model's rate."""
        if self._each:
            batch = mixture[:, None].expand(-1, self._in_channels, -1)
        else:
            batch = to_channels(mixture, self._in_channels)[None]
        return self._from_model(self._stream.push(batch))

    def _from_model(self, estimates: Tensor) -> Tensor:
        """Convert `(batch, n_src, model channels, m)` -> `(n_src * channels, m)`."""
        if self._each:
            return estimates.mean(dim=2).transpose(0, 1).flatten(0, 1)
        return to_channels(estimates[0], self._channels).flatten(0, 1)

    def _cropped(self, estimates: Tensor) -> Tensor:
        """Drop estimates beyond the samples fed so far."""
        cropped = estimates[..., : self._missing].unflatten(0, (self._n_src, self._channels))
        self._missing -= cropped.shape[-1]
        return cropped
