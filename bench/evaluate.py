"""Benchmark scoring: tracks per minute, the engines against museval, memory, stage 3.

From the repository's root:

    python bench/evaluate.py                          # everything, into bench/RESULTS.md
    python bench/evaluate.py --only tracks
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import measure
import numpy as np

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.experiment.data.track import Extent
from asteroid_waveunet.experiment.evaluation import bss_eval, scoring, window_sdr
from asteroid_waveunet.experiment.evaluation.estimators import IdealRatioMask, TrackAudio
from asteroid_waveunet.experiment.evaluation.metrics.museval_engine import museval
from asteroid_waveunet.experiment.evaluation.score_store import ScoreStore

CD = 44100
TARGETS = ("bass", "drums", "other", "vocals")
WAYS: dict[str, dict] = {
    "museval": {"engine": "museval"},
    "bss_eval": {"engine": "bss_eval"},
    "fast": {"fast": True},
}
PACKAGES = ("torch", "museval", "numpy", "scipy", "asteroid-waveunet")


def rate(args: argparse.Namespace) -> str:
    """Tracks per minute."""
    with tempfile.TemporaryDirectory() as folder:
        kind, songs = measure.songs(args.music, folder, args.songs)
        seconds = [song.extent().frames / song.extent().sample_rate for song in songs]
        ways = {
            f"{name}, {jobs} process{'es' if jobs > 1 else ''}": partial(scored, songs, how, jobs)
            for name, how in WAYS.items()
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


def scored(songs: list, how: dict, jobs: int) -> None:
    with tempfile.TemporaryDirectory() as out:
        stores = {"oracle": ScoreStore(IdealRatioMask(), Path(out), **how)}
        scoring.score_tracks(songs, stores, songs[0].stems, jobs=jobs, progress=False)


def metrics(args: argparse.Namespace) -> str:
    """The engines on a song against museval."""
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

    def by_museval() -> None:
        turned = [samples.transpose(0, 2, 1) for samples in pair]
        scores = museval().evaluate(*turned, win=sample_rate, hop=sample_rate)
        found["museval"] = np.stack(scores)

    def by_bss_eval() -> None:
        found["bss_eval"] = np.stack(bss_eval(*pair, sample_rate))

    def sdr_only() -> None:
        found["window_sdr"] = window_sdr(*pair, sample_rate)[None]

    ways = {"museval": by_museval, "bss_eval": by_bss_eval, "window_sdr": sdr_only}
    measured = measure.interleaved(ways, args.repeats)
    fastest = {name: min(values) for name, values in measured.items()}
    rows = []
    for name, scores in found.items():
        expected = found["museval"][: len(scores)]
        same = (np.isnan(scores) == np.isnan(expected)).all()
        error = np.nanmax(abs(scores - expected), axis=(1, 2))
        rows.append([
            name, f"{fastest[name]:.2f}", f"{fastest['museval'] / fastest[name]:.3g}",
            ", ".join(f"{each:.1g}" for each in error), "yes" if same else "NO",
        ])  # fmt: skip
    return (
        f"One of the {kind}, {mixture.shape[-1] / sample_rate:.0f} s of stereo at {sample_rate} "
        f"Hz, {len(targets)} sources, in memory: the least of {args.repeats} turns. Largest "
        "differences of a window's SDR, ISR, SIR and SAR in dB, and the same windows without one? "
        f"({np.isnan(found['museval'][0, 0]).sum()} of {found['museval'].shape[-1]})\n\n"
        + measure.table(["way", "s", "times as fast", "difference, dB", "same NaN"], rows)
    )


TIME = """
import sys, time
import numpy as np
import torch
from asteroid_waveunet.experiment.evaluation import bss_eval
from asteroid_waveunet.experiment.evaluation.metrics.museval_engine import museval
way, (sources, seconds, repeats) = sys.argv[1], map(int, sys.argv[2:])
noise = np.random.default_rng(0)
references = noise.standard_normal((sources, 2, seconds * 44100), dtype="float32")
estimates = noise.standard_normal(references.shape, dtype="float32")
estimates *= 0.1
estimates += references
if way == "museval":
    turned = [samples.transpose(0, 2, 1) for samples in (references, estimates)]
    score = lambda: museval().evaluate(*turned)
else:
    score = lambda: bss_eval(references, estimates, 44100)
taken = []
for _ in range(repeats):
    start = time.perf_counter()
    score()
    taken.append(time.perf_counter() - start)
print(min(taken))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""
"""Scores a track of noise in memory and prints the seconds and the peak memory in KiB."""


