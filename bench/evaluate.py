"""What scoring costs: tracks per minute, the SDR alone beside museval, memory.

From the repository's root:

    python bench/evaluate.py                          # everything, into bench/RESULTS.md
    python bench/evaluate.py --only sdr
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import measure
import numpy as np

from asteroid_waveunet.experiment import evaluation, scoring
from asteroid_waveunet.experiment.estimates import IdealRatioMask, Parts
from asteroid_waveunet.experiment.musdb import Extent

CD = 44100
PACKAGES = ("torch", "museval", "numpy", "scipy", "asteroid-waveunet")


def rate(args: argparse.Namespace) -> str:
    """Tracks per minute."""
    with tempfile.TemporaryDirectory() as folder:
        kind, songs = measure.songs(args.music, folder, args.songs)
        seconds = [song.extent().frames / song.extent().sample_rate for song in songs]
        ways = {
            f"{name}, {jobs} process{'es' if jobs > 1 else ''}": partial(scored, songs, fast, jobs)
            for name, fast in (("museval", False), ("`--fast`", True))
            for jobs in (1, 2)
        }
        measured = measure.interleaved(ways, args.repeats)
    medians = {name: statistics.median(values) for name, values in measured.items()}
    slowest = max(medians.values())
    rows = [
        [name, f"{60 * len(songs) / medians[name]:.3g}", f"{slowest / medians[name]:.3g}"]
        for name in ways
    ]
    return (
        f"The ideal ratio mask of {len(songs)} {kind}, {sum(seconds) / len(songs):.0f} s each, "
        f"{len(songs[0].stems)} sources, from files to scores, processes' start included; "
        f"medians of {args.repeats} turns.\n\n"
        + measure.table(["way", "tracks per minute", "times as fast"], rows)
    )


def scored(songs: list, fast: bool, jobs: int) -> None:
    with tempfile.TemporaryDirectory() as out:
        systems = {"oracle": scoring.System(IdealRatioMask(), Path(out), fast)}
        scoring.evaluate(songs, systems, songs[0].stems, jobs=jobs, progress=False)


def fast(args: argparse.Namespace) -> str:
    """SDR alone beside museval."""
    with tempfile.TemporaryDirectory() as folder:
        kind, songs = measure.songs(args.music, folder, 1)
        targets = songs[0].stems
        mixture, groups, sample_rate = songs[0].mixture_and_groups(targets)
    estimates = IdealRatioMask()(songs[0], Parts(mixture, groups, sample_rate))
    pair = [
        np.stack([side[target].numpy() for target in targets]).astype(np.float64)
        for side in (groups, estimates)
    ]
    found = {}

    def museval() -> None:
        turned = [samples.transpose(0, 2, 1) for samples in pair]
        found["museval"] = evaluation.museval().evaluate(*turned, win=sample_rate, hop=sample_rate)[
            0
        ]

    def window_sdr() -> None:
        found["fast"] = evaluation.window_sdr(*pair, sample_rate)

    measured = measure.interleaved({"museval": museval, "`window_sdr`": window_sdr}, args.repeats)
    medians = {name: statistics.median(values) for name, values in measured.items()}
    rows = [
        [name, measure.spread(measured[name]), f"{medians['museval'] / medians[name]:.0f}"]
        for name in medians
    ]
    error = np.nanmax(abs(found["fast"] - found["museval"]))
    same = (np.isnan(found["fast"]) == np.isnan(found["museval"])).all()
    return (
        f"One of the {kind}, {mixture.shape[-1] / sample_rate:.0f} s of stereo at {sample_rate} "
        f"Hz, {len(targets)} sources, in memory: seconds, median (range) of {args.repeats} turns. "
        "Wanted: 100 times as fast, the same SDR to 1e-9 dB.\n\n"
        + measure.table(["way", "s", "times as fast"], rows)
        + f"\n\nLargest difference of a window's SDR: {error:.1g} dB; windows without a score are "
        f"{'the same' if same else 'NOT the same'} ({np.isnan(found['fast'][0]).sum()} of "
        f"{found['fast'].shape[1]})."
    )


SCORE = """
import sys, numpy
from asteroid_waveunet.experiment import evaluation
n_targets, seconds, rate, fast = (int(a) for a in sys.argv[1:])
noise = numpy.random.default_rng(0).standard_normal
references = {str(i): 0.1 * noise((2, seconds * rate), dtype="f4") for i in range(n_targets)}
estimates = {k: s + 0.01 * noise(s.shape, dtype="f4") for k, s in references.items()}
evaluation.score_track(references, estimates, rate, "noise", bool(fast))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""
"""Prints the KiB in memory at the peak."""


def memory(args: argparse.Namespace) -> str:
    """Memory of a process that scores a track."""
    if not Path("/proc/self/status").exists():
        return "Not measured: the system does not tell a process's peak as Linux does."
    rows = []
    for n_targets in args.targets:
        for seconds in args.lengths:
            for fast in (False, True):
                expected = scoring.gigabytes(Extent(2, seconds * CD, CD), n_targets, fast)
                way = "`--fast`" if fast else "museval"
                peak = peak_gigabytes(n_targets, seconds, fast)
                rows.append([way, n_targets, seconds, f"{peak:.2f}", f"{expected:.2f}"])
    return (
        f"GB at the peak, stereo at {CD} Hz, beside what `--memory` reckons with.\n\n"
        + measure.table(["way", "targets", "s", "peak, GB", "reckoned, GB"], rows)
    )


def peak_gigabytes(n_targets: int, seconds: int, fast: bool) -> float:
    command = [sys.executable, "-W", "ignore", "-c", SCORE]
    command += [str(number) for number in (n_targets, seconds, CD, int(fast))]
    child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return int(child.stdout) * 1024 / 1e9


PARTS = {"scoring": rate, "sdr": fast, "scoring_memory": memory}


def arguments() -> argparse.Namespace:
    parser = measure.parser(__doc__, PARTS)
    parser.set_defaults(repeats=3)
    parser.add_argument("--songs", type=int, default=4)
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=[30, 60, 120], help="of tracks, in s"
    )
    parser.add_argument("--targets", type=int, nargs="+", default=[2, 4], help="how many")
    args = parser.parse_args()
    args.only = args.only or list(PARTS)
    return args


if __name__ == "__main__":
    args = arguments()
    measure.write_parts(PARTS, args, "cpu", PACKAGES)
