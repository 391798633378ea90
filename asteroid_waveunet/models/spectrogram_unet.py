"""The spectrogram U-Net that the paper compares itself with: U7 and U7a."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asteroid_waveunet._asteroid import register
from asteroid_waveunet.models import argument_checks
from asteroid_waveunet.models.base import PerChannel
from asteroid_waveunet.nn.geometry import LengthRule
from asteroid_waveunet.nn.stft import Spectrum, check_sizes
from asteroid_waveunet.nn.wave_unet_blocks import LEAKY_SLOPE, glorot_uniform_

__all__ = ["MaskUNet", "SpectrogramUNet", "n_weights"]

KERNEL_SIZE = 5
"""Of all convolutions, in frequency and in time."""

N_DROPOUTS = 3
"""Up blocks, from the bottom, whose results are dropped by half in training."""

MAX_WINDOW = 2**12
"""Whose filters take 134 MB, and 0.7 GB to compute. A file holds none of them: this number alone
would make them, of any size, before its weights are looked at."""

COUNTS = {
    "in_channels": (1, 2**16),
    "window": (4, MAX_WINDOW),
    "hop": (1, MAX_WINDOW),
    "levels": (1, 11),
    "initial_filters": (1, 2**16),
}


@register
class SpectrogramUNet(PerChannel):
    """The spectrogram U-Net of Jansson et al. (ISMIR 2017) [1]: a mask for each source.

    As [2] compares itself with it: the defaults are its U7, which is trained with the mean square
    error of the audio, and U7a, with `losses.MagnitudeL1`. One U-Net a source looks at
    log(1 + |X|) of the mixture's spectrum X without its last frequency, and gives a mask in
    [0, 1]. The source is the inverse of mask * X: the mixture's phase is kept, and the last
    frequency by half.

    U7 is mono. More channels go through it one by one; see `PerChannel`.

    Frames come in multiples of 2 ** levels, and the first and last window - hop samples of them
    are context, since they cannot be put together exactly: excerpts of the comparison are 98560
    samples, 128 frames, of which 98048 are estimated (those of [2] score the rest as well).

    What [2] leaves to its framework is PyTorch's: batch normalisation with momentum 0.1 and
    epsilon 1e-5, before which convolutions have no bias. Weights start Glorot-uniform.

    Args:
        sources: names of the estimates, in order. Any number, one included.
        in_channels: channels of mixture and estimates, 1 to 65536.
        sample_rate: of mixture and estimates, in Hz, 1 to 1000000.
        window: samples of a frame, a multiple of 2 ** (levels + 1), at most 4096.
        hop: samples between the beginnings of frames, 1 to three quarters of the window.
        levels: number of down blocks, 1 to 11; each halves frequencies and frames.
        initial_filters: of the first convolution, 1 to 65536; each level has twice as many.

    Raises:
        ValueError: if an argument is out of its range, or all make more than 2^29 weights.

    >>> model = SpectrogramUNet(levels=2, initial_filters=4).eval()
    >>> model.geometry.fit(98048)
    Lengths(input=98560, output=98048)
    >>> model(torch.randn(3, 1, 10000)).shape
    torch.Size([3, 2, 10000])

    [1] Jansson et al. Singing voice separation with deep U-Net convolutional networks. ISMIR 2017.
    [2] Stoller, Ewert, Dixon. Wave-U-Net. ISMIR 2018, arXiv 1806.03185, section 4.
    """

    def __init__(
        self,
        sources: Sequence[str] = ("accompaniment", "vocals"),
        in_channels: int = 1,
        sample_rate: float = 8192,
        window: int = 1024,
        hop: int = 768,
        levels: int = 6,
        initial_filters: int = 16,
    ):
        given = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        check(given)
        super().__init__(given)
        self.geometry = LengthRule.of_frames(window, hop, 2**levels)
        # A convolution sees 1 sample before and 3 after the two that it makes one of, a transposed
        # one as many the other way: 4 frames a level, of that level's rate.
        self.reach = 4 * (2**levels - 1) * hop + window
        self.spectrum = Spectrum(window, hop)
        self.networks = nn.ModuleList(MaskUNet(levels, initial_filters) for _ in sources)

    def _mono(self, mixture: Tensor) -> Tensor:
        spectra = self.spectrum.analyse(mixture)
        features = torch.log1p(self.spectrum.magnitudes(spectra)[:, None, :-1])
        masks = torch.cat([network(features) for network in self.networks], dim=1)
        masks = F.pad(masks, (0, 0, 0, 1), value=0.5)
        masked = spectra[:, None] * torch.cat((masks, masks), dim=2)
        context = self.geometry.context
        estimates = self.spectrum.synthesise(masked)
        return estimates[..., context : estimates.shape[-1] - context]


class MaskUNet(nn.Module):
    """`(batch, 1, frequencies, frames)` of features -> a mask of the same shape, 0 to 1.

    Frequencies and frames must be multiples of 2 ** levels.
    """

    def __init__(self, levels: int, initial_filters: int):
        super().__init__()
        filters = [initial_filters * 2**level for level in range(levels)]
        self.down = nn.ModuleList(
            Halving(n_in, n_out) for n_in, n_out in itertools.pairwise([1, *filters])
        )
        # What comes from below, and at all levels but the lowest as much of the skip.
        *ins, last = [filters[-1], *(2 * n for n in filters[-2::-1])]
        self.up = nn.ModuleList(
            nn.Sequential(Doubling(n_in, n_out), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True))
            for n_in, n_out in zip(ins, filters[-2::-1], strict=True)
        )
        self.mask = Doubling(last, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        skips.pop()
        for index, up in enumerate(self.up):
            x = torch.cat((skips.pop(), up(x)), dim=1)
            if index < N_DROPOUTS:
                x = F.dropout(x, 0.5, self.training)
        return torch.sigmoid(self.mask(x))


class Halving(nn.Module):
    """Convolution of stride 2, batch normalisation, LeakyReLU: `(.., 2n, 2m)` -> `(.., n, m)`.

    TensorFlow's same padding: of the three zeros that are missing, one is before and two behind.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, KERNEL_SIZE, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        glorot_uniform_(self.conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(F.pad(x, (1, 2, 1, 2))))
        return F.leaky_relu_(x, LEAKY_SLOPE)


