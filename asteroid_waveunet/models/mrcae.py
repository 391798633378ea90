"""Multi-resolution convolutional auto-encoder (MRCAE), a baseline of the comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asteroid_waveunet._asteroid import register
from asteroid_waveunet.models import argument_checks
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.nn import meta
from asteroid_waveunet.nn.fft_conv import correlate
from asteroid_waveunet.nn.geometry import LengthRule
from asteroid_waveunet.nn.wave_unet_blocks import centre_crop, conv1d, glorot_uniform_

__all__ = ["MRCAE"]

KERNEL_SIZES = (5, 50, 256, 512, 1025)
"""Lengths of the filter sets in each layer, in samples."""

MAX_SETS = 2**10
"""With the default number of filters, 670 sets of one sample exceed `meta.MAX_WEIGHTS`."""

N_LAYERS = 4
"""Two encoding and two decoding layers."""

COUNTS = {"in_channels": (1, 2**16), "filters": (1, 2**16)}


@register
class MRCAE(SourceModel):
    """The multi-resolution convolutional auto-encoder of Grais, Ward and Plumbley (2018) [1].

    Two layers of convolutions encode the raw mixture, all channels jointly; two layers of
    transposed convolutions decode its sources. Each layer has parallel sets of filters of
    different lengths, 5 to 1025 samples: each set is batch-normalised, the sets are concatenated,
    and an ELU follows. There is no decimation.

    This follows the abstract of [1]: a convolutional auto-encoder with several resolutions per
    layer maps the raw samples of all channels to those of the sources, without pre- or
    post-processing. The full text was not available; the following choices are ours, so scores
    are those of this network, not of [1]:

    * Four layers, filter lengths from 5 to 1025 samples, batch normalisation, ELU; no pooling.
    * Convolutions keep the length (same padding), so any length is valid; training chooses the
      segment length.
    * All sets have the same number of filters, `filters`; with the default, the network has about
      as many weights as the paper's Wave-U-Nets.
    * One network estimates all sources: a final convolution of kernel 1 without activation maps
      the last layer to their channels.
    * Convolutions before batch normalisation have no bias; weights are Glorot-uniform initially.

    Args:
        sources: names of the estimates, in order, one or more.
        in_channels: channels of mixture and estimates, 1 to 65536.
        sample_rate: of mixture and estimates, in Hz, 1 to 1000000.
        filters: per set, 1 to 65536. Each sample of the mixture costs as many multiply-adds as
            there are weights, 11 million by default.
        kernel_sizes: of the sets, in samples, 1 to 65536 each.

    Raises:
        ValueError: if an argument is out of its range, or the model has more than 2^29 weights.

    >>> model = MRCAE(in_channels=2, filters=2).eval()
    >>> model(torch.randn(1, 2, 1025)).shape
    torch.Size([1, 2, 2, 1025])

    [1] Grais, Ward, Plumbley. Raw Multi-Channel Audio Source Separation using Multi-Resolution
        Convolutional Auto-Encoders. EUSIPCO 2018, arXiv 1803.00702.
    """

    def __init__(
        self,
        sources: Sequence[str] = ("accompaniment", "vocals"),
        in_channels: int = 2,
        sample_rate: float = 22050,
        filters: int = 20,
        kernel_sizes: Sequence[int] = KERNEL_SIZES,
    ):
        given = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        argument_checks.check_ranges(given, COUNTS, {})
        _check_kernel_sizes(kernel_sizes)
        meta.check_size(MRCAE, given)
        super().__init__({**given, "kernel_sizes": list(kernel_sizes)})
        self.geometry = LengthRule(step=1, remainder=1, left_context=0, right_context=0)
        self.reach = N_LAYERS * (max(kernel_sizes) // 2)
        features = filters * len(kernel_sizes)
        encoding = N_LAYERS // 2
        self.layers = nn.Sequential(
            *(
                Layer(features if index else in_channels, filters, kernel_sizes, index >= encoding)
                for index in range(N_LAYERS)
            )
        )
        self.head = conv1d(features, self.n_src * in_channels, 1, context=True)

    def _network(self, mixture: Tensor) -> Tensor:
        return self.head(self.layers(mixture)).unflatten(1, (self.n_src, self.in_channels))


class Layer(nn.Module):
    """Parallel convolutions of several lengths, `(batch, in, n)` -> `(batch, sets * out, n)`.

    Args:
        transposed: use transposed convolutions.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_sizes: Sequence[int], transposed: bool
    ):
        super().__init__()
        kind: Any = nn.ConvTranspose1d if transposed else nn.Conv1d
        self.sets = nn.ModuleList(
            kind(in_channels, out_channels, size, bias=False) for size in kernel_sizes
        )
        for convolution in self.sets:
            glorot_uniform_(convolution.weight)  # type: ignore[arg-type]
        self.norms = nn.ModuleList(nn.BatchNorm1d(out_channels) for _ in kernel_sizes)
        self.sizes = tuple(kernel_sizes)
        self.transposed = transposed

    def forward(self, x: Tensor) -> Tensor:
        # On the meta device, as for counting multiplications, the definition applies.
        convolved = self.convolve_directly(x) if x.is_meta else self._convolve(x)
        parts = [norm(part) for norm, part in zip(self.norms, convolved, strict=True)]
        return F.elu(torch.cat(parts, dim=1), inplace=True)

    def convolve_directly(self, x: Tensor) -> list[Tensor]:
        """Convolve x with each set by definition, keeping its length; slower (see bench/).

        An odd number of padded (or, transposed, cropped) samples has the extra one on the right.
        """
        if self.transposed:
            return [centre_crop(convolution(x), x.shape[-1]) for convolution in self.sets]
        return [
            convolution(F.pad(x, ((size - 1) // 2, size // 2)))
            for convolution, size in zip(self.sets, self.sizes, strict=True)
        ]

    def _convolve(self, x: Tensor) -> Sequence[Tensor]:
        """Convolve x with all sets in one FFT convolution; shorter filters are zero-padded."""
        longest = max(self.sizes)
        ahead = self._before(longest)
        filters = []
        for convolution, size in zip(self.sets, self.sizes, strict=True):
            weight: Any = convolution.weight
            if self.transposed:  # a correlation with filters in reversed time, channels swapped
                weight = weight.transpose(0, 1).flip(-1)
            left = ahead - self._before(size)
            filters.append(F.pad(weight, (left, longest - size - left)))
        padded = F.pad(x, (ahead, longest - 1 - ahead))
        return correlate(padded, torch.cat(filters)).chunk(len(filters), dim=1)

    def _before(self, size: int) -> int:
        """Return the number of past samples that a filter's output depends on."""
        return size // 2 if self.transposed else (size - 1) // 2


def _check_kernel_sizes(sizes: Sequence[int]) -> None:
    if not isinstance(sizes, (list, tuple)) or not sizes:
        raise ValueError(f"kernel_sizes is {sizes!r}; expected a list such as {KERNEL_SIZES}.")
    if len(sizes) > MAX_SETS:
        raise ValueError(f"kernel_sizes has {len(sizes)} entries; expected at most {MAX_SETS}.")
    for size in sizes:
        argument_checks.check_count("kernel_sizes", size, 1, 2**16)
