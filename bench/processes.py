"""Benchmark processes as a whole: memory, the command from start to exit, waiting threads."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import measure
import soundfile
import torch

from asteroid_waveunet import presets
from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.audio.checks import to_channels

__all__ = ["command", "memory", "policy"]

CD = 44100
HERE = Path(__file__).resolve().parent

SEPARATE_FILE = """
import sys, torch
from asteroid_waveunet import presets
torch.set_num_threads(int(sys.argv[3]))
presets.make("M4").eval().file_separate(sys.argv[1], output_dir=sys.argv[2])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""
"""Prints the peak memory in KiB; on Linux, `ru_maxrss` would include the parent process's peak."""


def memory(args: argparse.Namespace) -> str:
    """Peak memory of separating a file into files."""
    if not Path("/proc/self/status").exists():
        return "Not measured: only Linux reports the peak memory of a process."
    rates = (22050, CD)
    peaks = [[peak_memory(m, rate, args.threads) for rate in rates] for m in args.minutes]
    rows = [
        [f"{m:g} min", *(f"{peak:.0f}" for peak in row)]
        for m, row in zip(args.minutes, peaks, strict=True)
    ]
    growth = (f"{last - first:.0f}" for first, last in zip(peaks[0], peaks[-1], strict=True))
    return (
        'MB at the peak of a process that runs `presets.make("M4").file_separate` on a stereo '
        "file of 16 bits, all of torch included. Target: less than 1000, and a growth below 50.\n\n"
        + measure.table(["file", *(f"{rate} Hz" for rate in rates)], [*rows, ["growth", *growth]])
    )


def peak_memory(minutes: float, rate: int, threads: int) -> float:
    """Return the peak memory in MB of a process that separates a file of that length."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mixture.wav")
        write_noise(path, minutes, rate)
        command = [sys.executable, "-W", "ignore", "-c", SEPARATE_FILE]
        command += [str(path), folder, str(threads)]
        child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return int(child.stdout) * 1024 / 1e6


def write_noise(path: Path, minutes: float, rate: int) -> None:
    """Write a stereo WAV file in one-second blocks."""
    second = measure.white_noise(2, 1, rate).T.numpy()
    n_samples = round(60 * minutes * rate)
    with soundfile.SoundFile(path, "w", rate, channels=2, subtype="PCM_16") as file:
        for start in range(0, n_samples, rate):
            file.write(second[: n_samples - start])


COMMAND_PRESETS = ("M4", "M5-HighSR")
FORMATS = ("wav", "flac", "mp3")
PHASES = ("start", "weights", "decode", "resample", "network", "encode", "rest", "exit")


def command(args: argparse.Namespace) -> str:
    """Time of `waveunet separate` from start to exit."""
    checkouts = {"": HERE.parent, **({"before, ": Path(args.against)} if args.against else {})}
    with tempfile.TemporaryDirectory() as folder:
        kind = write_song(Path(folder, "song.mp3"), args.music, args.song_seconds)
        for name in COMMAND_PRESETS:
            torch.manual_seed(0)
            torch.save(presets.make(name).serialize(), Path(folder, f"{name}.pth"))
        runs: dict[tuple[str, str, str], list[dict[str, float]]] = {}
        for _ in range(max(1, args.repeats)):
            for name in COMMAND_PRESETS:
                for form in FORMATS:
                    for label, checkout in checkouts.items():
                        found = run_command(Path(folder), name, form, checkout, args.threads)
                        runs.setdefault((label, name, form), []).append(found)
    rows = [[f"{label}{name}", form, *cells(each)] for (label, name, form), each in runs.items()]
    return (
        f"{args.song_seconds:g} s of {kind} as an mp3 of 44100 Hz in stereo, to two stems of the "
        "format, with weights from a file; seconds, medians of "
        f"{max(1, args.repeats)} turns. Encode: what the thread of the network encodes or waits "
        "for. Target: at most 15 % of the total for each part but the network.\n\n"
        + measure.table(["model", "to", *PHASES, "total", "largest but network"], rows)
    )


def write_song(path: Path, music: str | None, seconds: float) -> str:
    """Write an mp3 of test songs, one after the other and again; return what they are."""
    with tempfile.TemporaryDirectory() as draft:
        kind, songs = measure.songs(music, draft, 10)
        parts = [song.mixture(("accompaniment", "vocals")) for song in songs]
    samples = torch.cat([to_channels(x, 2) for x, _ in parts], dim=-1)
    length = round(seconds * CD)
    samples = samples.repeat(1, -(-length // samples.shape[-1]))[:, :length]
    audio_io.write(path, samples, CD, subtype=None)
    return kind


def run_command(
    folder: Path, model: str, form: str, checkout: Path, threads: int
) -> dict[str, float]:
    """Separate the folder's song by a checkout of this package; return the seconds of each part."""
    words = ["separate", folder / "song.mp3", "-m", folder / f"{model}.pth"]
    words += ["-o", folder / "out", "--format", form, "--overwrite"]
    environment = {
        **os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
    }  # fmt: skip
    program = f"import sys; sys.path.insert(0, {str(HERE)!r}); import phases; phases.main()"
    start = time.time()
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(start), *map(str, words)],
        stdout=subprocess.PIPE, text=True, check=True, env=environment, cwd=checkout,
    )  # fmt: skip
    total = time.time() - start
    found = json.loads(child.stdout.splitlines()[-1])
    assert not found.pop("status"), child.stdout
    found["exit"] = start + total - found.pop("ended")
    found["rest"] = total - sum(found.values())
    return {**found, "total": total}


