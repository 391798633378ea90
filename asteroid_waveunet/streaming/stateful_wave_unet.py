"""A WaveUNet that computes one hop after another, with a memory in each layer.

Each convolution remembers its last inputs, and each skip connection is delayed. No sample is
computed twice, and memory is constant. Signals have channels last, `(batch, time, channels)`:
on CPUs convolutions in that layout are fastest, nearly as fast as a matrix product.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from asteroid_waveunet.nn.wave_unet_blocks import LEAKY_SLOPE, LinearUpsampling, Upsampling
from asteroid_waveunet.streaming.interface import StreamableWaveUNet

__all__ = ["Memory", "StatefulWaveUNet", "polyphase"]


class Memory:
    """The last `length` samples of a signal, to prepend to the next block.

    Before the first block the signal is zero or, if `settled`, that block repeated.

    >>> memory = Memory(3, settled=True)
    >>> [memory.extend(torch.tensor(x)[None, :, None]).flatten().tolist() for x in ([1, 2], [3])]
    [[2, 1, 2, 1, 2], [2, 1, 2, 3]]
    """

    def __init__(self, length: int, settled: bool):
        self.length = length
        self.settled = settled
        self.held: Tensor | None = None

    def extend(self, new: Tensor) -> Tensor:
        """`(batch, n, channels)` -> `(batch, length + n, channels)`."""
        if self.length == 0:
            return new
        if self.held is None:
            batch_size, _, channels = new.shape
            self.held = new.new_zeros(batch_size, self.length, channels)
            if self.settled:
                times = -(-self.length // new.shape[1])
                self.held = new.repeat(1, times, 1)[:, -self.length :]
        extended = torch.cat((self.held, new), dim=1)
        last = extended[:, -self.length :]
        # A short view would keep the whole block alive; a long one saves a copy.
        self.held = last if self.length > new.shape[1] else last.clone()
        return extended


def polyphase(kernel: Tensor, taps: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Merge upsampling by two and a convolution into one convolution at the low rate.

    The upsampled signal is `own @ x[i]` at the even position 2i and
    `before @ x[i - 1] + after @ x[i]` at the odd position 2i - 1. Each tap of the kernel is
    added to the taps of the samples that it sees.

    Args:
        kernel: `(out, in, k)`, to be applied to the upsampled signal.
        taps: before, own and after, `(in, in)` each; see `wave_unet_blocks.interpolation_taps`.
    Returns:
        `(2 * out, in, (k + 1) // 2 + 1)`: for each sample the outputs at the positions 2i - 1
        and 2i.
    """
    before, own, after = taps
    n_out, n_in, n_taps = kernel.shape
    reach = (n_taps + 1) // 2
    phases = kernel.new_zeros(2, n_out, n_in, reach + 1)
    for phase, newest in zip(phases, (-1, 0), strict=True):
        for age, tap in enumerate(kernel.unbind(-1)[::-1]):
            sample, between = divmod(newest - age, 2)
            if between:
                phase[..., reach + sample] += tap @ before
                phase[..., reach + sample + 1] += tap @ after
            else:
                phase[..., reach + sample] += tap @ own
    return phases.flatten(0, 1)


