"""A WaveUNet fed block by block, in one seamless pass."""

from __future__ import annotations

import torch
from torch import Tensor

from asteroid_waveunet.nn.geometry import Geometry
from asteroid_waveunet.streaming.base import MAX_HOP, BlockStream
from asteroid_waveunet.streaming.interface import StreamableWaveUNet
from asteroid_waveunet.streaming.stateful_wave_unet import StatefulWaveUNet

__all__ = ["Stream"]


class Stream(BlockStream):
    """Separate a track that arrives in blocks, in one seamless pass.

    The joined outputs of `feed` and `flush` equal `model(track)` to rounding, for any blocks:
    no sample is computed twice, nothing is cross-faded, and memory is constant.

    Args:
        model: a `WaveUNet`. The stream copies its weights and keeps its device and clipping
            (`model.eval()` clips).
        batch_size: number of parallel tracks.
        dtype: to compute in, such as `torch.bfloat16`, which is faster on processors that
            support it. Default: the model's. The estimates have the blocks' dtype. On a GPU
            PyTorch computes float32 convolutions in TF32 unless
            `torch.backends.cudnn.allow_tf32` is False.
    Raises:
        ValueError: if the model is not a `WaveUNet`, or `batch_size` is below 1.

    >>> from asteroid_waveunet import presets
    >>> track = torch.randn(2, 10000)
    >>> with Stream(presets.make("M4", levels=6)) as stream:
    ...     parts = [stream.feed(block) for block in track.split(3000, dim=-1)]
    ...     parts.append(stream.flush())
    >>> torch.cat(parts, dim=-1).shape
    torch.Size([2, 2, 10000])
    """

    def __init__(
        self, model: StreamableWaveUNet, batch_size: int = 1, dtype: torch.dtype | None = None
    ):
        if not isinstance(model.geometry, Geometry):
            raise ValueError(
                f"Stream does not support {type(model).__name__}; expected a WaveUNet. Use "
                "model.stream()."
            )
        super().__init__(model, batch_size)
        network = StatefulWaveUNet(model, dtype)
        # With context, each hop must end where an input of valid length ends. So zeros fill the
        # gap between the last such end and the track, preceded by endless silence.
        self._geometry = geometry = model.geometry
        ahead = -(geometry.fit(1).input - geometry.left_context) % geometry.step
        silence = torch.zeros(
            batch_size, model.in_channels, geometry.step, dtype=network.exact, device=network.device
        )
        with torch.no_grad():
            if network.context:
                network(silence)
        self._network = network
        self._pending = silence[..., :ahead]
        self._like = silence[..., :0]
        self._next = -ahead - geometry.lookahead  # index of the next hop's first estimate

    @property
    def latency(self) -> int:
        """Maximum delay in samples: after n samples, at least n - latency have estimates.

        Equals `geometry.latency`: each hop yields `step` estimates, once the last sample of
        their lookahead has arrived.
        """
        return self._geometry.latency

    def _estimates(self, batch: Tensor) -> Tensor:
        return self._run(batch.to(self._pending))

    def _rest(self) -> Tensor:
        size = self._geometry.step
        n_pending = self._pending.shape[-1]
        missing = -(-(self._end - self._next) // size) * size
        zeros = self._pending.new_zeros(*self._pending.shape[:-1], missing - n_pending)
        return self._run(zeros, end=-(-self._end // size) * size)

    def _release(self) -> None:
        del self._network
        self._pending = self._pending[..., :0].clone()

    @torch.no_grad()
    def _run(self, new: Tensor, end: int | None = None) -> Tensor:
        """Run the network on all complete hops of the pending and new samples."""
        size = self._geometry.step
        pending = torch.cat((self._pending, new), dim=-1)
        whole = pending.shape[-1] // size * size
        self._pending = pending[..., whole:].clone()
        longest = max(1, MAX_HOP // self._batch_size // size) * size
        hops = pending[..., :whole].split(longest, dim=-1)
        parts = [self._within_track(self._network(hop, end)) for hop in hops if whole]
        empty = pending.new_zeros(self._batch_size, self._model.n_src, pending.shape[1], 0)
        return torch.cat(parts, dim=-1) if parts else empty

    def _within_track(self, estimates: Tensor) -> Tensor:
        """Drop the next estimates' samples before and after the track."""
        first = self._next
        self._next += estimates.shape[-1]
        return estimates[..., max(0, -first) : max(0, self._end - first)]
