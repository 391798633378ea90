"""The Wave-U-Net as an Asteroid model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asteroid_waveunet._asteroid import register
from asteroid_waveunet.models import argument_checks
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.nn import meta
from asteroid_waveunet.nn.geometry import Geometry
from asteroid_waveunet.nn.wave_unet_blocks import (
    LEAKY_SLOPE,
    DownBlock,
    OutputHead,
    UpBlock,
    centre_crop,
    conv1d,
)
from asteroid_waveunet.streaming.wave_unet_stream import Stream

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["WaveUNet"]


@register
class WaveUNet(SourceModel):
    """The Wave-U-Net of Stoller, Ewert and Dixon (ISMIR 2018): source separation on waveforms.

    The defaults are the paper's M3; `presets.make("M4")` and so on make the others.

    Args:
        sources: names of the estimates, in order, one or more; with difference output the last
            one is computed from the others.
        in_channels: channels of mixture and estimates, >= 1.
        sample_rate: of mixture and estimates, in Hz, 1 to 1000000.
        levels: number of down and of up blocks, 1 to 24; each halves the rate.
        initial_filters: filters of the first convolution, >= 1.
        down_kernel_size: of the down blocks and the bottleneck, in samples, >= 1.
        up_kernel_size: of the up blocks, in samples, >= 1.
        output_kernel_size: of the output convolution, in samples, >= 1.
        upsampling: `"linear"` or `"learned"` interpolation, or `"transposed"` convolution, which
            the paper argues against (for comparison).
        output: `"difference"`: the last source is the mixture minus the others; `"direct"`:
            every source is predicted.
        output_activation: `"tanh"`, or `"linear"`, which is clipped to [-1, 1] in evaluation.
        context: valid convolutions with true input context (True), or same padding (False).
        filter_growth: additional filters per level; None for `initial_filters`, as in the paper.

    Raises:
        ValueError: if an argument is out of its range, or the model has more than 2^29 weights.

    See `SourceModel` for shapes.

    `torch.export` supports any length with `Dim.AUTO` (with context); `torch.jit.trace` fixes it.

    Clipping depends on `model.train()` and `model.eval()`, like the reference's `training` flag:
    in evaluation, linear outputs and the difference source are clipped to [-1, 1].

    >>> model = WaveUNet(sources=("accompaniment", "vocals"), in_channels=2, levels=4)
    >>> model(torch.randn(1, 2, 1000)).shape
    torch.Size([1, 2, 2, 1000])

    [1] Stoller, Ewert, Dixon. Wave-U-Net: A Multi-Scale Neural Network for End-to-End Audio
        Source Separation. ISMIR 2018, arXiv 1806.03185.
    """

    geometry: Geometry
    replaceable = ("sample_rate", "output_activation", "context")

    def __init__(
        self,
        sources: Sequence[str] = ("accompaniment", "vocals"),
        in_channels: int = 1,
        sample_rate: float = 22050,
        levels: int = 12,
        initial_filters: int = 24,
        down_kernel_size: int = 15,
        up_kernel_size: int = 5,
        output_kernel_size: int = 1,
        upsampling: Literal["linear", "learned", "transposed"] = "linear",
        output: Literal["direct", "difference"] = "difference",
        output_activation: Literal["tanh", "linear"] = "tanh",
        context: bool = True,
        filter_growth: int | None = None,
    ):
        if filter_growth is None:
            filter_growth = initial_filters
        given = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        argument_checks.check_wave_unet(given)
        meta.check_size(WaveUNet, given)
        super().__init__(given)
        self.geometry = Geometry.of(
            levels, down_kernel_size, up_kernel_size, output_kernel_size, context
        )

        filters = [initial_filters + filter_growth * level for level in range(levels + 1)]
        ins = [in_channels, *filters[:-2]]
        self.down = nn.ModuleList(
            DownBlock(n_in, n_out, down_kernel_size, context, margin)
            for n_in, n_out, margin in zip(ins, filters[:-1], self.geometry.margins, strict=True)
        )
        self.bottleneck = conv1d(filters[-2], filters[-1], down_kernel_size, context)
        self.up = nn.ModuleList(
            UpBlock(below, here, here, up_kernel_size, upsampling, context)
            for below, here in zip(filters[:0:-1], filters[-2::-1], strict=True)
        )
        self.head = OutputHead(
            filters[0],
            in_channels,
            len(self.sources),
            output_kernel_size,
            output,
            output_activation,
            context,
        )

    def _network(self, mixture: Tensor) -> Tensor:
        """`(batch, channels, input)` -> `(batch, n_src, channels, output)`: figure 1 of [1]."""
        x, skips = mixture, []
        for down in self.down:
            skip, x = down(x)
            skips.append(skip)
        x = F.leaky_relu_(self.bottleneck(x), LEAKY_SLOPE)
        for up in self.up:
            x = up(x, skips.pop())
        return self.head(torch.cat((centre_crop(mixture, x.shape[-1]), x), dim=1))

    def without_clipping(self) -> Self:
        """See `SourceModel.without_clipping`; only clipping depends on the mode."""
        return self.train()

    def stream(self, batch_size: int = 1, dtype: torch.dtype | None = None) -> Stream:
        """Return a `Stream`, one seamless pass that computes each sample once."""
        return Stream(self, batch_size, dtype)