def tracks(args: argparse.Namespace) -> str:
    """Time and memory of one track, and of a test set."""
    lengths, rows, fits = args.track_lengths, [], {}
    sources, repeats = args.targets[-1], max(args.repeats, 1)
    taken = {
        (way, seconds): run(TIME, way, sources, seconds, repeats if way == "bss_eval" else 1)
        for seconds in lengths
        for way in ("museval", "bss_eval")
    }
    for (way, seconds), (duration, peak) in taken.items():
        ratio = taken["museval", seconds][0] / duration
        rows.append([way, seconds, f"{duration:.2f}", f"{ratio:.3g}", f"{peak * 1024e-9:.2f}"])
    for way in ("museval", "bss_eval"):
        first, last = (taken[way, seconds][0] for seconds in (lengths[0], lengths[-1]))
        window = (last - first) / max(lengths[-1] - lengths[0], 1)
        track = max(first - window * lengths[0], 0.0)
        fits[way] = [
            way, f"{track:.2f}", f"{1e3 * window:.1f}",
            f"{50 * (track + 240 * window) / 60:.3g}",
        ]  # fmt: skip
    return (
        f"Noise, {sources} sources in stereo at {CD} Hz, in memory as float32, one process; "
        f"museval is timed once, bss_eval {repeats} times, the least counts. The peak includes "
        "Python, torch and the samples. A track's and a window's costs are fitted to the shortest "
        "and the longest track; the test set, 50 tracks of 240 s, is extrapolated from them.\n\n"
        + measure.table(["way", "track, s", "time, s", "times as fast", "peak, GB"], rows)
        + "\n\n"
        + measure.table(["way", "per track, s", "per window, ms", "test set, min"], fits.values())
    )


def run(code: str, *arguments: object) -> list[float]:
    """Run code in a new process; return the numbers that it prints, one a line."""
    return [float(line) for line in output("-c", code, *arguments).split()]


def output(*arguments: object) -> str:
    """Run Python in a new process and return what it prints."""
    command = [sys.executable, "-W", "ignore", *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def stage3(args: argparse.Namespace) -> str:
    """Stage 3 step by step."""
    script, parts = Path(__file__).with_name("stage3.py"), []
    with tempfile.TemporaryDirectory() as folder:
        kind, songs = measure.songs(args.music, folder, sys.maxsize)
        data = songs[0].path.parent.parent
        seconds = sum(song.extent().frames / song.extent().sample_rate for song in songs)
        for n in args.targets:
            steps = {
                engine: json.loads(output(script, data, engine, n))
                for engine in ("museval", "bss_eval")
            }
            parts.append(f"{n} sources:\n\n{steps_table(**steps)}")
    return (
        f"`waveunet evaluate` on {len(songs)} {kind}, {seconds:.0f} s in all, by the packaged "
        "model (of four sources: by one of its size with random weights), in one process with one "
        "thread, where scoring would run in several. Seconds of the processor, ffmpeg's included, "
        "and the share of each step.\n\n" + "\n\n".join(parts)
    )


def steps_table(museval: dict[str, float], bss_eval: dict[str, float]) -> str:
    whole = {step: (museval[step], bss_eval[step]) for step in bss_eval}
    whole["all"] = sum(museval.values()), sum(bss_eval.values())
    rows = [
        [step, f"{before:.2f}", f"{now:.2f}", f"{now / whole['all'][1]:.0%}"]
        for step, (before, now) in sorted(whole.items(), key=lambda item: item[1][1])[::-1]
    ]
    return measure.table(["step", "`--engine museval`, s", "default, s", "share"], rows)


SCORE = """
import sys
from pathlib import Path
from asteroid_waveunet.experiment.data import musdb
from asteroid_waveunet.experiment.evaluation import track_scoring
from asteroid_waveunet.experiment.evaluation.estimators import IdealRatioMask
from asteroid_waveunet.experiment.evaluation.score_store import ScoreStore
root, way, *targets = sys.argv[1:]
(song,) = musdb.tracks(root, "test")
how = {"fast": True} if way == "fast" else {"engine": way}
oracle = ScoreStore(IdealRatioMask(), Path(root), **how)
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
                for way, how in WAYS.items():
                    extent = Extent(2, seconds * CD, CD)
                    bound = scoring.memory_needed(extent, len(TARGETS), len(targets), **how)
                    (peak,) = run(SCORE, folder, way, *targets)
                    rows.append(
                        [way, len(targets), seconds, f"{peak * 1024e-9:.2f}", f"{bound:.2f}"]
                    )
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


PARTS = {
    "scoring": rate,
    "metrics": metrics,
    "tracks": tracks,
    "scoring_memory": memory,
    "stage3": stage3,
}


def arguments() -> argparse.Namespace:
    parser = measure.parser(__doc__, PARTS)
    parser.set_defaults(repeats=3)
    parser.add_argument("--songs", type=int, default=4)
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=[30, 60, 120], help="lengths of tracks in seconds"
    )
    parser.add_argument(
        "--track-lengths", type=int, nargs="+", default=[30, 240], help="of `tracks`, in seconds"
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
