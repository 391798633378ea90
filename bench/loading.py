"""Benchmark loading training segments: segments per second against Asteroid's data set, memory."""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import measure
import torch
from torch.utils.data import DataLoader, Dataset

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio.checks import to_channels
from asteroid_waveunet.audio.resampling import resample
from asteroid_waveunet.experiment.data import musdb
from asteroid_waveunet.experiment.data.prepare import prepare
from asteroid_waveunet.experiment.demo_songs import generate
from asteroid_waveunet.experiment.segments.batch_sampler import ResumableBatchSampler, collate
from asteroid_waveunet.experiment.segments.dataset import Segments
from asteroid_waveunet.nn.geometry import Lengths

CD = 44100
SOURCES = ("bass", "drums", "other", "vocals")
PAPER = Lengths(input=147443, output=16389)
LEFT_CONTEXT = (PAPER.input - PAPER.output) // 2
__all__ = ["loader"]


def random_gain(stem: torch.Tensor) -> torch.Tensor:
    return stem * (0.7 + 0.3 * torch.rand(1))


def asteroids_data_set(root: Path, n_segments: int) -> Dataset:
    """Load Asteroid's `MUSDB18Dataset` without the rest of `asteroid.data`, which needs librosa."""
    package = Path(str(importlib.util.find_spec("asteroid").origin)).parent
    name = "musdb18_dataset"
    spec = importlib.util.spec_from_file_location(name, package / "data" / f"{name}.py")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    songs = len(musdb.tracks(root, "train"))
    return module.MUSDB18Dataset(
        root,
        sources=list(SOURCES),
        targets=list(SOURCES),
        segment=(PAPER.input + 0.5) / CD,  # Asteroid rounds down
        samples_per_track=-(-n_segments // songs),
        random_segments=True,
        source_augmentations=random_gain,
        sample_rate=CD,
    )


def asteroids(root: Path, n_segments: int, workers: int, batch_size: int) -> DataLoader:
    return DataLoader(
        asteroids_data_set(root, n_segments),
        batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def ours(
    root: Path, n_segments: int, workers: int, batch_size: int, threads: int = 1
) -> DataLoader:
    prepared = prepare(root, root / "store", SOURCES, CD, 2, progress=False)
    segments = Segments(
        prepared,
        PAPER,
        LEFT_CONTEXT,
        n_segments,
        augmentation=["random_gains"],
        threads=threads,
    )
    return DataLoader(
        segments,
        batch_sampler=ResumableBatchSampler(n_segments // batch_size, batch_size),
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=collate,
    )


# A function that makes the loader, and its turn's length in multiples of Asteroid's.
Way = tuple[Callable[[Path, int, int], DataLoader], int]
WAYS: dict[str, Way] = {
    "Asteroid's `MUSDB18Dataset`, in the process": (lambda r, n, b: asteroids(r, n, 0, b), 1),
    "Asteroid's `MUSDB18Dataset`, 2 workers": (lambda r, n, b: asteroids(r, n, 2, b), 1),
    "`Segments`, in the process": (lambda r, n, b: ours(r, n, 0, b), 10),
    "`Segments`, in the process, 2 threads": (lambda r, n, b: ours(r, n, 0, b, 2), 10),
    "`Segments`, 2 workers": (lambda r, n, b: ours(r, n, 2, b), 10),
}


def loader(args: argparse.Namespace) -> str:
    """Segments per second from the store compared with Asteroid's data set."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        kind = wavs(args.music, root, args.songs)
        tracks = musdb.tracks(root, "train")
        seconds = sum(track.extent().frames for track in tracks) / CD
        loaders = {
            name: make(root, times * args.segments, args.batch_size)
            for name, (make, times) in WAYS.items()
        }
        counts = {name: count_segments(batches) for name, batches in loaders.items()}
        ways = {
            name: lambda batches=batches: count_segments(batches)
            for name, batches in loaders.items()
        }
        measured = measure.interleaved(ways, args.repeats)
        peaks = {name: peak_gigabytes(name, root, args) for name in WAYS}
    rates = {name: [counts[name] / value for value in values] for name, values in measured.items()}
    medians = {name: statistics.median(values) for name, values in rates.items()}
    best = max(rate for name, rate in medians.items() if name.startswith("Asteroid"))
    rows = [
        [
            name,
            f"{medians[name]:.0f} ({min(rates[name]):.0f}-{max(rates[name]):.0f})",
            f"{medians[name] / best:.3g}",
            f"{peaks[name]:.2f}",
        ]
        for name in WAYS
    ]
    return (
        f"{len(tracks)} {kind}, {seconds:.0f} s in all, four stems in stereo at {CD} Hz as 16-bit "
        f"wavs, read before; batches of {args.batch_size} segments of {PAPER.input} samples, each "
        "stem at a gain of its own. Asteroid's targets are as long as its mixtures, ours "
        f"{PAPER.output} samples. Median (range) of {args.repeats} turns; memory is that of all "
        "processes together, mapped files included. Target: 20 times the faster of Asteroid's.\n\n"
        + measure.table(["way", "segments/s", "times as fast", "peak, GB"], rows)
    )


def wavs(music: str | None, root: Path, most: int) -> str:
    """Write training songs as wavs to `root/train`, generated without `music`; describe them."""
    if not music:
        generate.generate(root, most, 1, seconds=20, sample_rate=CD, progress=False)
        return "generated songs"
    for track in musdb.tracks(music, "train")[:most]:
        samples, rate = track.read_all(track.stems)
        for name, stem in samples.items():
            path = root / "train" / track.name / f"{name}.wav"
            audio_io.write(path, resample(to_channels(stem, 2), rate, CD), CD)
    return "songs of a folder given by --music"


def count_segments(batches: DataLoader) -> int:
    """Iterate over a loader and return the number of segments."""
    count = 0
    for mixtures, _ in batches:
        assert mixtures.shape[-1] == PAPER.input
        count += len(mixtures)
    return count


def peak_gigabytes(name: str, root: Path, args: argparse.Namespace) -> float:
    """Measure the peak memory of a loader in a new process."""
    code = "import sys, loading; print(loading.peak(*sys.argv[1:]))"
    command = [sys.executable, "-W", "ignore", "-c", code, name, str(root), str(args.batch_size)]
    here = Path(__file__).parent
    child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=here)
    return float(child.stdout.splitlines()[-1])


def peak(name: str, root: str, batch_size: str) -> float:
    """Return the peak memory in GB of this process and its workers."""
    batches = WAYS[name][0](Path(root), 10 * int(batch_size), int(batch_size))
    count_segments(batches)
    workers = [process.pid for process in multiprocessing.active_children()]
    return sum(measure.process_memory(process=each) for each in ("self", *workers))
