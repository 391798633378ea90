"""The cost of a model: weights, multiply-adds, seconds of compute, memory."""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from asteroid_waveunet.experiment.evaluation.formatting import count
from asteroid_waveunet.experiment.evaluation.separator import Separator
from asteroid_waveunet.models.base import SourceModel

__all__ = ["Costs", "measure", "multiply_adds", "process_memory", "white_noise"]

REPEATS = 3
"""Timed separations of the track, after one to warm up."""

LONG = 60.0
"""A separation longer than this, in seconds, is not repeated."""


@dataclass(frozen=True)
class Costs:
    """Costs of a model and of separating a track with it.

    Attributes:
        weights: number of weights, without the statistics of normalisation layers.
        multiply_adds: per second of audio, all channels; see `multiply_adds`.
        seconds: of compute per second of audio, the median of `REPEATS` times; see `LONG`.
        peak: peak memory in GB (1e9 bytes) of a process that only separates, NaN where the system
            does not report it; on a GPU, of the GPU's memory.
        beyond: the part of `peak` on top of libraries, model and track.
        device: name of the GPU, or the number of CPU threads.
    """

    weights: int
    multiply_adds: float
    seconds: float
    peak: float
    beyond: float
    device: str


def multiply_adds(model: SourceModel) -> float:
    """Count multiply-adds of convolutions and matrix products per second of audio, all channels.

    They are counted for one more second of a long track, without the context and the padding at
    the ends of a track or segment, and for the network as the paper draws it.

    >>> from asteroid_waveunet import presets
    >>> multiply_adds(presets.make("M4", levels=2)) / 22050  # per sample
    45412.0
    """
    # With context, a Wave-U-Net skips samples that are cropped and pads kernels, see `DownBlock`.
    drawn = {"context": False} if "context" in model.replaceable else {}
    # The meta device computes shapes only.
    twin = type(model)(**{**model.get_model_args(), **drawn}).to("meta").eval()
    shorter = twin.geometry.fit(1)
    longer = twin.geometry.fit(shorter.output + 1)
    more = _operations(twin, longer.input) - _operations(twin, shorter.input)
    return more / (longer.output - shorter.output) * model.sample_rate / 2


def _operations(model: SourceModel, n_samples: int) -> int:
    """Count multiplications and additions for a mixture of `n_samples`."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.forward_context(torch.zeros(1, model.in_channels, n_samples, device="meta"))
    return counter.get_total_flops()


def white_noise(channels: int, seconds: float, sample_rate: float) -> torch.Tensor:
    """Return reproducible white noise `(channels, time)` at the level of music."""
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(channels, round(seconds * sample_rate), generator=generator)


def process_memory(field: str = "VmHWM", process: int | str = "self") -> float:
    """Return the resident ("VmRSS") or peak ("VmHWM") memory of a process in GB; NaN if unknown.

    Unlike the peak of `resource.getrusage`, which a child may inherit, this is the process's own.
    """
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return float("nan")
    kilobytes = (int(line.split()[1]) for line in lines if line.startswith(field))
    return next(kilobytes, float("nan")) * 1024 / 1e9


def measure(
    path: Path,
    *,
    segment_length: int | None = None,
    fit_levels: bool = False,
    seconds: float = 30.0,
    sample_rate: int = 44100,
    channels: int = 2,
) -> Costs:
    """Measure a trained model on a track of noise, in a new process.

    Args:
        path: file of the model's weights.
        segment_length: samples per segment of a segment-wise prediction; None for one pass.
        fit_levels: fit the levels of the estimates to the mixture.
        seconds, sample_rate, channels: of the track, which is converted for the model and back.
    Raises:
        ValueError: if the process fails, with its last line on stderr.
    """
    command = [sys.executable, "-W", "ignore", "-m", __name__, str(path)]
    command += ["--seconds", str(seconds), "--sample_rate", str(sample_rate)]
    command += ["--channels", str(channels)]
    command += [] if segment_length is None else ["--segment_length", str(segment_length)]
    command += ["--fit_levels"] if fit_levels else []
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode:
        *_, last = child.stderr.splitlines() or [f"exit status {child.returncode}"]
        raise ValueError(f"The costs of {path} cannot be measured: {last}")
    return Costs(**json.loads(child.stdout.splitlines()[-1]))


def _measure(args: argparse.Namespace) -> Costs:
    """Measure a model in this process."""
    on_gpu = torch.cuda.is_available()
    model = SourceModel.from_pretrained(args.path).to("cuda" if on_gpu else "cpu")
    separator = Separator.configured(model, args.segment_length, args.fit_levels)
    track = white_noise(args.channels, args.seconds, args.sample_rate)
    before = torch.cuda.memory_allocated() / 1e9 if on_gpu else process_memory("VmRSS")
    durations: list[float] = []
    while len(durations) < 1 + REPEATS and max(durations, default=0.0) < LONG:
        start = time.perf_counter()
        separator.separate(track, args.sample_rate)  # returns estimates on the CPU
        durations.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() / 1e9 if on_gpu else process_memory()
    return Costs(
        weights=sum(weight.numel() for weight in model.parameters()),
        multiply_adds=multiply_adds(model),
        seconds=statistics.median(durations[1:] or durations) / args.seconds,
        peak=peak,
        beyond=peak - before,
        device=torch.cuda.get_device_name() if on_gpu else count(torch.get_num_threads(), "thread"),
    )


def main() -> None:
    """Print the costs of a model as JSON, for `measure`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--segment_length", type=int)
    parser.add_argument("--fit_levels", action="store_true")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--sample_rate", type=int, default=44100)
    parser.add_argument("--channels", type=int, default=2)
    print(json.dumps(dataclasses.asdict(_measure(parser.parse_args()))))


if __name__ == "__main__":
    main()
