"""A network that is fed block by block, and gives estimates as soon as they are certain."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from asteroid_waveunet.audio.checks import check_samples
from asteroid_waveunet.nn.geometry import Geometry
from asteroid_waveunet.streaming.stateful_wave_unet import Step

if TYPE_CHECKING:
    from typing_extensions import Self

    from asteroid_waveunet.models.base import SourceModel
    from asteroid_waveunet.models.wave_unet import WaveUNet

__all__ = ["MAX_HOP", "BlockStream", "Stream"]

MAX_HOP = 2**17
"""Samples that go through the network at once, which bounds the memory that long blocks take;
of a batch, all together.
Each hop reads all weights once; beyond this length that does not show any more."""


class BlockStream:
    """Takes a track in blocks and gives its estimates: what all streams have in common.

    A kind of stream computes in `_estimates`, what a block makes certain, and `_rest`, what
    comes after the last one.

    Args:
        model: whose shapes blocks and estimates have.
        batch_size: tracks that run side by side.
    Raises:
        ValueError: if `batch_size` is below 1.
    """

    def __init__(self, model: SourceModel, batch_size: int = 1):
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; expected at least 1.")
        self._model = model
        self._batch_size = batch_size
        self._like = torch.zeros(batch_size, model.in_channels, 0)
        self._end = 0  # of the track so far
        self._ended = False

    def feed(self, block: Tensor) -> Tensor:
        """The estimates that the next block of the track makes certain.

        Args:
            block: shaped as `model` takes it, its batch being `batch_size`; any length, also 0.
        Returns:
            Estimates shaped as `model` gives them, on the block's device and in its dtype; of
            any length, also 0.
        Raises:
            ValueError: if the block has another shape, or samples that are not finite floats.
            RuntimeError: if the stream has ended.
        """
        if not isinstance(block, Tensor):
            raise ValueError(f"A {type(block).__name__} is no block; expected a tensor.")
        batch = self._model.to_batch(block, may_be_empty=True)
        if len(batch) != self._batch_size:
            raise ValueError(
                f"The block has shape {tuple(block.shape)}, a batch of {len(batch)}; this stream "
                f"was made with batch_size={self._batch_size}."
            )
        if block.shape[-1]:
            check_samples(block, "the block")
        self._check_open()
        self._like = block[..., :0]
        self._end += batch.shape[-1]
        return self._shaped(self._estimates(batch))

    def flush(self) -> Tensor:
        """The rest of the estimates, there being silence after the last block. Ends the stream.

        Raises:
            RuntimeError: if it has ended already.
        """
        self._check_open()
        estimates = self._shaped(self._rest())
        self._close()
        return estimates

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def _estimates(self, batch: Tensor) -> Tensor:
        """`(batch, channels, n)` -> `(batch, n_src, channels, m)`, m of any length."""
        raise NotImplementedError

    def _rest(self) -> Tensor:
        """What is left of the estimates, `(batch, n_src, channels, m)`."""
        raise NotImplementedError

    def _release(self) -> None:
        """Lets go of what the stream remembers."""

    def _close(self) -> None:
        if not self._ended:
            self._ended = True
            self._release()

    def _check_open(self) -> None:
        if self._ended:
            raise RuntimeError("This stream has ended with its flush(); make one for each track.")

    def _shaped(self, estimates: Tensor) -> Tensor:
        return self._model.from_batch(estimates.to(self._like), self._like)


class Stream(BlockStream):
    """The estimates of a track that comes in blocks, in one seamless pass.

    What `feed` and `flush` return, joined along time, is `model(track)` to rounding, whatever
    the blocks: no sample is computed twice, nothing is cross-faded, and memory does not grow.

    Args:
        model: as it is now: its weights, its device, whether it clips (`model.eval()` does).
        batch_size: tracks that run side by side.
        dtype: to compute in, such as `torch.bfloat16`, the faster one where the processor has
            it; the model's if None. The estimates have the blocks' dtype. On a GPU PyTorch
            computes float32 convolutions in TF32 unless `torch.backends.cudnn.allow_tf32` is
            False.
    Raises:
        ValueError: if the model is no `WaveUNet`, or `batch_size` is below 1.

    >>> from asteroid_waveunet import presets
    >>> track = torch.randn(2, 10000)
    >>> with Stream(presets.make("M4", levels=6)) as stream:
    ...     parts = [stream.feed(block) for block in track.split(3000, dim=-1)]
    ...     parts.append(stream.flush())
    >>> torch.cat(parts, dim=-1).shape
    torch.Size([2, 2, 10000])
    """

    def __init__(self, model: WaveUNet, batch_size: int = 1, dtype: torch.dtype | None = None):
        if not isinstance(model.geometry, Geometry):
            raise ValueError(
                f"A {type(model).__name__} is not fed hop by hop; its stream is model.stream()."
            )
        super().__init__(model, batch_size)
        step = Step(model, dtype)
        # With context, hops end where an input that fits does. So there are zeros between the
        # last such end before the track and the track, and silence without end before these.
        self._geometry = geometry = model.geometry
        ahead = -(geometry.fit(1).input - geometry.left_context) % geometry.step
        silence = torch.zeros(
            batch_size, model.in_channels, geometry.step, dtype=step.exact, device=step.device
        )
        with torch.no_grad():
            if step.context:
                step(silence)
        self._step = step
        self._pending = silence[..., :ahead]
        self._like = silence[..., :0]
        self._next = -ahead - geometry.lookahead  # index of the estimate that a hop gives next

    @property
    def latency(self) -> int:
        """In samples: of n that were fed, at least the first n - latency estimates were given.

        It is `geometry.latency`: `step` estimates come at a time, when the last sample that
        they look ahead to is there.
        """
        return self._geometry.latency

    def _estimates(self, batch: Tensor) -> Tensor:
        return self._run(batch.to(self._pending))

    def _rest(self) -> Tensor:
        size = self._step.geometry.step
        n_pending = self._pending.shape[-1]
        missing = -(-(self._end - self._next) // size) * size
        zeros = self._pending.new_zeros(*self._pending.shape[:-1], missing - n_pending)
        return self._run(zeros, end=-(-self._end // size) * size)

    def _release(self) -> None:
        del self._step
        self._pending = self._pending[..., :0].clone()

    @torch.no_grad()
    def _run(self, new: Tensor, end: int | None = None) -> Tensor:
        """The estimates that all whole hops of what is pending yield."""
        step, size = self._step, self._step.geometry.step
        pending = torch.cat((self._pending, new), dim=-1)
        whole = pending.shape[-1] // size * size
        self._pending = pending[..., whole:].clone()
        longest = max(1, MAX_HOP // self._batch_size // size) * size
        hops = pending[..., :whole].split(longest, dim=-1)
        parts = [self._of_track(step(hop, end)) for hop in hops if whole]
        empty = pending.new_zeros(self._batch_size, self._model.n_src, pending.shape[1], 0)
        return torch.cat(parts, dim=-1) if parts else empty

    def _of_track(self, estimates: Tensor) -> Tensor:
        """Those of the next estimates that are neither of before the track nor of after it."""
        first = self._next
        self._next += estimates.shape[-1]
        return estimates[..., max(0, -first) : max(0, self._end - first)]
