"""Building blocks of the Wave-U-Net: down block, up block, upsampling, output head.

Shapes are `(batch, channels, time)` throughout. `context=True` means valid convolutions
(no padding, the time axis shrinks), `context=False` same padding.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "DownBlock",
    "LearnedUpsampling",
    "LinearUpsampling",
    "OutputHead",
    "TransposedUpsampling",
    "UpBlock",
    "centre_crop",
    "conv1d",
    "glorot_uniform_",
]

LEAKY_SLOPE = 0.2


def centre_crop(x: Tensor, length: int) -> Tensor:
    """Crop to the middle `length` samples; an odd difference drops the extra one at the end.

    >>> centre_crop(torch.arange(6), 3)
    tensor([1, 2, 3])
    """
    start = (x.shape[-1] - length) // 2
    return x[..., start : start + length]


def glorot_uniform_(weight: Tensor) -> Tensor:
    """Fill an `(out, in, kernel)` weight from U(-l, l), l = sqrt(6 / (kernel * (in + out)))."""
    return nn.init.xavier_uniform_(weight)


def conv1d(in_channels: int, out_channels: int, kernel_size: int, context: bool) -> nn.Conv1d:
    """Build a convolution initialised like the reference: Glorot-uniform kernel, zero bias.

    Same padding of an even kernel has its extra zero on the right, as in TensorFlow.
    """
    padding = "valid" if context else "same"
    conv = nn.Conv1d(in_channels, out_channels, kernel_size, padding=padding)
    glorot_uniform_(conv.weight)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


def interleave(x: Tensor, between: Tensor) -> Tensor:
    """Interleave x[0], between[0], x[1], ...: `(..., n)` twice -> `(..., 2n)`."""
    return torch.stack((x, between), dim=-1).flatten(-2)


def polyphase(x: Tensor, pad: int) -> Tensor:
    """Move even and odd samples to channels: `(batch, c, 2n - pad)` -> `(batch, 2c, n)`.

    >>> polyphase(torch.tensor([[[0.0, 1.0, 2.0, 3.0, 4.0]]]), pad=1)
    tensor([[[0., 2., 4.],
             [1., 3., 0.]]])
    """
    return torch.cat((x[..., ::2], F.pad(x[..., 1::2], (0, pad))), dim=1)


def decimated_conv1d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute `F.conv1d(x, weight, bias)[..., ::2]` without the dropped samples.

    Args:
        x: `(batch, in, 2n + kernel - 2)`, exactly the input of n outputs.
        weight: `(out, in, kernel)`.
    Returns:
        `(batch, out, n)`.

    y[2i] = sum_t w[t] x[2i + t] = sum_s w[2s] x[2(i + s)] + sum_s w[2s + 1] x[2(i + s) + 1]:
    a convolution at half the rate of the even and odd samples of x with those of w. It equals a
    convolution of stride 2, whose gradients are slower on a CPU (bench/train.py).
    """
    pad = weight.shape[-1] % 2
    return F.conv1d(polyphase(x, pad), polyphase(weight, pad), bias)


