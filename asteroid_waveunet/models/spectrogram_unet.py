"""Spectrogram U-Net (U7 and U7a), a baseline of the comparison."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asteroid_waveunet._asteroid import register
from asteroid_waveunet.models import argument_checks
from asteroid_waveunet.models.per_channel import PerChannel
from asteroid_waveunet.nn import meta
from asteroid_waveunet.nn.geometry import LengthRule
from asteroid_waveunet.nn.stft import STFT, check_sizes
from asteroid_waveunet.nn.wave_unet_blocks import LEAKY_SLOPE, glorot_uniform_

__all__ = ["MaskUNet", "SpectrogramUNet"]

KERNEL_SIZE = 5
"""Kernel size of all convolutions, in frequency and time."""

N_DROPOUTS = 3
"""Number of up blocks, from the bottom, with dropout 0.5."""

MAX_WINDOW = 2**12
"""The STFT filters of this size take 134 MB, and 0.7 GB to compute. They are not stored in files,
so without a limit a file could request any size before its weights are checked."""

COUNTS = {
    "in_channels": (1, 2**16),
    "window": (4, MAX_WINDOW),
    "hop": (1, MAX_WINDOW),
    "levels": (1, 11),
    "initial_filters": (1, 2**16),
}


@register
class SpectrogramUNet(PerChannel):
    """The spectrogram U-Net of Jansson et al. (ISMIR 2017) [1]: one mask per source.

    The defaults are the baseline U7 of [2], trained with the mean squared error of the audio, and
    U7a, trained with `losses.MagnitudeL1`. One U-Net per source maps log(1 + |X|) of the mixture's
    spectrum X, without its last frequency, to a mask in [0, 1]. The estimate is the inverse STFT
    of mask * X: it keeps the mixture's phase, and the last frequency is halved.

    U7 is mono; several channels are processed independently, see `PerChannel`.

    The number of frames is a multiple of 2 ** levels. The first and last window - hop samples are
    context, because their reconstruction is not exact: training excerpts are 98560 samples (128
    frames), of which 98048 are estimated ([2] scores the rest as well).

    Details that [2] leaves to its framework are the authors' code's: see `ShiftedBatchNorm`;
    convolutions before it have a bias; weights are Glorot-uniform initially. With its recorded
    variables, outputs are equal within 1e-5.

    Args:
        sources: names of the estimates, in order, one or more.
        in_channels: channels of mixture and estimates, 1 to 65536.
        sample_rate: of mixture and estimates, in Hz, 1 to 1000000.
        window: frame length in samples, a multiple of 2 ** (levels + 1), at most 4096.
        hop: samples between the starts of frames, 1 to three quarters of the window.
        levels: number of down blocks, 1 to 11; each halves frequencies and frames.
        initial_filters: of the first convolution, 1 to 65536; doubled at each level.
        norm_decay: of the moving averages that batch normalisation uses in evaluation, 0 to below
            1. The authors' 0.999 needs thousands of training steps; for hundreds, take 0.9.

    Raises:
        ValueError: if an argument is out of its range, or the model has more than 2^29 weights.

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
        norm_decay: float = 0.999,
    ):
        given = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        argument_checks.check_ranges(given, COUNTS, {})
        _check_window(window, hop, levels)
        if not 0 <= norm_decay < 1:
            raise ValueError(f"norm_decay is {norm_decay}; expected a decay from 0 to below 1.")
        meta.check_size(SpectrogramUNet, given)
        super().__init__(given)
        self.geometry = LengthRule.of_frames(window, hop, 2**levels)
        # A strided convolution sees 1 sample before and 3 after the two that it merges, a
        # transposed one vice versa: 4 frames per level, at that level's rate.
        self.reach = 4 * (2**levels - 1) * hop + window
        self.stft = STFT(window, hop)
        self.networks = nn.ModuleList(
            MaskUNet(levels, initial_filters, norm_decay) for _ in sources
        )

    def _mono(self, mixture: Tensor) -> Tensor:
        spectra = self.stft.analyse(mixture)
        features = torch.log1p(self.stft.magnitudes(spectra)[:, None, :-1])
        masks = torch.cat([network(features) for network in self.networks], dim=1)
        masks = F.pad(masks, (0, 0, 0, 1), value=0.5)
        masked = spectra[:, None] * torch.cat((masks, masks), dim=2)
        context = self.geometry.context
        estimates = self.stft.synthesise(masked)
        return estimates[..., context : estimates.shape[-1] - context]


class MaskUNet(nn.Module):
    """U-Net from features `(batch, 1, frequencies, frames)` to a mask in [0, 1] of this shape.

    Frequencies and frames must be multiples of 2 ** levels.
    """

    def __init__(self, levels: int, initial_filters: int, norm_decay: float = 0.999):
        super().__init__()
        filters = [initial_filters * 2**level for level in range(levels)]
        self.down = nn.ModuleList(
            Halving(n_in, n_out, norm_decay) for n_in, n_out in itertools.pairwise([1, *filters])
        )
        # Input: features from below and, except at the lowest level, as many from the skip.
        *ins, last = [filters[-1], *(2 * n for n in filters[-2::-1])]
        self.up = nn.ModuleList(
            nn.Sequential(
                Doubling(n_in, n_out), ShiftedBatchNorm(n_out, norm_decay), nn.ReLU(inplace=True)
            )
            for n_in, n_out in zip(ins, filters[-2::-1], strict=True)
        )
        self.mask = Doubling(last, 1)

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


class ShiftedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation with a learned shift and no scale, as tf.contrib.layers.batch_norm.

    Epsilon is 0.001. In evaluation it uses moving averages, m <- decay * m + (1 - decay) * batch.
    """

    def __init__(self, channels: int, decay: float):
        super().__init__(channels, eps=1e-3, momentum=1 - decay, affine=False)
        self.bias = nn.Parameter(torch.zeros(channels))


class Halving(nn.Module):
    """Convolution of stride 2, batch normalisation, LeakyReLU: `(.., 2n, 2m)` -> `(.., n, m)`.

    With TensorFlow's same padding: of three zeros, one before and two behind.
    """

    def __init__(self, in_channels: int, out_channels: int, norm_decay: float = 0.999):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, KERNEL_SIZE, stride=2)
        self.norm = ShiftedBatchNorm(out_channels, norm_decay)
        _initialise(self.conv)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(F.pad(x, (1, 2, 1, 2))))
        return F.leaky_relu_(x, LEAKY_SLOPE)


class Doubling(nn.Module):
    """Transposed convolution of stride 2, `(.., n, m)` -> `(.., 2n, 2m)`: transposes `Halving`."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, KERNEL_SIZE, stride=2, padding=1)
        _initialise(self.conv)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[..., :-1, :-1]


def _initialise(conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
    glorot_uniform_(conv.weight)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]


def _check_window(window: int, hop: int, levels: int) -> None:
    multiple = 2 ** (levels + 1)
    if window % multiple:
        raise ValueError(
            f"window is {window}; expected a multiple of {multiple} for {levels} levels, each of "
            "which halves the frequencies."
        )
    check_sizes(window, hop)
