"""A track as it comes, of any rate and channels, through a model that knows but one of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from asteroid_waveunet.audio.checks import to_channels
from asteroid_waveunet.audio.resampling import Resampler
from asteroid_waveunet.streaming.ensemble import Consistent, Shifted
from asteroid_waveunet.streaming.wave_unet_stream import MAX_HOP, BlockStream

if TYPE_CHECKING:
    from asteroid_waveunet.models.base import SourceModel

__all__ = ["PRECISIONS", "TrackStream", "stream_of"]

PRECISIONS: dict[str, torch.dtype | None] = {"fp32": None, "bf16": torch.bfloat16}


def stream_of(
    model: SourceModel,
    batch_size: int,
    precision: str = "fp32",
    shifts: int = 1,
    mixture_consistency: bool = False,
) -> BlockStream | Shifted | Consistent:
    """The stream that does what is asked, for blocks `(batch, channels, n)`.

    Args:
        precision: "fp32", the weights' own; or "bf16", bfloat16, which costs little (see
            the repository's bench/RESULTS.md) and is faster where the processor has it.
        shifts: passes to take the mean of, 1 to the model's step; see `Shifted`.
        mixture_consistency: whether estimates are made to sum to the mixture; see `Consistent`.
    Raises:
        ValueError: if one of them is out of its range.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; expected {' or '.join(PRECISIONS)}.")
    dtype = PRECISIONS[precision]
    if shifts == 1:
        stream: BlockStream | Shifted = model.stream(batch_size, dtype)
    else:
        stream = Shifted(model, shifts, batch_size, dtype)
    return Consistent(stream) if mixture_consistency else stream


class TrackStream:
    """The sources of a track that comes in blocks, at its own rate and with its own channels.

    On the way in the samples are resampled and given the model's channels, on the way out
    the estimates are given the track's own again, to the sample. A mono track is repeated for
    a model of more channels; each channel of a track goes through a model of one by itself, so
    that nothing of a stereo image is lost. (The paper averages the channels and scores the one
    estimate in both: `model.predict_track`.)

    Args:
        sample_rate: of the track, in Hz.
        channels: of the track.
        resample: whether another rate than the model's is converted, or refused.
        how: `precision`, `shifts` and `mixture_consistency`; see `stream_of`.
    Attributes:
        block: a good number of samples to feed at once.
    Raises:
        ValueError: if the rate differs and `resample` is False, or channels do not convert.
    """

    def __init__(
        self,
        model: SourceModel,
        sample_rate: float,
        channels: int,
        resample: bool = True,
        **how: Any,
    ):
        if sample_rate != model.sample_rate and not resample:
            raise ValueError(
                f"The track is sampled at {sample_rate} Hz, the model works at "
                f"{model.sample_rate} Hz; resample=True converts."
            )
        if model.in_channels > 1:
            to_channels(torch.empty(channels, 1), model.in_channels)  # or refused
        self._channels, self._in_channels = channels, model.in_channels
        self._n_src = model.n_src
        self._in = Resampler(sample_rate, model.sample_rate, channels)
        self._out = Resampler(model.sample_rate, sample_rate, channels * model.n_src)
        self._stream = stream_of(model, channels if model.in_channels == 1 else 1, **how)
        self._missing = 0  # estimates of samples that were fed
        self.block = round(MAX_HOP * sample_rate / model.sample_rate)

    def feed(self, block: Tensor) -> Tensor:
        """The next samples `(channels, n)` -> the estimates so far, `(n_src, channels, m)`."""
        self._missing += block.shape[-1]
        return self._given(self._out.feed(self._separated(self._in.feed(block))))

    def flush(self) -> Tensor:
        """The rest: as many estimates in all as there were samples."""
        rest = self._separated(self._in.flush())
        last = self._from_model(self._stream.flush())
        tail = self._out.feed(torch.cat((rest, last), dim=-1), last=True)
        return self._given(F.pad(tail, (0, max(0, self._missing - tail.shape[-1]))))

    def _separated(self, mixture: Tensor) -> Tensor:
        """`(channels, n)` -> `(n_src * channels, m)`, at the model's rate."""
        if self._in_channels == 1:
            batch = mixture[:, None]
        else:
            batch = to_channels(mixture, self._in_channels)[None]
        return self._from_model(self._stream.feed(batch))

    def _from_model(self, estimates: Tensor) -> Tensor:
        """`(batch, n_src, ...)` as the stream gives them -> `(n_src * channels, m)`."""
        if self._in_channels == 1:
            return estimates.transpose(0, 1).flatten(0, 1)
        return to_channels(estimates[0], self._channels).flatten(0, 1)

    def _given(self, estimates: Tensor) -> Tensor:
        given = estimates[..., : self._missing].unflatten(0, (self._n_src, self._channels))
        self._missing -= given.shape[-1]
        return given
