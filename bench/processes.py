"""Benchmark processes as a whole: the memory of separating files, and the command's time."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import measure
import soundfile

__all__ = ["memory"]

CD = 44100

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
