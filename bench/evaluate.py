"""Benchmark scoring: tracks per minute, SDR only against museval, memory.

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
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import measure
import numpy as np

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.experiment.data.track import Extent
from asteroid_waveunet.experiment.evaluation import bss_eval, scoring
from asteroid_waveunet.experiment.evaluation.estimators import IdealRatioMask, TrackAudio
from asteroid_waveunet.experiment.evaluation.score_store import ScoreStore

CD = 44100
TARGETS = ("bass", "drums", "other", "vocals")
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
        f"{len(songs[0].stems)} sources, from files to scores, including the processes' start; "
        f"medians of {args.repeats} turns.\n\n"
        + measure.table(["way", "tracks per minute", "times as fast"], rows)
    )


def scored(songs: list, fast: bool, jobs: int) -> None:
    with tempfile.TemporaryDirectory() as out:
        stores = {"oracle": ScoreStore(IdealRatioMask(), Path(out), fast)}
        scoring.score_tracks(songs, stores, songs[0].stems, jobs=jobs, progress=False)


def fast(args: argparse.Namespace) -> str:
    """SDR only against museval."""
    with tempfile.TemporaryDirectory() as folder:
        kind, songs = measure.songs(args.music, folder, 1)
        targets = songs[0].stems
        mixture, groups, sample_rate = songs[0].mixture_and_groups(targets)
    estimates = IdealRatioMask()(songs[0], TrackAudio(mixture, groups, sample_rate))
    pair = [
        np.stack([side[target].numpy() for target in targets]).astype(np.float64)
        for side in (groups, estimates)
    ]
    found = {}

    def museval() -> None:
        turned = [samples.transpose(0, 2, 1) for samples in pair]
        found["museval"] = bss_eval.museval().evaluate(*turned, win=sample_rate, hop=sample_rate)[0]

    def window_sdr() -> None:
        found["fast"] = bss_eval.window_sdr(*pair, sample_rate)

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
        "Target: 100 times as fast, the same SDR to 1e-9 dB.\n\n"
        + measure.table(["way", "s", "times as fast"], rows)
        + f"\n\nLargest difference of a window's SDR: {error:.1g} dB; windows without a score are "
        f"{'the same' if same else 'NOT the same'} ({np.isnan(found['fast'][0]).sum()} of "
        f"{found['fast'].shape[1]})."
    )


SCORE = """
import sys
from pathlib import Path
from asteroid_waveunet.experiment.data import musdb
from asteroid_waveunet.experiment.evaluation import track_scoring
from asteroid_waveunet.experiment.evaluation.estimators import IdealRatioMask
from asteroid_waveunet.experiment.evaluation.score_store import ScoreStore
root, fast, *targets = sys.argv[1:]
(song,) = musdb.tracks(root, "test")
oracle = ScoreStore(IdealRatioMask(), Path(root), fast == "fast")
track_scoring.score_estimators(song, {"oracle": oracle}, tuple(targets))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""
"""Scores a track like a worker process and prints its peak memory in KiB."""


def memory(args: argparse.Namespace) -> str:
    """Memory of a process that scores a track."""
    if not Path("/proc/self/status").exists():
        return "Not measured: only Linux reports the peak memory of a process."
    rows = []
    for seconds in args.lengths:
        with tempfile.TemporaryDirectory() as folder:
            write_noise(Path(folder), seconds)
            for targets in (TARGETS[:n] for n in args.targets):
                for way in ("museval", "fast"):
                    bound = scoring.memory_needed(
                        Extent(2, seconds * CD, CD), len(TARGETS), len(targets), way == "fast"
                    )
                    peak = peak_gigabytes(folder, way, targets)
                    rows.append([way, len(targets), seconds, f"{peak:.2f}", f"{bound:.2f}"])
    return (
        f"GB at the peak, from files of four stems in stereo at {CD} Hz to scores of their ideal "
        "ratio masks, and the bound that `--memory` uses.\n\n"
        + measure.table(["way", "targets", "s", "peak, GB", "bound, GB"], rows)
    )


def write_noise(folder: Path, seconds: int) -> None:
    """Write a song of four stems in MUSDB18's layout."""
    noise = measure.white_noise(2 * len(TARGETS), seconds, CD).chunk(len(TARGETS))
    for name, stem in zip((*TARGETS, "mixture"), (*noise, sum(noise)), strict=True):
        audio_io.write(folder / "test" / "noise" / f"{name}.wav", stem, CD)


def peak_gigabytes(folder: str, way: str, targets: Sequence[str]) -> float:
    command = [sys.executable, "-W", "ignore", "-c", SCORE, folder, way, *targets]
    child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return int(child.stdout) * 1024 / 1e9


PARTS = {"scoring": rate, "sdr": fast, "scoring_memory": memory}


def arguments() -> argparse.Namespace:
    parser = measure.parser(__doc__, PARTS)
    parser.set_defaults(repeats=3)
    parser.add_argument("--songs", type=int, default=4)
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=[30, 60, 120], help="lengths of tracks in seconds"
    )
    parser.add_argument("--targets", type=int, nargs="+", default=[2, 4], help="numbers of targets")
    args = parser.parse_args()
    args.only = args.only or list(PARTS)
    return args


def main() -> None:
    args = arguments()
    measure.write_parts(PARTS, args, "cpu", PACKAGES)


if __name__ == "__main__":
    main()
