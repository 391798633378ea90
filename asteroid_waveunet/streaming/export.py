"""Export one hop of a WaveUNet as an ONNX or TorchScript file.

Each call takes the next `hop` samples of the mixture and the state that the previous call
returned (zeros before a track). The joined estimates of all calls are the track's, delayed by
`delay` samples.

Its inputs are `mixture`, `(batch, channels, hop)`, and the state; its outputs `estimates`,
`(batch, n_src, channels, hop)`, and the next state. All are float32.

===========  ==============================================================================
onnx         inputs `mixture`, `state_0`, `state_1`, ..., outputs `estimates`,
             `next_state_0`, ...; `ExportedStep.metadata` in the model's metadata
torchscript  `forward(mixture, state: List[Tensor]) -> (estimates, List[Tensor])` and
             `initial_state() -> List[Tensor]`; the metadata in extra files
===========  ==============================================================================

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

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asteroid_waveunet.file_utils import replacing, utf_8_path
from asteroid_waveunet.nn.geometry import Geometry
from asteroid_waveunet.streaming.exported_step import (
    ChannelsFirst,
    ExportedStep,
    FromSilence,
    FunctionalStep,
)
from asteroid_waveunet.streaming.interface import StreamableWaveUNet
from asteroid_waveunet.streaming.wave_unet_stream import Stream

__all__ = ["FORMATS", "ExportedStep", "export_step"]

DEFAULT_HOP = 2**14
"""Default minimum of samples per call. Each call reads all weights and copies all state: M4 takes
1.6 times as long with a quarter of this hop, and 0.9 times as long with four times this hop."""

TOLERANCE = 1e-5
"""Largest allowed difference between an exported step's estimates and the model's."""

OPSET = 18
"""ONNX operator set; torch's exporter targets it and converts to others."""

Run = Callable[[Tensor, list[Tensor]], tuple[Tensor, list[Tensor]]]
"""`(mixture, state)` -> `(estimates, next state)`."""


def export_step(
    model: StreamableWaveUNet,
    path: str | os.PathLike,
    format: str = "onnx",
    hop: int | None = None,
    batch_size: int = 1,
    any_length: bool = False,
) -> ExportedStep:
    """Write one hop of a model as a self-contained float32 file.

    The file is verified before it is kept: on noise it must match `Stream`.

    Args:
        model: a WaveUNet with context and linear or learned upsampling; the file keeps its
            weights and clipping (`model.eval()` clips).
        path: of the file; its folder is created if needed.
        format: "onnx" or "torchscript".
        hop: samples per call, a multiple of `model.geometry.step`. Default: the smallest
            multiple that is at least `DEFAULT_HOP`. Longer hops cost less per sample.
        batch_size: number of parallel tracks, >= 1.
        any_length: let each call take any multiple of the step, so that the last one of a track
            can be short; `hop` is then a recommendation. "onnx" only.
    Raises:
        ValueError: if the model, format, hop or batch size are not supported, or the file does
            not reproduce the model.
        ModuleNotFoundError: if a package that the format needs is not installed.
    """
    chosen = _format(format)
    if any_length and not chosen.has_any_length:
        raise ValueError(f"Calls of any length need the format 'onnx'; {format!r} has one length.")
    hop = _checked_hop(model, hop, batch_size)
    with replacing(path) as partial, utf_8_path(partial) as name:
        return _write_verified(model, chosen, name, Path(path), hop, batch_size, any_length)


@torch.no_grad()
def _write_verified(
    model: StreamableWaveUNet,
    chosen: Format,
    file: Path,
    path: Path,
    hop: int,
    batch_size: int,
    any_length: bool,
) -> ExportedStep:
    """Write the step to `file` and verify it; `path` is its final name, for messages."""
    copied: Any = copy.deepcopy(model)  # a module, which the protocol does not say
    model = copied.float().cpu()
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
    unit = model.geometry.step if any_length else None
    with _quiet():
        chosen.write(step, exported, file, unit)
        run = chosen.load(file)
    _verify(run, model, exported, path, unit or hop)
    return exported