def cells(runs: list[dict[str, float]]) -> Iterator[str]:
    """Yield the medians of each part and of the total, and the largest share but the network's."""
    medians = {name: statistics.median(run[name] for run in runs) for name in (*PHASES, "total")}
    yield from (f"{seconds:.2f}" for seconds in medians.values())
    total = medians.pop("total")
    del medians["network"]
    largest = max(medians, key=lambda name: medians[name])
    yield f"{largest}, {medians[largest] / total:.0%}"


WAITING = """
import statistics, sys, time
import torch
from asteroid_waveunet import presets, separate
levels, threads, turns = map(int, sys.argv[1:])
torch.set_num_threads(threads)
torch.manual_seed(0)
model = presets.make("M4", levels=levels)
mixture = 0.1 * torch.randn(2, model.in_channels, model.geometry.fit(16384).input)
track = 0.1 * torch.randn(2, 10 * 22050)
@torch.enable_grad()
def step():
    model.forward_context(mixture).square().mean().backward()
def whole():
    separate(model, track)
for work in (step, whole):
    seconds = []
    for _ in range(1 + turns):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    print(statistics.median(seconds[1:]))
"""
"""Prints the seconds of a training step of 2 segments, and of separating 10 s."""


def policy(args: argparse.Namespace) -> str:
    """Waiting threads: OMP_WAIT_POLICY=PASSIVE against OpenMP's default."""
    seconds: dict[str, list[list[float]]] = {"default": [], "PASSIVE": []}
    for _ in range(max(1, args.repeats)):
        for name, measured in seconds.items():
            environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
            if name != "default":
                environment["OMP_WAIT_POLICY"] = name
            words = [str(args.levels), str(args.threads), "3"]
            child = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", WAITING, *words],
                stdout=subprocess.PIPE, text=True, check=True, env=environment,
            )  # fmt: skip
            measured.append([float(line) for line in child.stdout.split()])
    rows = [
        [what, *(measure.spread([turn[i] for turn in turns]) for turns in seconds.values())]
        for i, what in enumerate(("a training step, 2 segments", "separating 10 s"))
    ]
    return (
        f"M4 of {args.levels} levels in float32: seconds, median (range) of {max(1, args.repeats)} "
        "processes each, in turns.\n\n" + measure.table(["what", *seconds], rows)
    )