class Convolution:
    """A causal convolution `(batch, n, in)` -> `(batch, n, out)`, delayed by `wait` samples.

    It remembers its last `kernel - 1 + wait` inputs.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, settled: bool, wait: int = 0):
        self.weight = weight[:, :, None].clone(memory_format=torch.channels_last)
        self.bias = None if bias is None else bias.clone()
        self.wait = wait
        self.memory = Memory(weight.shape[-1] - 1 + wait, settled)

    def __call__(self, x: Tensor) -> Tensor:
        extended = self.memory.extend(x)
        return self.convolve(extended[:, : extended.shape[1] - self.wait])

    def convolve(self, x: Tensor) -> Tensor:
        """`(batch, n + kernel - 1, in)` -> `(batch, n, out)`."""
        image = x[:, None].permute(0, 3, 1, 2)  # (batch, in, 1, time), channels last
        return F.conv2d(image, self.weight, self.bias).permute(0, 2, 3, 1)[:, 0]

    def joined(self, pairs: Tensor) -> Tensor:
        """Outputs in pairs, `(batch, n, 2 * out)`, one after another: `(batch, 2n, out)`."""
        return pairs.unflatten(-1, (2, -1)).flatten(1, 2)


class UpsampledConvolution:
    """Upsampling and convolution at the low rate, `(batch, n, in)` -> `(batch, 2n, out)`.

    See `polyphase`.
    """

    def __init__(
        self, upsampling: Upsampling, weight: Tensor, dtype: torch.dtype, settled: bool = True
    ):
        before, own, after = (tap.to(weight) for tap in upsampling.taps)
        low = polyphase(weight, (before, own, after))
        self.convolution = Convolution(low.to(dtype), None, settled)

    def __call__(self, x: Tensor, start: int, end: int | None) -> Tensor:
        return self.convolution.joined(self.convolution(x))


class PaddedUpsampledConvolution(UpsampledConvolution):
    """Upsampling and convolution with same padding, `(batch, n, in)` -> `(batch, 2n, out)`.

    At the ends of a track zeros lie between the samples of the low rate, so `polyphase` does not
    apply: the outputs that depend on them are computed at the high rate.
    """

    def __init__(self, upsampling: Upsampling, weight: Tensor, dtype: torch.dtype):
        super().__init__(upsampling, weight, dtype, settled=False)
        self.upsampling = copy.deepcopy(upsampling).to(dtype)
        self.repeats_last = isinstance(upsampling, LinearUpsampling)
        self.high = Convolution(weight.to(dtype), None, settled=False)

    def __call__(self, x: Tensor, start: int, end: int | None) -> Tensor:
        """`start`: index of the upsampled hop. `end`: length of the upsampled track, if known."""
        extended = self.convolution.memory.extend(x)
        outputs = self.convolution.joined(self.convolution.convolve(extended))
        taps = self.high.memory.length + 1
        at_ends = [(-1, taps)] if end is None else [(-1, taps), (end - 1, end + taps)]
        for first, beyond in at_ends:
            # Of whole pairs: outputs 2i and 2i + 1 of the hop depend on its sample i and earlier.
            i = max(0, first - start) // 2
            j = min(outputs.shape[1], beyond - start + 1) // 2
            if i < j:
                within = extended[:, i : j + self.convolution.memory.length]
                outputs[:, 2 * i : 2 * j] = self._at_high_rate(within, start + 2 * i, end)
        return outputs

    def _at_high_rate(self, x: Tensor, start: int, end: int | None) -> Tensor:
        """`(batch, reach + n, in)` -> `(batch, 2n, out)`, the outputs from index `start` on."""
        reach, past = self.convolution.memory.length, self.high.memory.length
        if end is not None and self.repeats_last:
            last = (end - start - 3) // 2 + reach  # of the track's samples
            if 0 <= last < x.shape[1] - 1:
                x = torch.cat((x[:, : last + 1], x[:, last:-1]), dim=1)
        upsampled = self.upsampling(x.mT).mT[:, 2 * reach - past - 1 : -1].contiguous()
        return self.high.convolve(zeroed_outside(upsampled, start - past, end))


def zeroed_outside(x: Tensor, start: int, end: int | None) -> Tensor:
    """Zero the samples outside `[0, end)`, as same padding does.

    Args:
        x: `(batch, time, channels)`, its first sample at index `start`; changed in place.
    """
    x[:, : max(0, -start)] = 0
    if end is not None:
        x[:, max(0, end - start) :] = 0
    return x


class StatefulWaveUNet:
    """A copy of a `WaveUNet` that computes one hop after another; `memories` is its state.

    Args:
        model: its weights are copied.
        dtype: to compute in. Default: the model's. The output layer computes in float32 or
            better, and the mixture is never rounded, so that a difference model's estimates
            sum to it.

    The past before the first hop is silence. With context, a first hop of silence settles every
    layer: its response to silence is constant or, after transposed convolutions, periodic in the
    step, the length of that hop. With same padding, every layer starts with zeros.
    """

    def __init__(self, model: StreamableWaveUNet, dtype: torch.dtype | None = None):
        own = model.bottleneck.weight.dtype
        self.dtype = own if dtype is None else dtype
        self.exact = torch.promote_types(own, torch.float32)
        self.device = model.bottleneck.weight.device
        self.geometry = model.geometry
        self.head = model.head
        self.context = bool(model.get_model_args()["context"])
        self.position = 0
        with torch.no_grad():
            self._copy_weights(model)

    def _copy_weights(self, model: StreamableWaveUNet) -> None:
        delays = self.geometry.delays
        down: Any = model.down  # the elements of a ModuleList are untyped
        up: Any = reversed(model.up)
        self.down = [self._convolution(block.conv.weight, block.conv.bias) for block in down]
        self.bottleneck = self._convolution(model.bottleneck.weight, model.bottleneck.bias)
        self.skips, self.below = [], []
        below = UpsampledConvolution if self.context else PaddedUpsampledConvolution
        for level, block in enumerate(up):
            width = down[level].conv.out_channels
            of_skip, of_below = block.conv.weight.tensor_split((width,), dim=1)
            wait = delays.upsampled[level] - delays.skips[level]
            self.skips.append(self._convolution(of_skip, block.conv.bias, wait))
            self.below.append(below(block.upsampling, of_below, self.dtype))
        self.mixture = Memory(self.geometry.lookahead, self.context)
        self.head_convolutions = []
        if self.head.n_predicted:
            weight, bias = (p.to(self.exact) for p in self.head.conv.parameters())
            of_mixture, of_features = weight.tensor_split((self.head.channels,), dim=1)
            self.head_convolutions = [
                Convolution(of_mixture, None, self.context, wait=delays.outputs[0]),
                Convolution(of_features, bias, self.context),
            ]

    @property
    def memories(self) -> list[Memory]:
        """The complete state; `held` of each memory is None before the first hop."""
        convolutions = [*self.down, self.bottleneck, *self.skips, *self.head_convolutions]
        convolutions += [below.convolution for below in self.below]
        return [self.mixture, *(convolution.memory for convolution in convolutions)]

    def _convolution(self, weight: Tensor, bias: Any, wait: int = 0) -> Convolution:
        return Convolution(weight.to(self.dtype), bias.to(self.dtype), self.context, wait)

    def __call__(self, hop: Tensor, end: int | None = None) -> Tensor:
        """Separate the next hop; the estimates are delayed by `geometry.lookahead`.

        Args:
            hop: `(batch, channels, n)`, n a multiple of the step.
            end: length of the track once known, a multiple of the step: same padding begins
                there.
        Returns:
            `(batch, n_src, channels, n)`.
        """
        delays = self.geometry.delays
        start, self.position = self.position, self.position + hop.shape[-1]

        def bounds(level: int, delay: int) -> tuple[int, int | None]:
            """Return the start of the hop and the end of the track at a level's rate."""
            return (start >> level) - delay, None if end is None else end >> level

        def inside(x: Tensor, level: int, delay: int) -> Tensor:
            return x if self.context else zeroed_outside(x, *bounds(level, delay))

        mixture = hop.to(self.exact).mT.contiguous()
        x, skips = mixture.to(self.dtype), []
        for level, convolution in enumerate(self.down):
            skip = F.leaky_relu_(convolution(x), LEAKY_SLOPE)
            skips.append(inside(skip, level, delays.skips[level]))
            x = skip[:, delays.phases[level] :: 2]
        x = F.leaky_relu_(self.bottleneck(x), LEAKY_SLOPE)
        x = inside(x, len(self.down), delays.bottleneck)
        for level in reversed(range(len(self.down))):
            below = self.below[level](x, *bounds(level, delays.upsampled[level]))
            x = self.skips[level](skips.pop()).add_(below)
            x = inside(F.leaky_relu_(x, LEAKY_SLOPE), level, delays.outputs[level])
        delayed = self.mixture.extend(mixture)[:, : hop.shape[-1]]
        return self.head.estimates(delayed.mT, self._outputs(mixture, x))

    def _outputs(self, mixture: Tensor, features: Tensor) -> Tensor | None:
        """Apply the output convolution, `(batch, outputs, n)`, if the head has one."""
        if not self.head_convolutions:
            return None
        of_mixture, of_features = self.head_convolutions
        return of_mixture(mixture).add_(of_features(features.to(self.exact))).mT
