"""The base class of streams: fed block by block, they return estimates as soon as possible."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from asteroid_waveunet.audio.checks import check_samples
from asteroid_waveunet.streaming.interface import StreamableModel

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["MAX_HOP", "BlockStream"]

MAX_HOP = 2**17
"""Samples, over the whole batch, that pass through the network at once; bounds the memory that
long blocks take. Each pass reads all weights once; longer passes are not measurably faster."""


class BlockStream:
    """Base class of streams, which separate a track that arrives in blocks.

    Subclasses implement `_estimates` for each block and `_rest` for the end.

    Args:
        model: defines the shapes of blocks and estimates.
        batch_size: number of parallel tracks.
    Raises:
        ValueError: if `batch_size` is below 1.
    """

    def __init__(self, model: StreamableModel, batch_size: int = 1):
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; expected at least 1.")
        self._model = model
        self._batch_size = batch_size
        self._end = 0  # samples fed so far
        self._ended = False
        # Empty tensors with the dtype and device of estimates, and the shape of the last block.
        self._like = torch.zeros(batch_size, model.in_channels, 0)
        self._last_block = self._like

    def feed(self, block: Tensor) -> Tensor:
        """Feed the next block and return the estimates that are final.

        Args:
            block: shaped as `model` takes it, with `batch_size` items; any length, also 0.
        Returns:
            Estimates shaped as `model` returns them, with the block's device and dtype; any
            length, also 0.
        Raises:
            ValueError: if the block has another shape, or samples that are not finite floats.
            RuntimeError: if the stream has ended.
        """
        if not isinstance(block, Tensor):
            raise ValueError(f"Unsupported block type {type(block).__name__}; expected a tensor.")
        batch = self._model.to_batch(block, may_be_empty=True)
        if len(batch) != self._batch_size:
            raise ValueError(
                f"The block has shape {tuple(block.shape)}, a batch of {len(batch)}; this stream "
                f"was made with batch_size={self._batch_size}."
            )
        if block.shape[-1]:
            check_samples(block, "the block")
        estimates = self.push(batch)
        self._last_block = block[..., :0]
        return self._model.from_batch(estimates, block)

    def flush(self) -> Tensor:
        """Return the remaining estimates, assuming silence after the last block; end the stream.

        Raises:
            RuntimeError: if the stream has ended.
        """
        return self._model.from_batch(self.finish(), self._last_block)

    def push(self, batch: Tensor) -> Tensor:
        """Feed a checked block, `(batch, channels, n)` -> `(batch, n_src, channels, m)`.

        Raises:
            RuntimeError: if the stream has ended.
        """
        self._check_open()
        self._like = batch[..., :0]
        self._end += batch.shape[-1]
        return self._estimates(batch).to(batch)

    def finish(self) -> Tensor:
        """Return the remaining estimates, `(batch, n_src, channels, m)`; end the stream.

        Raises:
            RuntimeError: if the stream has ended.
        """
        self._check_open()
        estimates = self._rest().to(self._like)
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
        """Compute `(batch, channels, n)` -> `(batch, n_src, channels, m)`, m of any length."""
        raise NotImplementedError

    def _rest(self) -> Tensor:
        """Compute the remaining estimates, `(batch, n_src, channels, m)`."""
        raise NotImplementedError

    def _release(self) -> None:
        """Free the stream's state."""

    def _close(self) -> None:
        if not self._ended:
            self._ended = True
            self._release()

    def _check_open(self) -> None:
        if self._ended:
            raise RuntimeError("This stream has ended with its flush(); make one for each track.")
