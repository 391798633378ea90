"""Benchmark training: a step, loading segments, long filters, memory, precision.

From the repository's root:

    python bench/train.py                          # a step, loading, filters; into bench/RESULTS.md
    python bench/train.py --only step --batch_size 4
    python bench/train.py --only curves            # an hour on two cores
    python bench/train.py --device cuda            # `whole`, on a GPU
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import filters
import loading
import measure
import precision
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset
from torch.utils.flop_counter import FlopCounterMode

from asteroid_waveunet import WaveUNet, presets
from asteroid_waveunet.experiment.data.prepare import prepare
from asteroid_waveunet.experiment.segments.batch_sampler import ResumableBatchSampler
from asteroid_waveunet.experiment.segments.dataset import Segments
from asteroid_waveunet.experiment.segments.gpu_dataset import DeviceSegments
from asteroid_waveunet.experiment.training.system import make_loader
from asteroid_waveunet.nn.wave_unet_blocks import LEAKY_SLOPE, DownBlock

PACKAGES = (
    "torch",
    "pytorch-lightning",
    "asteroid",
    "numba",
    "numpy",
    "soundfile",
    "asteroid-waveunet",
)


def convolve_all(block: DownBlock, x: Tensor) -> tuple[Tensor, Tensor]:
    """A down block as usually written: convolve every sample, then crop and decimate."""
    features = F.leaky_relu(block.conv(x), LEAKY_SLOPE)
    return features[..., block.margin : features.shape[-1] - block.margin], features[..., ::2]


@dataclass(frozen=True)
class Way:
    """A variant of the training step."""

    full: bool = False
    dtype: torch.dtype = torch.float32
    compiled: bool = False


WAYS = {
    "full convolutions, float32": Way(full=True),
    "ours, float32": Way(),
    "ours, bfloat16": Way(dtype=torch.bfloat16),
}


class Trainer:
    """M4 on noise."""

    def __init__(self, way: Way, batch_size: int, device: str, levels: int):
        torch.manual_seed(0)
        self.way = way
        self.model = presets.make("M4", levels=levels).to(device)
        if way.full:
            for block in self.model.down:
                block.forward = types.MethodType(convolve_all, block)  # type: ignore[method-assign]
        self.network = self.model.forward_context
        if way.compiled:
            self.network = torch.compile(self.network)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4)
        lengths = self.model.geometry.fit(16384)
        shape = (batch_size, self.model.n_src, self.model.in_channels, lengths.output)
        self.batch = (
            0.1 * torch.randn(batch_size, self.model.in_channels, lengths.input, device=device),
            0.1 * torch.randn(shape, device=device),
        )

    def step(self, batch: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Run forward, backward and optimizer step; return the loss."""
        device = self.batch[0].device
        mixture, targets = (x.to(device, non_blocking=True) for x in batch or self.batch)
        self.optimizer.zero_grad()
        half = self.way.dtype != torch.float32
        with torch.autocast(device.type, self.way.dtype, enabled=half):
            estimates = self.network(mixture)
        loss = F.mse_loss(estimates.float(), targets)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


PEAK = """
import sys
import measure, train
train.torch.set_num_threads(int(sys.argv[3]))
trainer = train.Trainer(train.WAYS[sys.argv[1]], int(sys.argv[2]), "cpu", int(sys.argv[4]))
before = measure.process_memory("VmRSS")
for _ in range(2):
    trainer.step()
print(measure.process_memory() - before)
"""
"""Prints the peak memory of two steps in GB, beyond model, batch and libraries."""


def step(args: argparse.Namespace) -> str:
    """A training step."""
    trainers = {
        name: Trainer(way, args.batch_size, "cpu", args.levels) for name, way in WAYS.items()
    }
    losses = {name: trainer.step() for name, trainer in trainers.items()}
    seconds = measure.interleaved(
        {name: trainer.step for name, trainer in trainers.items()}, args.repeats
    )
    medians = {name: statistics.median(measured) for name, measured in seconds.items()}
    slowest = medians[next(iter(WAYS))]
    rows = [
        [
            name,
            measure.spread(seconds[name]),
            f"{slowest / medians[name]:.2f}",
            f"{peak_gigabytes(name, args):.2f}",
            f"{float(losses[name]):.7f}",
        ]
        for name in WAYS
    ]
    lengths = trainers[next(iter(WAYS))].model.geometry.fit(16384)
    return (
        f"M4 of {args.levels} levels, a batch of {args.batch_size}, {lengths.input} -> "
        f"{lengths.output} samples of noise: forward, backward and Adam's step, "
        f"median (range) of {args.repeats} turns. Target: 1.5 times as fast in float32. Peak: what "
        "two steps take beyond the model, the batch and the libraries. The losses are of the "
        "first step, from the same weights.\n\n"
        + measure.table(["way", "s", "times as fast", "peak, GB", "loss"], rows)
    )


def peak_gigabytes(name: str, args: argparse.Namespace) -> float:
    command = [sys.executable, "-W", "ignore", "-c", PEAK, name]
    command += [str(args.batch_size), str(args.threads), str(args.levels)]
    child = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parent
    )
    return float(child.stdout)


# Dense operations per second in float32 without TF32 and in bfloat16, from the data sheets.
CARDS = {"H100": (67e12, 989e12), "H200": (67e12, 989e12), "A100": (19.5e12, 312e12)}

