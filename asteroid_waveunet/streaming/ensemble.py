"""What can be asked of a stream besides: the mean over shifts, and mixture consistency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from asteroid_waveunet.streaming.stateful_wave_unet import Memory
from asteroid_waveunet.streaming.wave_unet_stream import BlockStream

if TYPE_CHECKING:
    from asteroid_waveunet.models.base import SourceModel

__all__ = ["Consistent", "Queue", "Shifted", "check_shifts"]


class Queue:
    """Samples that wait, `(..., time)`: first in, first out."""

    def __init__(self) -> None:
        self._waiting: Tensor | None = None

    def put(self, samples: Tensor) -> None:
        held = self._waiting
        self._waiting = samples if held is None else torch.cat((held, samples), dim=-1)

    def take(self, length: int) -> Tensor:
        """The first `length` of them, which must be there."""
        assert self._waiting is not None and length <= self._waiting.shape[-1]
        first, rest = self._waiting.tensor_split((length,), dim=-1)
        self._waiting = rest.clone()
        return first


def check_shifts(shifts: int, model: SourceModel) -> int:
    """The model's step, within which shifts are spread.

    Raises:
        ValueError: if there are none, or more than the step has samples.
    """
    step = model.geometry.step
    if not 1 <= shifts <= step:
        raise ValueError(
            f"shifts is {shifts}; expected 1 to {step}, the model's step, after which shifts "
            "repeat."
        )
    return step


class Shifted:
    """The mean of several streams, each of which hears the track some samples later.

    The network commutes with shifts by its step only; the mean over others evens out what
    depends on where in a step a sample falls.

    Args:
        shifts: how many; they are spread evenly over one step.
        model, batch_size, dtype: as `model.stream`'s.
    Raises:
        ValueError: if `shifts` is not between 1 and the step.

    >>> from asteroid_waveunet import presets
    >>> stream = Shifted(presets.make("M4", levels=4), shifts=4)
    >>> stream.feed(torch.randn(1, 2, 1000)).shape[-1] + stream.flush().shape[-1]
    1000
    """

    def __init__(
        self, model: SourceModel, shifts: int, batch_size: int = 1, dtype: torch.dtype | None = None
    ):
        step = check_shifts(shifts, model)
        self._shifts = [index * step // shifts for index in range(shifts)]
        self._last = self._shifts[-1]
        self._stream = model.stream(shifts * batch_size, dtype)
        self._heard = Memory(self._last, settled=False)
        self._given = Memory(self._last, settled=False)
        self._early = self._last  # estimates still to come of before the track
        self._silence = torch.zeros(batch_size, model.in_channels, self._last)

    def feed(self, block: Tensor) -> Tensor:
        """`(batch, channels, n)` -> `(batch, n_src, channels, m)`; see `BlockStream.feed`."""
        self._silence = self._silence.to(block)
        n = block.shape[-1]
        heard = self._heard.extend(block.mT).mT
        late = [heard[..., self._last - shift :][..., :n] for shift in self._shifts]
        return self._mean(self._stream.feed(torch.cat(late)))

    def flush(self) -> Tensor:
        """The rest; see `BlockStream.flush`."""
        late = self.feed(self._silence)
        return torch.cat((late, self._mean(self._stream.flush())), dim=-1)

    def _mean(self, estimates: Tensor) -> Tensor:
        n, rest = estimates.shape[-1], estimates.shape[1:-1]
        given = self._given.extend(estimates.flatten(1, -2).mT).mT
        given = given.unflatten(0, (len(self._shifts), -1))
        on_time = [
            part[..., shift:][..., :n] for shift, part in zip(self._shifts, given, strict=True)
        ]
        mean = torch.stack(on_time).mean(dim=0).unflatten(1, rest)
        skip = min(self._early, n)
        self._early -= skip
        return mean[..., skip:]


class Consistent:
    """A stream whose estimates sum to the mixture: what is missing goes to all in equal parts.

    The nearest such estimates in the least-squares sense; for models of direct output, since
    those of difference models sum to it already.

    Args:
        stream: a stream or `Shifted`, fed with `(batch, channels, n)`.

    [1] Wisdom et al. Differentiable consistency constraints for improved deep speech
        enhancement. ICASSP 2019 (mixture consistency, equally weighted).
    """

    def __init__(self, stream: BlockStream | Shifted):
        self._stream = stream
        self._mixture = Queue()

    def feed(self, block: Tensor) -> Tensor:
        """See `BlockStream.feed`."""
        self._mixture.put(block)
        return self._corrected(self._stream.feed(block))

    def flush(self) -> Tensor:
        """See `BlockStream.flush`."""
        return self._corrected(self._stream.flush())

    def _corrected(self, estimates: Tensor) -> Tensor:
        if estimates.shape[-1] == 0:
            return estimates
        mixture = self._mixture.take(estimates.shape[-1])
        missing = mixture.reshape_as(estimates[:, 0]) - estimates.sum(dim=1)
        return estimates + missing[:, None] / estimates.shape[1]