class DownBlock(nn.Module):
    """Convolution, LeakyReLU, decimation by two; the skip is taken before the decimation.

    `(batch, in, n)` -> skip `(batch, out, m - 2 * margin)` and `(batch, out, ceil(m / 2))`, where
    m is n with same padding and n - kernel + 1, an odd number, with context.

    Args:
        margin: samples at each end of the skip that the up block crops. The odd ones are not
            computed, because the decimation drops them too.

            even   0   2   4   6   8  10  12  14  16      all: the decimation keeps them
            odd              5   7   9  11                between the margins (here 4)
            skip           4 5 6 7 8 9 10 11 12
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, context: bool, margin: int = 0
    ):
        super().__init__()
        self.conv = conv1d(in_channels, out_channels, kernel_size, context)
        self.margin = margin

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self.margin:
            skip = F.leaky_relu_(self.conv(x), LEAKY_SLOPE)
            return skip, skip[..., ::2]
        even = self._decimated_conv(x)
        odd = self._decimated_conv(x[..., self.margin | 1 :][..., : x.shape[-1] - 2 * self.margin])
        # Both margins end at even samples or both at odd ones, so the skip has an odd length: the
        # interleaved pair has one sample more.
        within = even[..., (self.margin + 1) // 2 :][..., : odd.shape[-1]]
        pair = (odd, within) if self.margin % 2 else (within, odd)
        return interleave(*pair)[..., :-1], even

    def _decimated_conv(self, x: Tensor) -> Tensor:
        return F.leaky_relu_(decimated_conv1d(x, self.conv.weight, self.conv.bias), LEAKY_SLOPE)


def interpolation_taps(earlier: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the taps of an upsampling by two as `(channels, channels)` matrices.

        upsampled[2i - 1] = before @ x[i - 1] + after @ x[i]        upsampled[2i] = own @ x[i]

    Args:
        earlier: weight of the earlier neighbour in an interpolation, `(channels,)`.
    Returns:
        before, own, after.
    """
    return torch.diag(earlier), torch.eye(len(earlier)).to(earlier), torch.diag(1 - earlier)


