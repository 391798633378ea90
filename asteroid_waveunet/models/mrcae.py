"""The multi-resolution convolutional auto-encoder that the paper compares itself with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asteroid_waveunet._asteroid import register
from asteroid_waveunet.models import argument_checks
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.nn.fft_conv import correlate
from asteroid_waveunet.nn.geometry import LengthRule
from asteroid_waveunet.nn.wave_unet_blocks import centre_crop, conv1d, glorot_uniform_

__all__ = ["MRCAE", "n_weights"]

KERNEL_SIZES = (5, 50, 256, 512, 1025)
"""Of each layer's sets of filters, in samples."""

N_LAYERS = 4
"""Two that encode and two that decode."""

COUNTS = {"in_channels": (1, 2**16), "filters": (1, 2**16)}


@register
class MRCAE(SourceModel):
    """The multi-resolution convolutional auto-encoder of Grais, Ward and Plumbley (2018) [1].

    Two layers of convolutions encode the raw mixture, all channels at once, two of transposed
    convolutions decode its sources. Each layer has sets of filters of different lengths, 5 to 1025
    samples, side by side: each set is batch normalised, all are concatenated, and an ELU follows.
    Nothing is decimated.

    What this has of [1] is what its abstract says: a convolutional auto-encoder, whose layers hear
    several resolutions, takes the raw samples of all channels to those of the sources, and there
    is no processing before or after. What its text says beyond was not at hand; without it, these
    are decisions, and scores are this network's and not [1]'s:

    * Four layers, lengths from 5 to 1025 samples, batch normalisation, ELU; no pooling.
    * Convolutions keep the length (same padding), so that the network takes any; training chooses
      the length of its segments.
    * Each set has as many filters, `filters`; by default, the network has as many weights as the
      paper's Wave-U-Nets.
    * One network estimates all sources: a last convolution of kernel 1, without an activation,
      makes their channels of the last layer.
    * Convolutions have no bias where batch normalisation follows, which has its own; weights start
      Glorot-uniform.

    Args:
        sources: names of the estimates, in order. Any number, one included.
        in_channels: channels of mixture and estimates, 1 to 65536.
        sample_rate: of mixture and estimates, in Hz, 1 to 1000000.
        filters: of each set, 1 to 65536. Every sample of the mixture costs as many multiply-adds
            as there are weights, 11 million by default.
        kernel_sizes: of the sets, in samples, 1 to 65536 each.

    Raises:
        ValueError: if an argument is out of its range, or all make more than 2^29 weights.

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
        check(given)
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
    """Filters of several lengths side by side, `(batch, in, n)` -> `(batch, sets * out, n)`.

    Args:
        transposed: whether they are transposed convolutions.
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
        # Where only shapes are computed, as for counting multiplications, it is by the definition.
        convolved = self.convolved_plainly(x) if x.is_meta else self._convolved(x)
        parts = [norm(part) for norm, part in zip(self.norms, convolved, strict=True)]
        return F.elu(torch.cat(parts, dim=1), inplace=True)

    def convolved_plainly(self, x: Tensor) -> list[Tensor]:
        """Each set's convolution, as long as x: the definition, which is slower (see bench/).

        Of what is padded or, transposed, cut off, one sample more is at the right.
        """
        if self.transposed:
            return [centre_crop(convolution(x), x.shape[-1]) for convolution in self.sets]
        return [
            convolution(F.pad(x, ((size - 1) // 2, size // 2)))
            for convolution, size in zip(self.sets, self.sizes, strict=True)
        ]

    def _convolved(self, x: Tensor) -> Sequence[Tensor]:
        """The same through spectra, all sets at once: shorter filters amid zeros."""
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
        """How many samples before its own a result of such a filter depends on."""
        return size // 2 if self.transposed else (size - 1) // 2


def check(given: Mapping[str, Any]) -> None:
    """Whether there is an `MRCAE` of these arguments.

    Raises:
        ValueError: if one is out of its range, or all together make an absurdly large model.
    """
    argument_checks.check_ranges(given, COUNTS, {})
    sizes = given["kernel_sizes"]
    if not isinstance(sizes, (list, tuple)) or not sizes:
        raise ValueError(f"kernel_sizes is {sizes!r}; expected some, such as {KERNEL_SIZES}.")
    for size in sizes:
        argument_checks.check_count("kernel_sizes", size, 1, 2**16)
    argument_checks.check_size(n_weights(given), "filters or kernel_sizes")


def n_weights(given: Mapping[str, Any]) -> int:
    """How many weights an `MRCAE` of these arguments has.

    >>> n_weights(MRCAE().get_model_args())
    11163124
    """
    channels, filters = int(given["in_channels"]), int(given["filters"])
    sizes = given["kernel_sizes"]
    features = filters * len(sizes)
    taps = (channels + (N_LAYERS - 1) * features) * filters * sum(map(int, sizes))
    normalisations = N_LAYERS * 2 * features
    return taps + normalisations + (features + 1) * len(given["sources"]) * channels
