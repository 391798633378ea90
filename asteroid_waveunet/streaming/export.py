"""The network hop by hop as a file for other programs: ONNX or TorchScript.

Each call takes the next `hop` samples of the mixture and what the call before it returned as
state, zeros before a track. Joined, the estimates of all calls are the track's, `delay`
samples late.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asteroid_waveunet.file_utils import replacing
from asteroid_waveunet.nn.geometry import Geometry
from asteroid_waveunet.streaming.stateful_wave_unet import Convolution, Memory, Step
from asteroid_waveunet.streaming.wave_unet_stream import Stream

if TYPE_CHECKING:
    from asteroid_waveunet.models.wave_unet import WaveUNet

__all__ = ["FORMATS", "ExportedStep", "export_step"]

DEFAULT_HOP = 2**14
"""Samples per call if none are asked for. Each call reads all weights and copies all state: a
track takes M4 1.6 times as long in hops of a quarter of this, and 0.9 times in four times it."""

TOLERANCE = 1e-5
"""By how much an exported step's estimates may differ from the model's; full scale is 1."""

OPSET = 18
"""The version of ONNX's operators that torch's exporter is written for; others it converts to."""

Run = Callable[[Tensor, list[Tensor]], tuple[Tensor, list[Tensor]]]
"""`(mixture, state)` -> `(estimates, next state)`."""


@dataclass(frozen=True)
class ExportedStep:
    """What a program that runs an exported step must know.

    Attributes:
        sources: names of the estimates, in order.
        channels: of mixture and estimates.
        sample_rate: of mixture and estimates, in Hz.
        batch_size: tracks side by side.
        hop: samples per call.
        delay: samples that estimates are behind the mixture of their call. The first `delay`
            estimates are of before the track; as many zeros after it bring out its last ones.
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
        """In samples: of n that were fed, at least the first n - latency have estimates."""
        return self.delay + self.hop - 1

    @property
    def metadata(self) -> dict[str, str]:
        """All but the shapes, which the file itself has, as text; of the sources, one a line."""
        values = {**asdict(self), "latency": self.latency, "sources": "\n".join(self.sources)}
        del values["state_shapes"]
        return {name: str(value) for name, value in values.items()}


def export_step(
    model: WaveUNet,
    path: str | os.PathLike,
    format: str = "onnx",
    hop: int | None = None,
    batch_size: int = 1,
) -> ExportedStep:
    """Writes one hop of a model, in float32, as a file that stands alone.

    Its inputs are `mixture`, `(batch, channels, hop)`, and the state; its outputs `estimates`,
    `(batch, n_src, channels, hop)`, and the next state. All are float32.

    ===========  ==============================================================================
    onnx         inputs `mixture`, `state_0`, `state_1`, ..., outputs `estimates`,
                 `next_state_0`, ...; `ExportedStep.metadata` in the model's metadata
    torchscript  `forward(mixture, state: List[Tensor]) -> (estimates, List[Tensor])` and
                 `initial_state() -> List[Tensor]`; the metadata in extra files
    ===========  ==============================================================================

    The file is run before it gets its name: fed noise, it must give what `Stream` gives.

    Args:
        model: with context, and an upsampling that interpolates; as it is now: its weights,
            whether it clips (`model.eval()` does).
        path: of the file, whose folder is made if there is none.
        format: `"onnx"` or `"torchscript"`.
        hop: samples per call, a multiple of `model.geometry.step`; of those the first that is
            no less than `DEFAULT_HOP` if None. Longer ones cost less per sample.
        batch_size: tracks side by side, >= 1.
    Raises:
        ValueError: if the model is no WaveUNet, has no context or transposed upsampling, the
            format is none, hop or batch size do not fit, or the file does not give what the
            model gives.
        ModuleNotFoundError: if a package is missing that the format needs.

    >>> import tempfile, onnxruntime
    >>> from asteroid_waveunet import presets
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     exported = export_step(presets.make("M4", levels=3), f"{folder}/m4.onnx", hop=1000)
    ...     session = onnxruntime.InferenceSession(f"{folder}/m4.onnx")
    >>> _, *ins = [put.name for put in session.get_inputs()]
    >>> state = [np.zeros(shape, np.float32) for shape in exported.state_shapes]
    >>> track, estimates = np.random.randn(1, 2, 5000).astype(np.float32), []
    >>> for hop in np.split(track, 5, axis=-1):
    ...     given, *state = session.run(None, {"mixture": hop, **dict(zip(ins, state))})
    ...     estimates.append(given)
    >>> np.concatenate(estimates, axis=-1)[..., exported.delay :].shape
    (1, 2, 2, 4877)
    """
    chosen = _format(format)
    hop = _check(model, hop, batch_size)
    model = copy.deepcopy(model).float().cpu()
    with torch.no_grad():
        step = FunctionalStep(model, batch_size, chosen.convolution)
        exported = ExportedStep(
            sources=model.sources,
            channels=model.in_channels,
            sample_rate=int(model.sample_rate),
            batch_size=batch_size,
            hop=hop,
            delay=step.delay,
            state_shapes=step.state_shapes,
        )
        with replacing(path) as partial:
            with _quiet():
                chosen.write(step, exported, partial)
                run = chosen.load(partial)
            _compare(run, model, exported, Path(path))
    return exported