def _checked_hop(model: StreamableWaveUNet, hop: int | None, batch_size: int) -> int:
    """Return the hop, or its default, if model, hop and batch size are supported.

    Raises:
        ValueError: if not.
    """
    if not isinstance(model.geometry, Geometry):
        raise ValueError(
            f"Cannot export a step of a {type(model).__name__}; expected a WaveUNet. Save its "
            "weights as .safetensors or .bin instead."
        )
    if not model.get_model_args()["context"]:
        raise ValueError(
            "Cannot export a model with same padding (context=False, as in M1 and M2): its layers "
            "see zeros beyond both ends of a track, so the first and last hops are computed "
            "differently from the others. Export a model with context, such as M3 to M7, or run "
            "this one with Stream."
        )
    if model.get_model_args()["upsampling"] == "transposed":
        raise ValueError(
            "Cannot export a model with 'transposed' upsampling: its layers' response to silence "
            "is not constant, so a state of zeros does not represent the silence before a track. "
            "Export a model with linear or learned upsampling, or run this one with Stream."
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


def _write_onnx(step: FunctionalStep, exported: ExportedStep, path: Path, unit: int | None) -> None:
    """Write the step; calls take `exported.hop` samples or, if given, any multiple of `unit`."""
    names = [f"state_{index}" for index in range(len(exported.state_shapes))]
    arguments, dynamic = exported.first_arguments(), None
    if unit:
        mixture, state = arguments
        # One unit would be taken for a constant.
        arguments = (mixture.new_zeros(*mixture.shape[:2], 2 * unit), state)
        units = torch.export.Dim("units", min=1)
        dynamic = {"mixture": {2: unit * units}, "state": [None for _ in state]}
    program = torch.onnx.export(
        step,
        arguments,
        input_names=["mixture", *names],
        output_names=["estimates", *(f"next_{name}" for name in names)],
        opset_version=OPSET,
        dynamo=True,
        dynamic_shapes=dynamic,
        verbose=False,
    )
    assert program is not None
    for node in program.model.graph:
        node.metadata_props.clear()  # source lines, with paths of this machine
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


def _write_torchscript(
    step: FunctionalStep, exported: ExportedStep, path: Path, unit: int | None
) -> None:
    methods = {"forward": exported.first_arguments(), "initial_state": ()}
    # Not strict: the state is a list. Not checked: `_verify` does that.
    traced = torch.jit.trace_module(step.eval(), methods, strict=False, check_trace=False)
    # Through memory: given a path, torch ends the process where the disk is full.
    content = io.BytesIO()
    torch.jit.save(traced, content, _extra_files=exported.metadata)
    path.write_bytes(content.getbuffer())


def _load_torchscript(path: Path) -> Run:
    return torch.jit.load(path)


def _verify(
    run: Run, model: StreamableWaveUNet, exported: ExportedStep, path: Path, shortest: int
) -> None:
    """Compare the file with `Stream`, on noise that is long enough to fill its state.

    Args:
        shortest: length of the first call; the others take `exported.hop` samples.
    Raises:
        ValueError: if their estimates differ by more than `TOLERANCE`.
    """
    n_hops = (model.geometry.left_context + exported.delay) // exported.hop + 2
    mixture, state = exported.first_arguments()
    generator = torch.Generator().manual_seed(0)
    lengths = [shortest, *[exported.hop] * (n_hops - 1)]
    noise = 0.1 * torch.randn(*mixture.shape[:2], sum(lengths), generator=generator)
    parts = []
    for hop in noise.split(lengths, dim=-1):
        estimates, state = run(hop, state)
        parts.append(estimates)
    found = torch.cat(parts, dim=-1)[..., exported.delay :]
    expected = Stream(model, exported.batch_size).feed(noise)
    expected = expected.reshape(*found.shape[:-1], -1)[..., : found.shape[-1]]
    difference = float((found - expected).abs().max())
    if not difference <= TOLERANCE:  # also refuses NaN
        raise ValueError(
            f"{path} was not written: its estimates would differ from the model's by "
            f"{difference:.1e}, more than {TOLERANCE:.0e}. Either the weights are not finite, or "
            "the versions of torch and of the runtime are incompatible; try other versions."
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the warnings of torch's exporters: deprecations, operators not needed here."""
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
    """A file format.

    Attributes:
        suffix: of its files.
        write: writes a step to a path.
        load: returns a function that runs the step.
        packages: that must be installed.
        convolution: the kind that its runtimes execute fastest.
        has_any_length: its calls can take any multiple of the step.
    """

    suffix: str
    write: Callable[[FunctionalStep, ExportedStep, Path, int | None], None]
    load: Callable[[Path], Run]
    packages: tuple[str, ...]
    convolution: type[FromSilence]
    has_any_length: bool = False


FORMATS = {
    "onnx": Format(
        ".onnx", _write_onnx, _load_onnx, ("onnxscript", "onnxruntime"), ChannelsFirst, True
    ),
    "torchscript": Format(".pt", _write_torchscript, _load_torchscript, (), FromSilence),
}


def _format(name: str) -> Format:
    """Return a format by name.

    Raises:
        ValueError: if it is unknown.
        ModuleNotFoundError: if one of its packages is not installed.
    """
    if name not in FORMATS:
        listed = " or ".join(repr(known) for known in FORMATS)
        raise ValueError(f"format is {name!r}; expected {listed}.")
    for package in FORMATS[name].packages:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"Export to {name} needs {package}, which is not installed: "
                'pip install "asteroid-waveunet[export]".',
                name=package,
            ) from error
    return FORMATS[name]
