"""Protocols of the models that can be streamed, and of streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from asteroid_waveunet.nn.geometry import Geometry, LengthRule
from asteroid_waveunet.nn.wave_unet_blocks import OutputHead

__all__ = ["BatchStream", "StreamableModel", "StreamableWaveUNet"]


class BatchStream(Protocol):
    """A stream of checked `(batch, channels, n)` blocks."""

    def push(self, batch: Tensor) -> Tensor:
        """Return the estimates that are final, `(batch, n_src, channels, m)`."""

    def finish(self) -> Tensor:
        """Return the remaining estimates and end the stream."""


class StreamableModel(Protocol):
    """A separation model; `models.base.SourceModel` documents the members."""

    sources: tuple[str, ...]
    in_channels: Any  # int, untyped in Asteroid
    sample_rate: Any  # float, untyped in Asteroid
    reach: int | None

    @property
    def geometry(self) -> LengthRule: ...

    @property
    def n_src(self) -> int: ...

    def to_batch(self, mixture: Tensor, may_be_empty: bool = False) -> Tensor: ...

    def from_batch(self, estimates: Tensor, mixture: Tensor) -> Tensor: ...

    def evaluate_network(self, mixture: Tensor) -> Tensor: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def stream(self, batch_size: int = 1, dtype: torch.dtype | None = None) -> BatchStream: ...


class StreamableWaveUNet(StreamableModel, Protocol):
    """A Wave-U-Net with the layers of `models.wave_unet.WaveUNet`."""

    down: nn.ModuleList
    bottleneck: nn.Conv1d
    up: nn.ModuleList
    head: OutputHead

    @property
    def geometry(self) -> Geometry: ...

    def get_model_args(self) -> dict[str, Any]: ...
