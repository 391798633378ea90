"""What training costs: a step, its segments, memory.

From the repository's root:

    python bench/train.py                          # everything, into bench/RESULTS.md
    python bench/train.py --only step --batch_size 4
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import loading
import measure
import torch
from torch import Tensor
from torch.nn import functional as F

from asteroid_waveunet import presets
from asteroid_waveunet.blocks import LEAKY_SLOPE, DownBlock

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
    """A down block as it is usually written: every sample, then the crop and the decimation."""
    features = F.leaky_relu(block.conv(x), LEAKY_SLOPE)
    return features[..., block.margin : features.shape[-1] - block.margin], features[..., ::2]


@dataclass(frozen=True)
class Way:
    """How steps are made."""

    full: bool = False
    dtype: torch.dtype = torch.float32
    compiled: bool = False


WAYS = {
    "full convolutions, float32": Way(full=True),
    "ours, float32": Way(),
    "ours, bfloat16": Way(dtype=torch.bfloat16),
}


class Trainer:
    """M4 at the paper's sizes, on noise: what its time depends on."""

    def __init__(self, way: Way, batch_size: int, device: str):
        torch.manual_seed(0)
        self.way = way
        self.model = presets.make("M4").to(device)
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

    def step(self, batch: tuple[Tensor, Tensor] | None = None) -> float:
        """A forward pass, its gradients, and the optimiser's step; the loss."""
        mixture, targets = batch or self.batch
        self.optimizer.zero_grad()
        half = self.way.dtype != torch.float32
        with torch.autocast(mixture.device.type, self.way.dtype, enabled=half):
            estimates = self.network(mixture)
        loss = F.mse_loss(estimates.float(), targets)
        loss.backward()
        self.optimizer.step()
        return loss.item()


PEAK = """
import sys
import train

def kib(what):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if what in line)

train.torch.set_num_threads(int(sys.argv[3]))
trainer = train.Trainer(train.WAYS[sys.argv[1]], int(sys.argv[2]), "cpu")
before = kib("VmRSS:")
for _ in range(2):
    trainer.step()
print(kib("VmHWM:") - before)
"""
"""KiB that two steps of a way take at the peak, beyond the model, the batch and the libraries."""


def step(args: argparse.Namespace) -> str:
    """A training step."""
    trainers = {name: Trainer(way, args.batch_size, "cpu") for name, way in WAYS.items()}
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
            peak_gigabytes(name, args),
            f"{losses[name]:.7f}",
        ]
        for name in WAYS
    ]
    lengths = trainers[next(iter(WAYS))].model.geometry.fit(16384)
    return (
        f"M4 at the paper's sizes, a batch of {args.batch_size}, {lengths.input} -> "
        f"{lengths.output} samples of noise: forward, backward and Adam's step, "
        f"median (range) of {args.repeats} turns. Wanted: 1.5 times as fast in float32. Peak: what "
        "two steps take beyond the model, the batch and the libraries. The losses are of the "
        "first step, from the same weights.\n\n"
        + measure.table(["way", "s", "times as fast", "peak, GB", "loss"], rows)
    )


def peak_gigabytes(name: str, args: argparse.Namespace) -> str:
    if not Path("/proc/self/status").exists():
        return "not told by this system"
    command = [sys.executable, "-W", "ignore", "-c", PEAK, name]
    command += [str(args.batch_size), str(args.threads)]
    child = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parent
    )
    return f"{int(child.stdout) * 1024 / 1e9:.2f}"


PARTS: dict[str, measure.Part] = {"step": step, "loader": loading.loader}


def arguments() -> argparse.Namespace:
    parser = measure.parser(__doc__, PARTS)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--songs", type=int, default=4, help="to load segments of")
    parser.add_argument("--segments", type=int, default=480, help="of Asteroid's, a turn")
    args = parser.parse_args()
    args.only = args.only or list(PARTS)
    return args


if __name__ == "__main__":
    args = arguments()
    measure.write_parts(PARTS, args, "cpu", PACKAGES)
