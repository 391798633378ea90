"""One hop of a WaveUNet as a function of mixture and state, for export."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asteroid_waveunet.streaming.interface import StreamableWaveUNet
from asteroid_waveunet.streaming.stateful_wave_unet import Convolution, Memory, StatefulWaveUNet

__all__ = ["ChannelsFirst", "ExportedStep", "FromSilence", "FunctionalStep"]


@dataclass(frozen=True)
class ExportedStep:
    """Facts that a program needs to run an exported step.

    Attributes:
        sources: names of the estimates, in order.
        channels: number of channels of mixture and estimates.
        sample_rate: of mixture and estimates, in Hz.
        batch_size: number of parallel tracks.
        hop: samples per call.
        delay: samples by which estimates lag behind the mixture of their call. The first
            `delay` estimates precede the track; feed `delay` zeros after it to get its last
            estimates.
        state_shapes: of the state tensors, in order, each `(batch, channels, samples)`.
    """

    sources: tuple[str, ...]
    channels: int
    sample_rate: int
    batch_size: int
    hop: int
    delay: int
    state_shapes: tuple[tuple[int, int, int], ...]

    @property
    def latency(self) -> int:
        """Maximum delay in samples: after n samples, at least n - latency have estimates."""
        return self.delay + self.hop - 1

    @property
    def metadata(self) -> dict[str, str]:
        """All attributes but the shapes, which the file stores itself; one source per line."""
        values = {**asdict(self), "latency": self.latency, "sources": "\n".join(self.sources)}
        del values["state_shapes"]
        return {name: str(value) for name, value in values.items()}

    def first_arguments(self) -> tuple[Tensor, list[Tensor]]:
        """Return a silent mixture and the initial state."""
        mixture = torch.zeros(self.batch_size, self.channels, self.hop)
        return mixture, [torch.zeros(shape) for shape in self.state_shapes]


class FromSilence(Convolution):
    """A `Convolution` that remembers its input minus its input during silence.

    So the state before a track is zero for any model, and the output is unchanged:

        W * x + b = W * (x - silence) + (W * silence + b)

    Args:
        convolution: after one hop of silence.
    """

    def __init__(self, convolution: Convolution):
        weight, bias, held = convolution.weight, convolution.bias, convolution.memory.held
        silence = weight.new_zeros(weight.shape[1]) if held is None else held[0, 0]
        response = (weight.double().sum(dim=(2, 3)) @ silence.double()).to(weight)
        bias = response if bias is None else bias + response
        super().__init__(weight[:, :, 0], bias, settled=False, wait=convolution.wait)
        self.silence = silence.clone() if silence.any() else None

    def __call__(self, x: Tensor) -> Tensor:
        return super().__call__(x if self.silence is None else x - self.silence)


class ChannelsFirst(FromSilence):
    """`FromSilence` in the layout `(batch, channels, time)`, which is fastest in ONNX runtimes.

    The runtimes cancel the transpositions between two convolutions.
    """

    def __init__(self, convolution: Convolution):
        super().__init__(convolution)
        self.weight = self.weight[:, :, 0].contiguous()

    def convolve(self, x: Tensor) -> Tensor:
        return F.conv1d(x.mT, self.weight, self.bias).mT

    def joined(self, pairs: Tensor) -> Tensor:
        phases = pairs.mT.unflatten(1, (2, -1))  # (batch, 2, out, n)
        return phases.permute(0, 2, 3, 1).flatten(2).mT


class FunctionalStep(nn.Module):
    """`StatefulWaveUNet` with explicit state: `(mixture, state)` -> `(estimates, next state)`.

    All tensors are `(batch, channels, samples)`, except the estimates,
    `(batch, n_src, channels, hop)`.

    The outputs of `model(track)` end `remainder` samples after a multiple of the step, counted
    from the track's start, but hops fed from its start end at multiples. So the estimates
    that a hop completes end at

        end of the hop - delay = step * k + remainder,    delay >= lookahead.

    The mixture is delayed to get the smallest such `delay`.

    Args:
        kind: class of the convolutions, `FromSilence` or `ChannelsFirst`.
    """

    def __init__(self, model: StreamableWaveUNet, batch_size: int, kind: type[FromSilence]):
        super().__init__()
        geometry = model.geometry
        wait = -(geometry.lookahead + geometry.remainder) % geometry.step
        self.delay = geometry.lookahead + wait
        self.waiting = Memory(wait, settled=False)
        self.step = StatefulWaveUNet(model)
        self.step(torch.zeros(1, model.in_channels, geometry.step))
        convolutions = self._replace_convolutions(kind)
        for index, convolution in enumerate(convolutions):
            for name in ("weight", "bias", "silence"):  # buffers move with to(device)
                self.register_buffer(f"{name}_{index}", getattr(convolution, name))
        widths = [(self.waiting, model.in_channels), (self.step.mixture, model.in_channels)]
        widths += [(each.memory, each.weight.shape[1]) for each in convolutions]
        self.memories = [memory for memory, _ in widths if memory.length]
        self.state_shapes = tuple((batch_size, n, m.length) for m, n in widths if m.length)

    def _replace_convolutions(self, kind: type[FromSilence]) -> list[Convolution]:
        """Replace all convolutions of the step by another kind; return them."""
        step = self.step
        step.down = [kind(convolution) for convolution in step.down]
        step.bottleneck = kind(step.bottleneck)
        step.skips = [kind(convolution) for convolution in step.skips]
        step.head_convolutions = [kind(convolution) for convolution in step.head_convolutions]
        for upsampled in step.below:
            upsampled.convolution = kind(upsampled.convolution)
        below = [upsampled.convolution for upsampled in step.below]
        return [*step.down, step.bottleneck, *step.skips, *below, *step.head_convolutions]

    def forward(self, mixture: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        for memory, held in zip(self.memories, state, strict=True):
            memory.held = held.mT
        delayed = self.waiting.extend(mixture.mT)[:, : mixture.shape[-1]]
        estimates = self.step(delayed.mT)
        return estimates, [memory.held.mT for memory in self.memories if memory.held is not None]

    def initial_state(self) -> list[Tensor]:
        return [torch.zeros(shape) for shape in self.state_shapes]
