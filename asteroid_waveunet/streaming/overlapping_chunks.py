"""A network that cannot be fed hop by hop, on tracks of any length: in pieces that overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from asteroid_waveunet.streaming.wave_unet_stream import MAX_HOP, BlockStream

if TYPE_CHECKING:
    from asteroid_waveunet.models.base import SourceModel

__all__ = ["FADE", "PieceStream"]

FADE = 2**12
"""Samples over which one piece goes over into the next, where they do not agree."""


class PieceStream(BlockStream):
    """The estimates of a track that comes in blocks, piece by piece, in a bounded memory.

    An estimate depends on no more than `model.reach` samples on either side, and the network
    commutes with shifts by its step. So pieces that begin at multiples of the step and overlap
    by twice the reach agree where one hands over to the next, and what comes out is
    `model(track)` to rounding:

        piece       |--reach--|-------- given --------|--reach--|
        the next                            |--reach--|-------- given --------|--reach--|

    A network that looks at all of its input has no reach, and no such pieces. Its pieces, which
    are longer, overlap by `FADE` samples on either side of the handing over, where they fade
    into one another: an approximation of `model(track)`, and exactly that for a track of one
    piece. What is computed over all of a piece, such as a mean, is so over as many samples of
    each: the last piece of a track begins the earlier for it.

    The network is run in evaluation mode, whichever it is in, one track at a time.

    Args:
        model: as it is now; it must not change before the track ends.
        batch_size: tracks that run side by side.
        dtype: None; these networks compute in their own.
    Attributes:
        latency: in samples: of n that were fed, at least the first n - latency were given.
    Raises:
        ValueError: if `batch_size` is below 1, or a dtype is asked for.
    """

    def __init__(self, model: SourceModel, batch_size: int = 1, dtype: torch.dtype | None = None):
        super().__init__(model, batch_size)
        if dtype is not None:
            raise ValueError(
                f"A {type(model).__name__} computes in its own precision only, not in {dtype}; "
                "leave precision at 'fp32'."
            )
        rule = model.geometry
        exact = model.reach is not None
        self._overlap = model.reach if model.reach is not None else FADE
        self._fade = 0 if exact else FADE
        # Of each piece, a third at most is computed twice.
        longest = max(MAX_HOP, 6 * self._overlap) if exact else 2 * MAX_HOP
        self._lengths = rule.fit(longest + rule.step)
        self.latency = self._lengths.input
        parameter = next(model.parameters())
        self._pending = parameter.new_zeros(batch_size, model.in_channels, rule.left_context)
        self._origin = 0  # index of the first estimate that what is pending yields
        self._start = 0  # and of the first that the next piece does
        self._next = 0  # index of the first estimate that was not given
        self._fading = self._none()

    def _none(self) -> Tensor:
        """No estimates."""
        pending = self._pending
        return pending.new_zeros(self._batch_size, self._model.n_src, pending.shape[1], 0)

    @torch.no_grad()
    def _estimates(self, batch: Tensor) -> Tensor:
        self._pending = torch.cat((self._pending, batch.to(self._pending)), dim=-1)
        parts = [self._none()]
        while self._pending.shape[-1] >= self._start - self._origin + self._lengths.input:
            stop = self._start + self._lengths.output - self._overlap
            estimates, beyond = self._piece(self._start, self._lengths.input, stop)
            parts.append(estimates)
            self._fading = beyond[..., : self._fade].clone()
            self._go_on_from(stop)
        return torch.cat(parts, dim=-1)

    def _rest(self) -> Tensor:
        if self._next >= self._end:
            return self._none()
        last = self._model.geometry.fit(self._end)
        start = self._start
        if self._fade:
            start = min(start, max(self._origin, last.output - self._lengths.output))
        missing = last.input - self._origin - self._pending.shape[-1]
        self._pending = F.pad(self._pending, (0, missing))
        estimates, _ = self._piece(start, last.input - start, self._end)
        return estimates

    def _release(self) -> None:
        self._pending = self._pending[..., :0].clone()

    def _piece(self, start: int, length: int, stop: int) -> tuple[Tensor, Tensor]:
        """The next estimates up to index `stop`, and those beyond, of a piece of the track.

        Args:
            start: index of the piece's first estimate.
            length: of its mixture.
        """
        mixture = self._pending[..., start - self._origin :][..., :length]
        estimates = self._model._evaluated(mixture)[..., self._next - start :]
        given, beyond = estimates.tensor_split((stop - self._next,), dim=-1)
        n = min(self._fading.shape[-1], given.shape[-1])
        if n:
            share = torch.linspace(0, 1, self._fade + 2).to(given)[1 : n + 1]
            given = given.clone()
            given[..., :n] = given[..., :n].lerp(self._fading[..., :n], 1 - share)
        return given, beyond

    def _go_on_from(self, index: int) -> None:
        """Drops what no estimate from `index` on depends on, nor a last piece's length."""
        step = self._model.geometry.step
        start = (index - self._overlap) // step * step
        kept = self._start if self._fade else start
        self._pending = self._pending[..., kept - self._origin :].clone()
        self._origin, self._start, self._next = kept, start, index
