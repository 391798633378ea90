"""Base class of models that process each channel by itself."""

from __future__ import annotations

import torch
from torch import Tensor

from asteroid_waveunet.models.base import SourceModel

__all__ = ["PerChannel"]


class PerChannel(SourceModel):
    """Base class of mono networks that process each channel independently.

    Channels are moved to the batch axis, so a mono network from the literature takes any number
    of them and keeps the stereo image. It cannot use what the channels share, such as the panning
    of a source.

    These networks compute in float32 or float64. Under mixed precision (torch.autocast) they
    exclude operations that need full precision themselves.
    """

    replaceable = ("sample_rate", "in_channels")

    def _network(self, mixture: Tensor) -> Tensor:
        dtype = next(self.parameters()).dtype
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"{type(self).__name__} does not support {dtype}; expected float32 or float64. "
                "Use mixed precision instead: torch.autocast, or --precision bf16-mixed in the "
                "recipe."
            )
        estimates = self._mono(mixture.flatten(0, 1))
        return estimates.unflatten(0, mixture.shape[:2]).transpose(1, 2)

    def _mono(self, mixture: Tensor) -> Tensor:
        """`(batch, input)` -> `(batch, n_src, output)`."""
        raise NotImplementedError
