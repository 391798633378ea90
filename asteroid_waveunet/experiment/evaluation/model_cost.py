"""What a model costs: weights, multiply-adds, seconds of compute, memory."""

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

from asteroid_waveunet.experiment.evaluation.aggregation import count
from asteroid_waveunet.experiment.evaluation.estimators import Separator
from asteroid_waveunet.models.base import SourceModel

__all__ = ["Costs", "held", "measure", "multiply_adds", "noise"]

REPEATS = 3
"""Times that a track is separated, after one that warms up."""

LONG = 60.0
"""Seconds after which a track is not separated again: that one time counts."""


@dataclass(frozen=True)
class Costs:
    """Of a model, and of separating a track with it.

    Attributes:
        weights: how many; the statistics of normalisations are none.
        multiply_adds: per second of audio, all channels; see `multiply_adds`.
        seconds: of compute per second of audio, the median of `REPEATS` times; see `LONG`.
        peak: GB (1e9 bytes) that a process which does nothing else holds at most, NaN where the
            system does not tell; on a GPU, of its memory.
        beyond: of these, what comes on top of the libraries, the model and the track.
        device: what computed.
    """

    weights: int
    multiply_adds: float
    seconds: float
    peak: float
    beyond: float
    device: str


def multiply_adds(model: SourceModel) -> float:
    """Multiply-adds of convolutions and matrix products per second of audio, all channels.

    They are those of the network as it is drawn, for one more second of a long track: what the
    ends of a track or of a segment cost besides, context and padding, is not among them.

    >>> from asteroid_waveunet import presets
    >>> multiply_adds(presets.make("M4", levels=2)) / 22050  # per sample
    45412.0
    """
    # With context, a Wave-U-Net leaves out what is cropped and pads kernels, see `DownBlock`.
    drawn = {"context": False} if "context" in model.replaceable else {}
    # On the device where nothing is computed but shapes.
    twin = type(model)(**{**model.get_model_args(), **drawn}).to("meta").eval()
    shorter = twin.geometry.fit(1)
    longer = twin.geometry.fit(shorter.output + 1)
    more = _operations(twin, longer.input) - _operations(twin, shorter.input)
    return more / (longer.output - shorter.output) * model.sample_rate / 2


def _operations(model: SourceModel, n_samples: int) -> int:
    """Multiplications and additions for a mixture of exactly that length."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.forward_context(torch.zeros(1, model.in_channels, n_samples, device="meta"))
    return counter.get_total_flops()


def noise(channels: int, seconds: float, sample_rate: float) -> torch.Tensor:
    """The same white noise each time, `(channels, time)`, at the level of music."""
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(channels, round(seconds * sample_rate), generator=generator)


def held(what: str = "VmHWM", process: int | str = "self") -> float:
    """GB that a process holds ("VmRSS") or has held at the peak ("VmHWM"); NaN if not told.

    The peak is the process's own; that of `resource.getrusage` may be of the one that began it.
    """
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return float("nan")
    kilobytes = (int(line.split()[1]) for line in lines if line.startswith(what))
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
    """The costs of a trained model, on a track of noise, in a process of its own.

    Args:
        path: its file, of weights.
        segment_length: samples of the segments that it predicts one by one; None for one pass.
        fit_levels: whether the estimates' levels are fitted to the mixture.
        seconds, sample_rate, channels: of the track, which is converted to the model's and back.
    Raises:
        ValueError: if that process ends without a result; with what it said last.
    """
    command = [sys.executable, "-W", "ignore", "-m", __name__, str(path)]
    command += ["--seconds", str(seconds), "--sample_rate", str(sample_rate)]
    command += ["--channels", str(channels)]
    command += [] if segment_length is None else ["--segment_length", str(segment_length)]
    command += ["--fit_levels"] if fit_levels else []
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode:
        *_, last = child.stderr.splitlines() or [f"it ended with status {child.returncode}"]
        raise ValueError(f"The costs of {path} cannot be measured: {last}")
    return Costs(**json.loads(child.stdout.splitlines()[-1]))


def _measure(args: argparse.Namespace) -> Costs:
    """The costs, as far as they are this process's."""
    on_gpu = torch.cuda.is_available()
    model = SourceModel.from_pretrained(args.path).to("cuda" if on_gpu else "cpu")
    separator = Separator.as_scored(model, args.segment_length, args.fit_levels)
    track = noise(args.channels, args.seconds, args.sample_rate)
    before = torch.cuda.memory_allocated() / 1e9 if on_gpu else held("VmRSS")
    durations: list[float] = []
    while len(durations) < 1 + REPEATS and max(durations, default=0.0) < LONG:
        start = time.perf_counter()
        separator.separate(track, args.sample_rate)  # whose estimates are on the processor
        durations.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() / 1e9 if on_gpu else held()
    return Costs(
        weights=sum(weight.numel() for weight in model.parameters()),
        multiply_adds=multiply_adds(model),
        seconds=statistics.median(durations[1:] or durations) / args.seconds,
        peak=peak,
        beyond=peak - before,
        device=torch.cuda.get_device_name() if on_gpu else count(torch.get_num_threads(), "thread"),
    )


def main() -> None:
    """Prints the costs of a model as JSON, for `measure`."""
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
