"""Stream networks that cannot run hop by hop, in overlapping chunks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from asteroid_waveunet.streaming.base import MAX_HOP, BlockStream
from asteroid_waveunet.streaming.interface import StreamableModel

__all__ = ["FADE", "ChunkStream"]

FADE = 2**12
"""Samples of the cross-fade between chunks that do not agree."""


class ChunkStream(BlockStream):
    """Separate a track that arrives in blocks, chunk by chunk, in bounded memory.

    An estimate depends on at most `model.reach` samples on either side, and the network
    commutes with shifts by its step. So chunks that begin at multiples of the step and overlap
    by twice the reach agree where one ends and the next begins, and the joined estimates equal
    `model(track)` to rounding:

        chunk       |--reach--|-------- kept ---------|--reach--|
        next chunk                          |--reach--|-------- kept ---------|--reach--|

    A network with global context (such as a normalisation over the whole input) has no reach.
    Its chunks are longer and overlap by `FADE` samples on either side of the border, where they
    are cross-faded: an approximation of `model(track)`, exact for a track of one chunk. The
    last chunk begins early enough to be as long as the others, so that global statistics are
    always taken over the same length.

    The network always runs in evaluation mode, one track at a time.

    Args:
        model: must not change before the track ends.
        batch_size: number of parallel tracks.
        dtype: must be None; these networks compute in their own dtype.
    Attributes:
        latency: maximum delay in samples: after n samples, at least n - latency have estimates.
    Raises:
        ValueError: if `batch_size` is below 1, or `dtype` is not None.
    """

    def __init__(
        self, model: StreamableModel, batch_size: int = 1, dtype: torch.dtype | None = None
    ):
        super().__init__(model, batch_size)
        if dtype is not None:
            raise ValueError(
                f"{type(model).__name__} computes in its own precision only, not in {dtype}; "
                "leave precision at 'fp32'."
            )
        rule = model.geometry
        exact = model.reach is not None
        self._overlap = model.reach if model.reach is not None else FADE
        self._fade = 0 if exact else FADE
        # At most a third of each chunk is computed twice.
        longest = max(MAX_HOP, 6 * self._overlap) if exact else 2 * MAX_HOP
        self._lengths = rule.fit(longest + rule.step)
        self.latency = self._lengths.input
        parameter = next(model.parameters())
        self._pending = parameter.new_zeros(batch_size, model.in_channels, rule.left_context)
        self._origin = 0  # index of the first estimate that the pending samples yield
        self._start = 0  # index of the first estimate that the next chunk yields
        self._next = 0  # index of the next estimate to return
        self._fading = self._empty()

    def _empty(self) -> Tensor:
        pending = self._pending
        return pending.new_zeros(self._batch_size, self._model.n_src, pending.shape[1], 0)

    @torch.no_grad()
    def _estimates(self, batch: Tensor) -> Tensor:
        self._pending = torch.cat((self._pending, batch.to(self._pending)), dim=-1)
        parts = [self._empty()]
        while self._pending.shape[-1] >= self._start - self._origin + self._lengths.input:
            stop = self._start + self._lengths.output - self._overlap
            estimates, beyond = self._chunk(self._start, self._lengths.input, stop)
            parts.append(estimates)
            self._fading = beyond[..., : self._fade].clone()
            self._advance(stop)
        return torch.cat(parts, dim=-1)

    def _rest(self) -> Tensor:
        if self._next >= self._end:
            return self._empty()
        last = self._model.geometry.fit(self._end)
        start = self._start
        if self._fade:
            start = min(start, max(self._origin, last.output - self._lengths.output))
        missing = last.input - self._origin - self._pending.shape[-1]
        self._pending = F.pad(self._pending, (0, missing))
        estimates, _ = self._chunk(start, last.input - start, self._end)
        return estimates

    def _release(self) -> None:
        self._pending = self._pending[..., :0].clone()

    def _chunk(self, start: int, length: int, stop: int) -> tuple[Tensor, Tensor]:
        """Separate a chunk; return the next estimates up to index `stop`, and those beyond.

        Args:
            start: index of the chunk's first estimate.
            length: of its mixture, in samples.
        """
        mixture = self._pending[..., start - self._origin :][..., :length]
        estimates = self._model.evaluate_network(mixture)[..., self._next - start :]
        final, beyond = estimates.tensor_split((stop - self._next,), dim=-1)
        n = min(self._fading.shape[-1], final.shape[-1])
        if n:
            weight = torch.linspace(0, 1, self._fade + 2).to(final)[1 : n + 1]
            final = final.clone()
            final[..., :n] = final[..., :n].lerp(self._fading[..., :n], 1 - weight)
        return final, beyond

    def _advance(self, index: int) -> None:
        """Continue from estimate `index`; drop pending samples that are no longer needed.

        With cross-fades, keep enough of them to fill the last chunk.
        """
        step = self._model.geometry.step
        start = (index - self._overlap) // step * step
        origin = self._start if self._fade else start
        self._pending = self._pending[..., origin - self._origin :].clone()
        self._origin, self._start, self._next = origin, start, index