def _check(model: WaveUNet, hop: int | None, batch_size: int) -> int:
    """The hop, if all that is asked for can be had."""
    if not isinstance(model.geometry, Geometry):
        raise ValueError(
            f"A {type(model).__name__} is not fed hop by hop, so that no step of it can be "
            "exported; expected a WaveUNet. Its weights go into .safetensors or .bin."
        )
    if not model.get_model_args()["context"]:
        raise ValueError(
            "This model has same padding (context=False, as M1 and M2): its layers see zeros "
            "beyond both ends of a track, so that the first hops and the last are not computed "
            "as the others are, and no one step can be exported. Export a model with context, "
            "such as M3 to M7; Stream runs this one."
        )
    if model.get_model_args()["upsampling"] == "transposed":
        raise ValueError(
            "This model's upsampling is 'transposed': what its layers make of silence is not "
            "constant, so that no state of zeros is that before a track. Export a model with "
            "linear or learned upsampling; Stream runs this one."
        )
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected at least 1.")
    step = model.geometry.step
    if hop is None:
        return -(-DEFAULT_HOP // step) * step
    if hop < 1 or hop % step:
        below = max(0, hop) // step * step
        nearest = f"{below} and {below + step}" if below else f"{step} (the shortest)"
        raise ValueError(
            f"hop is {hop}; expected a multiple of this model's step, which is {step} samples. "
            f"The nearest: {nearest}."
        )
    return hop


class FromSilence(Convolution):
    """A `Convolution` that holds its input less what that is in silence.

    So its past is zeros before a track, whatever the model. What it gives stays the same:

        W * x + b = W * (x - silence) + (W * silence + b)

    Args:
        convolution: after silence.
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
    """The same for ONNX's runtimes, whose fast convolutions are of `(batch, channels, time)`.

    The transpositions of one and the next cancel; the runtimes see to that.
    """

    def __init__(self, convolution: Convolution):
        super().__init__(convolution)
        self.weight = self.weight[:, :, 0].contiguous()

    def convolve(self, x: Tensor) -> Tensor:
        return F.conv1d(x.mT, self.weight, self.bias).mT


class FunctionalStep(nn.Module):
    """`Step` without a memory of its own: `(mixture, state)` -> `(estimates, next state)`.

    All are `(batch, channels, samples)`, but the estimates `(batch, n_src, channels, hop)`.

    What `model(track)` computes ends `remainder` after a multiple of the step, counted from the
    track's beginning, whereas hops that are fed from its beginning end at multiples. So what
    a hop makes certain ends at

        end of the hop - delay = step * k + remainder,    delay >= lookahead,

    and the mixture waits for the smallest such `delay`, less what the network itself looks ahead.
    """

    def __init__(self, model: WaveUNet, batch_size: int, kind: type[FromSilence]):
        super().__init__()
        geometry = model.geometry
        wait = -(geometry.lookahead + geometry.remainder) % geometry.step
        self.delay = geometry.lookahead + wait
        self.waiting = Memory(wait, settled=False)
        self.step = Step(model)
        self.step(torch.zeros(1, model.in_channels, geometry.step))
        convolutions = self._replace(kind)
        for index, convolution in enumerate(convolutions):
            for name in ("weight", "bias", "silence"):  # as buffers, to(device) moves them
                self.register_buffer(f"{name}_{index}", getattr(convolution, name))
        widths = [(self.waiting, model.in_channels), (self.step.mixture, model.in_channels)]
        widths += [(each.memory, each.weight.shape[1]) for each in convolutions]
        self.memories = [memory for memory, _ in widths if memory.length]
        self.state_shapes = tuple((batch_size, n, m.length) for m, n in widths if m.length)

    def _replace(self, kind: type[FromSilence]) -> list[Convolution]:
        """Puts another kind in place of the step's convolutions, and returns them."""
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
        late = self.waiting.extend(mixture.mT)[:, : mixture.shape[-1]]
        estimates = self.step(late.mT)
        return estimates, [memory.held.mT for memory in self.memories if memory.held is not None]

    def initial_state(self) -> list[Tensor]:
        return [torch.zeros(shape) for shape in self.state_shapes]


def _arguments(exported: ExportedStep) -> tuple[Tensor, list[Tensor]]:
    """Of a step's first call, the mixture being silence."""
    mixture = torch.zeros(exported.batch_size, exported.channels, exported.hop)
    return mixture, [torch.zeros(shape) for shape in exported.state_shapes]


def _write_onnx(step: FunctionalStep, exported: ExportedStep, path: Path) -> None:
    names = [f"state_{index}" for index in range(len(exported.state_shapes))]
    program = torch.onnx.export(
        step,
        _arguments(exported),
        input_names=["mixture", *names],
        output_names=["estimates", *(f"next_{name}" for name in names)],
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    for node in program.model.graph:
        node.metadata_props.clear()  # which lines made it, with the paths of this machine
    program.model.metadata_props.update(exported.metadata)
    program.save(path, external_data=False)


def _load_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]

    def run(mixture: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        arrays = [tensor.numpy() for tensor in (mixture, *state)]
        outputs = session.run(None, dict(zip(names, arrays, strict=True)))
        estimates, *state = map(torch.from_numpy, outputs)
        return estimates, state

    return run


def _write_torchscript(step: FunctionalStep, exported: ExportedStep, path: Path) -> None:
    methods = {"forward": _arguments(exported), "initial_state": ()}
    # Not strict, since the state is a list; not checked, since `_compare` does.
    traced = torch.jit.trace_module(step.eval(), methods, strict=False, check_trace=False)
    torch.jit.save(traced, os.fspath(path), _extra_files=exported.metadata)


def _load_torchscript(path: Path) -> Run:
    return torch.jit.load(path)


def _compare(run: Run, model: WaveUNet, exported: ExportedStep, path: Path) -> None:
    """Runs the file on noise that fills all of its state, against `Stream`.

    Raises:
        ValueError: if their estimates differ by more than `TOLERANCE`.
    """
    n_hops = (model.geometry.left_context + exported.delay) // exported.hop + 2
    mixture, state = _arguments(exported)
    generator = torch.Generator().manual_seed(0)
    size = (n_hops, *mixture.shape)
    noise = (0.1 * torch.randn(size, generator=generator)).unbind()
    parts = []
    for hop in noise:
        estimates, state = run(hop, state)
        parts.append(estimates)
    given = torch.cat(parts, dim=-1)[..., exported.delay :]
    expected = Stream(model, exported.batch_size).feed(torch.cat(noise, dim=-1))
    expected = expected.reshape(*given.shape[:-1], -1)[..., : given.shape[-1]]
    difference = float((given - expected).abs().max())
    if not difference <= TOLERANCE:  # nor if it is NaN
        raise ValueError(
            f"{path} was not written: its estimates would differ from the model's by "
            f"{difference:.1e}, more than {TOLERANCE:.0e}. Either the weights are not finite, or "
            "these versions of torch and of what runs the file do not fit together: try others."
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporters say of themselves: deprecations, operators not needed here."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@dataclass(frozen=True)
class Format:
    """A kind of file: its name's end, how to write and run it, packages, what its runtimes like."""

    suffix: str
    write: Callable[[FunctionalStep, ExportedStep, Path], None]
    load: Callable[[Path], Run]
    packages: tuple[str, ...]
    convolution: type[FromSilence]


FORMATS = {
    "onnx": Format(".onnx", _write_onnx, _load_onnx, ("onnxscript", "onnxruntime"), ChannelsFirst),
    "torchscript": Format(".pt", _write_torchscript, _load_torchscript, (), FromSilence),
}


def _format(name: str) -> Format:
    """A format by its name, if all is installed that it needs."""
    if name not in FORMATS:
        listed = " or ".join(repr(known) for known in FORMATS)
        raise ValueError(f"format is {name!r}; expected {listed}.")
    for package in FORMATS[name].packages:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as reason:
            raise ModuleNotFoundError(
                f"{package} is missing, which an export to {name} needs: "
                'pip install "asteroid-waveunet[export]".',
                name=package,
            ) from reason
    return FORMATS[name]