class LinearUpsampling(nn.Module):
    """Double the rate; new samples are the mean of their neighbours.

    n -> 2n - 1 with context. With same padding n -> 2n: the last sample is repeated (TensorFlow
    1's resize, without half-pixel centres).

    >>> LinearUpsampling(1, context=False)(torch.tensor([[[1., 4., 2., 8.]]]))
    tensor([[[1.0000, 2.5000, 4.0000, 3.0000, 2.0000, 5.0000, 8.0000, 8.0000]]])
    """

    def __init__(self, channels: int, context: bool):
        super().__init__()
        self.context = context
        self.channels = channels

    @property
    def taps(self) -> tuple[Tensor, Tensor, Tensor]:
        """See `interpolation_taps`."""
        return interpolation_taps(torch.full((self.channels,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        following = torch.cat((x[..., 1:], x[..., -1:]), dim=-1)
        doubled = interleave(x, x + (following - x) * 0.5)
        return doubled[..., :-1] if self.context else doubled


class LearnedUpsampling(nn.Module):
    """Double the rate; new samples are w * earlier + (1 - w) * later, w learned per channel.

    w = sigmoid(weight) keeps new samples between their neighbours (section 3.2.4 of the paper).
    n -> 2n - 1 with context; n -> 2n with same padding, which appends a zero to the input.
    """

    def __init__(self, channels: int, context: bool):
        super().__init__()
        self.context = context
        self.weight = nn.Parameter(torch.empty(channels))
        limit = math.sqrt(3 / channels)  # Glorot-uniform of a vector, as in the reference
        nn.init.uniform_(self.weight, -limit, limit)

    @property
    def taps(self) -> tuple[Tensor, Tensor, Tensor]:
        """See `interpolation_taps`."""
        return interpolation_taps(torch.sigmoid(self.weight))

    def forward(self, x: Tensor) -> Tensor:
        w = torch.sigmoid(self.weight)[:, None]
        following = F.pad(x[..., 1:], (0, 1))
        doubled = interleave(x, w * x + (1 - w) * following)
        return doubled[..., :-1] if self.context else doubled


class TransposedUpsampling(nn.Module):
    """Double the rate by a transposed convolution over all channels.

    The strided transposed convolution that the paper argues against (section 3.1.1): even and
    odd samples have separate taps, so a constant input becomes alternating unless training finds
    matching taps. Kernel 3 and stride 2 as in linear interpolation, which is the special case of
    taps 1/2, 1, 1/2 on the diagonal. The convolution that follows has the bias.

    n -> 2n - 1 with context; n -> 2n with same padding, which appends a zero to the input.
    `weight` is `(in, out, 3)` as in `nn.ConvTranspose1d`, Glorot-uniform initially.
    """

    def __init__(self, channels: int, context: bool):
        super().__init__()
        self.context = context
        self.weight = nn.Parameter(torch.empty(channels, channels, 3))
        glorot_uniform_(self.weight)

    @property
    def taps(self) -> tuple[Tensor, Tensor, Tensor]:
        """See `interpolation_taps`; here with full matrices."""
        after, own, before = self.weight.transpose(0, 1).unbind(-1)
        return before, own, after

    def forward(self, x: Tensor) -> Tensor:
        beyond = 0 if self.context else 1
        return F.conv_transpose1d(x, self.weight, stride=2, padding=1, output_padding=beyond)


Upsampling = LinearUpsampling | LearnedUpsampling | TransposedUpsampling

UPSAMPLING: dict[str, type[Upsampling]] = {
    "linear": LinearUpsampling,
    "learned": LearnedUpsampling,
    "transposed": TransposedUpsampling,
}


class UpBlock(nn.Module):
    """Upsampling, concatenation [skip, upsampled], convolution, LeakyReLU.

    `(batch, in, n)` and a skip `(batch, skip, m)`, m the upsampled length -> `(batch, out, m)`,
    or m - kernel + 1 with context.
    """

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        out_channels: int,
        kernel_size: int,
        upsampling: str,
        context: bool,
    ):
        super().__init__()
        self.upsampling = UPSAMPLING[upsampling](in_channels, context)
        self.conv = conv1d(skip_channels + in_channels, out_channels, kernel_size, context)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = torch.cat((skip, self.upsampling(x)), dim=1)
        return F.leaky_relu_(self.conv(x), LEAKY_SLOPE)


class AudioClip(nn.Module):
    """Clip to [-1, 1] in evaluation only; in training, clipping would stop gradients."""

    def forward(self, x: Tensor) -> Tensor:
        return x if self.training else x.clamp(-1.0, 1.0)


ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "linear": AudioClip}


class OutputHead(nn.Module):
    """Map features `(batch, channels + filters, n)` to estimates `(batch, n_src, channels, m)`.

    The first `channels` features are the mixture itself. `"direct"` predicts every source;
    `"difference"` predicts all but the last, which is the mixture minus the others (section 3.2.1
    of the paper): the sources sum to the mixture.
    """

    def __init__(
        self,
        filters: int,
        channels: int,
        n_src: int,
        kernel_size: int,
        output: Literal["direct", "difference"],
        activation: str,
        context: bool,
    ):
        super().__init__()
        self.channels = channels
        self.difference = output == "difference"
        self.n_predicted = n_src - 1 if self.difference else n_src
        self.kernel_size = kernel_size
        self.context = context
        self.activation = ACTIVATIONS[activation]()
        self.clip = AudioClip()
        if self.n_predicted:
            # One convolution for all sources. Each source's part is initialised like a separate
            # convolution with fan-out `channels`, as in the reference.
            features = channels + filters
            self.conv = conv1d(features, self.n_predicted * channels, kernel_size, context)
            for part in self.conv.weight.data.split(channels):
                glorot_uniform_(part)

    def forward(self, features: Tensor) -> Tensor:
        length = features.shape[-1] - (self.kernel_size - 1 if self.context else 0)
        mixture = centre_crop(features[:, : self.channels], length)
        return self.estimates(mixture, self.conv(features) if self.n_predicted else None)

    def estimates(self, mixture: Tensor, outputs: Tensor | None) -> Tensor:
        """Compute estimates from the mixture `(batch, channels, m)` and the convolved features."""
        mixture = mixture[:, None]
        if outputs is None:
            return self.clip(mixture)
        predicted = self.activation(outputs).unflatten(1, (self.n_predicted, self.channels))
        if not self.difference:
            return predicted
        last = self.clip(mixture - predicted.sum(dim=1, keepdim=True))
        return torch.cat((predicted, last), dim=1)