class Doubling(nn.Module):
    """Transposed convolution of stride 2, `(.., n, m)` -> `(.., 2n, 2m)`: `Halving`'s transpose."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = False):
        super().__init__()
        self.conv = nn.ConvTranspose2d(
            in_channels, out_channels, KERNEL_SIZE, stride=2, padding=1, bias=bias
        )
        glorot_uniform_(self.conv.weight)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[..., :-1, :-1]


def check(given: Mapping[str, Any]) -> None:
    """Whether there is a `SpectrogramUNet` of these arguments.

    Raises:
        ValueError: if one is out of its range, or all together make an absurdly large model.
    """
    argument_checks.check_ranges(given, COUNTS, {})
    multiple = 2 ** (given["levels"] + 1)
    if given["window"] % multiple:
        raise ValueError(
            f"window is {given['window']}; expected a multiple of {multiple}, so that half of it "
            f"can be halved {given['levels']} times (levels)."
        )
    check_sizes(given["window"], given["hop"])
    argument_checks.check_size(n_weights(given), "levels or initial_filters")


def n_weights(given: Mapping[str, Any]) -> int:
    """How many weights a `SpectrogramUNet` of these arguments has.

    >>> n_weights(SpectrogramUNet().get_model_args())
    19643618
    """
    filters = [int(given["initial_filters"]) * 2**level for level in range(given["levels"])]
    down = list(itertools.pairwise([1, *filters]))
    ups = filters[-2::-1]
    up = list(zip([filters[-1], *(2 * n for n in ups)], [*ups, 1], strict=True))
    convolutions = sum(KERNEL_SIZE**2 * n_in * n_out for n_in, n_out in (*down, *up))
    normalisations = 2 * (sum(filters) + sum(ups))
    return len(given["sources"]) * (convolutions + normalisations + 1)