WHOLE: dict[str, tuple[Way, str]] = {
    "full convolutions, float32, segments by workers": (
        WAYS["full convolutions, float32"],
        "memory",
    ),
    "ours, float32, segments by workers": (WAYS["ours, float32"], "memory"),
    "ours, float32, `store: gpu`": (WAYS["ours, float32"], "gpu"),
    "ours, bfloat16 compiled, `store: gpu`": (Way(dtype=torch.bfloat16, compiled=True), "gpu"),
}
SCHEDULE = 100 * 2000
"""Steps of 100 of the paper's epochs; early stopping with a patience of 20 may end sooner."""


def whole(args: argparse.Namespace) -> str:
    """Training as a whole."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    with tempfile.TemporaryDirectory() as folder:
        kind = loading.wavs(args.music, Path(folder), args.songs)
        names = [n for n, (way, _) in WHOLE.items() if args.device == "cuda" or not way.compiled]
        rows = [row_of(name, *WHOLE[name], Path(folder), args) for name in names]
    return (
        f"M4 of {args.levels} levels, batches of {args.batch_size} drawn from {args.songs} {kind} "
        f"and mixed anew; {args.steps} steps after {args.warm_up} that do not count. Waiting: the "
        "share of the time that the same steps on one batch, held ready, do without. Peak: what "
        "is multiplied and added in these convolutions, against what the card's maker states for "
        f"that type. Hours: extrapolated to {SCHEDULE} steps, a hundred of the paper's epochs.\n\n"
        + measure.table(
            ["way", "steps/s", "waiting", "of the card's peak", "memory, GB", "hours"], rows
        )
    )


def row_of(name: str, way: Way, store: str, folder: Path, args: argparse.Namespace) -> list[str]:
    """Return the figures of a variant; memory is the GPU's, or the process's without a GPU."""
    on_gpu = args.device == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    trainer = Trainer(way, args.batch_size, args.device, args.levels)
    with FlopCounterMode(display=False) as counter:
        trainer.model.forward_context(trainer.batch[0]).sum().backward()
    batches = endless(segments(trainer.model, store, folder, args.device), args)
    with_data = timed(lambda: trainer.step(next(batches)), args)
    without = timed(trainer.step, args)
    cards = [
        peaks for card, peaks in CARDS.items() if on_gpu and card in torch.cuda.get_device_name()
    ]
    share = "-"
    if cards:
        done = counter.get_total_flops() * args.steps / with_data
        share = f"{100 * done / cards[0][way.dtype == torch.bfloat16]:.0f} %"
    held = torch.cuda.max_memory_allocated() / 1e9 if on_gpu else measure.process_memory()
    return [
        name,
        f"{args.steps / with_data:.3g}",
        f"{100 * max(0.0, 1 - without / with_data):.0f} %",
        share,
        f"{held:.2f}",
        f"{with_data / args.steps * SCHEDULE / 3600:.2g}",
    ]


def segments(model: WaveUNet, store: str, folder: Path, device: str) -> Dataset:
    rate = int(model.sample_rate)
    tracks = prepare(folder, folder / "store", model.sources, rate, model.in_channels, False)
    lengths, left = model.geometry.fit(16384), model.geometry.left_context
    arguments = (tracks, lengths, left, 32000, 0, ["random_gains"])
    return DeviceSegments(*arguments, device=device) if store == "gpu" else Segments(*arguments)


def endless(dataset: Dataset, args: argparse.Namespace) -> Iterator:
    """Yield batches from the recipe's loader."""
    workers = 0 if isinstance(dataset, DeviceSegments) else args.workers
    batches = ResumableBatchSampler(10**6, args.batch_size)
    return iter(make_loader(dataset, workers, batch_sampler=batches))


def timed(step: Callable[[], object], args: argparse.Namespace) -> float:
    """Return the seconds of `args.steps` steps, after the warm-up."""

    def steps(n: int) -> None:
        for _ in range(n):
            step()

    measure.duration(lambda: steps(args.warm_up), args.device)
    return measure.duration(lambda: steps(args.steps), args.device)


PARTS: dict[str, measure.Part] = {
    "step": step,
    "loader": loading.loader,
    "filters": filters.long_filters,
    "curves": precision.curves,
    "whole": whole,
}


def arguments() -> argparse.Namespace:
    parser = measure.parser(__doc__, PARTS)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--levels", type=int, default=12, help="levels of M4; the paper's are 12")
    parser.add_argument("--songs", type=int, default=4, help="songs to load segments from")
    parser.add_argument(
        "--segments", type=int, default=480, help="segments per turn of Asteroid's loader"
    )
    parser.add_argument(
        "--device", default="cpu", choices=["cpu", "cuda"], help="device of `whole`"
    )
    parser.add_argument("--workers", type=int, default=8, help="loader workers of `whole`")
    parser.add_argument("--steps", type=int, default=200, help="timed steps of `whole`")
    parser.add_argument("--warm_up", type=int, default=20, help="untimed steps before them")
    parser.add_argument(
        "--filters", type=int, nargs="+", default=filters.SIZES, help="filters per set"
    )
    parser.add_argument("--curve-steps", type=int, default=150, help="steps of `curves`")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="seeds of `curves`")
    args = parser.parse_args()
    on_cpu = [name for name in PARTS if name not in ("curves", "whole")]
    args.only = args.only or (["whole"] if args.device == "cuda" else on_cpu)
    return args


def main() -> None:
    args = arguments()
    measure.write_parts(PARTS, args, args.device, PACKAGES)


if __name__ == "__main__":
    main()
