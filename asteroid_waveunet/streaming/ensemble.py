"""Streams around a stream: averaging over shifts, and mixture consistency."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from asteroid_waveunet.nn.symmetry import mirror
from asteroid_waveunet.streaming.interface import BatchStream, StreamableModel
from asteroid_waveunet.streaming.options import check_shifts
from asteroid_waveunet.streaming.stateful_wave_unet import Memory

__all__ = ["Consistent", "Queue", "Shifted"]


class Queue:
    """A first-in, first-out buffer of samples, `(..., time)`."""

    def __init__(self) -> None:
        self._samples: Tensor | None = None

    def put(self, samples: Tensor) -> None:
        queued = self._samples
        self._samples = samples if queued is None else torch.cat((queued, samples), dim=-1)

    def take(self, length: int) -> Tensor:
        """Remove and return the first `length` samples, which must have been put in before."""
        assert self._samples is not None and length <= self._samples.shape[-1]
        first, rest = self._samples.tensor_split((length,), dim=-1)
        self._samples = rest.clone()
        return first


class Shifted:
    """Average predictions over time-shifted inputs (the shift trick).

    The network commutes with shifts by its step only; averaging over shifts within a step
    evens out what depends on a sample's position in the step. So that the average also evens out
    what depends on the sides of stereo and on the sign, every other pass sees the mixture
    mirrored: with left and right swapped, and negated.

    Args:
        shifts: number of shifts, spread evenly over one step.
        model, batch_size, dtype: as in `model.stream`.
    Raises:
        ValueError: if `shifts` is not between 1 and the step.

    >>> from asteroid_waveunet import presets
    >>> stream = Shifted(presets.make("M4", levels=4), shifts=4)
    >>> stream.push(torch.randn(1, 2, 1000)).shape[-1] + stream.finish().shape[-1]
    1000
    """

    def __init__(
        self,
        model: StreamableModel,
        shifts: int,
        batch_size: int = 1,
        dtype: torch.dtype | None = None,
    ):
        check_shifts(shifts, model.geometry)
        self._shifts = [index * model.geometry.step // shifts for index in range(shifts)]
        self._longest = self._shifts[-1]
        self._stream = model.stream(shifts * batch_size, dtype)
        self._inputs = Memory(self._longest, settled=False)
        self._outputs = Memory(self._longest, settled=False)
        self._early = self._longest  # estimates still to come for times before the track
        self._silence = torch.zeros(batch_size, model.in_channels, self._longest)

    def push(self, batch: Tensor) -> Tensor:
        """See `BlockStream.push`."""
        self._silence = self._silence.to(batch)
        n = batch.shape[-1]
        extended = self._inputs.extend(batch.mT).mT
        delayed = [extended[..., self._longest - shift :][..., :n] for shift in self._shifts]
        return self._mean(self._stream.push(torch.cat(_mirrored(delayed))))

    def finish(self) -> Tensor:
        """See `BlockStream.finish`."""
        late = self.push(self._silence)
        return torch.cat((late, self._mean(self._stream.finish())), dim=-1)

    def _mean(self, estimates: Tensor) -> Tensor:
        n, n_src = estimates.shape[-1], estimates.shape[1]
        estimates = torch.cat(_mirrored(estimates.chunk(len(self._shifts))))
        extended = self._outputs.extend(estimates.flatten(1, 2).mT).mT
        passes = extended.unflatten(0, (len(self._shifts), -1))
        aligned = [
            part[..., shift:][..., :n] for shift, part in zip(self._shifts, passes, strict=True)
        ]
        mean = torch.stack(aligned).mean(dim=0).unflatten(1, (n_src, -1))
        skip = min(self._early, n)
        self._early -= skip
        return mean[..., skip:]


def _mirrored(passes: Sequence[Tensor]) -> list[Tensor]:
    """Mirror every other pass; doing it twice gives them back."""
    return [x if index % 2 == 0 else mirror(x) for index, x in enumerate(passes)]


class Consistent:
    """Make a stream's estimates sum to the mixture by adding equal parts of the difference.

    The result is the nearest such set of estimates in the least-squares sense. It only
    changes models with direct output: difference models sum to the mixture already.

    [1] Wisdom et al. Differentiable consistency constraints for improved deep speech
        enhancement. ICASSP 2019 (mixture consistency, equally weighted).
    """

    def __init__(self, stream: BatchStream):
        self._stream = stream
        self._mixture = Queue()

    def push(self, batch: Tensor) -> Tensor:
        """See `BlockStream.push`."""
        self._mixture.put(batch)
        return self._corrected(self._stream.push(batch))

    def finish(self) -> Tensor:
        """See `BlockStream.finish`."""
        return self._corrected(self._stream.finish())

    def _corrected(self, estimates: Tensor) -> Tensor:
        if estimates.shape[-1] == 0:
            return estimates
        mixture = self._mixture.take(estimates.shape[-1])
        missing = mixture - estimates.sum(dim=1)
        return estimates + missing[:, None] / estimates.shape[1]
