"""Benchmark catalogues: overhead of Ray, scaling, manifests of a million rows.

From the repository's root:

    python bench/cluster.py                           # everything, into bench/RESULTS.md
    python bench/cluster.py --only manifest --rows 1000000
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import measure
import ray
import torch

from asteroid_waveunet import WaveUNet
from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.catalogue import manifest as manifests
from asteroid_waveunet.catalogue import separate_catalogue
from asteroid_waveunet.catalogue.engine import Engine, work_off
from asteroid_waveunet.catalogue.job import Job
from asteroid_waveunet.catalogue.log import DONE, Log, Outcome
from asteroid_waveunet.catalogue.ray_engine import RayEngine
from asteroid_waveunet.catalogue.songs import CatalogueSong
from asteroid_waveunet.cloud.ray_cluster import Resources
from asteroid_waveunet.separation import batch
from asteroid_waveunet.separation.layout import Layout
from asteroid_waveunet.separation.separate import separate_file
from asteroid_waveunet.separation.stem_options import StemOptions
from asteroid_waveunet.separation.stem_store import StemStore

CD = 44100
PACKAGES = ("torch", "ray", "pyarrow", "asteroid-waveunet")
MODEL = "free"
DRIVE = f"""
import sys, pathlib
sys.path.insert(0, {str(Path(__file__).parent)!r})
import cluster
cluster.drive(pathlib.Path(sys.argv[1]), *sys.argv[2:])
"""


def overhead(args: argparse.Namespace) -> str:
    """Overhead of a Ray worker per song against plain `--jobs 1`."""
    with tempfile.TemporaryDirectory() as folder, prepared(Path(folder), args) as (songs, engines):
        ways = {
            "plain `--jobs 1`": partial(plain, Path(folder), songs, 1),
            "one Ray worker": partial(on_ray, engines[1], songs),
        }
        seconds = measure.interleaved(ways, args.repeats)
    rows = [[way, measure.spread(values, len(songs))] for way, values in seconds.items()]
    ratios = [many / one for one, many in zip(*seconds.values(), strict=True)]
    return (
        f"Seconds per song of {len(songs)} stereo songs of {args.seconds:g} s at {CD} Hz with the "
        f"weights `{MODEL}`, one thread, from files to files, without the start of the processes: "
        f"median (range) of {args.repeats} turns. Ratio of each turn: "
        f"{measure.spread(ratios)}. Aim: at most 1.05. Ray runs its workers at nice 15: where "
        "other processes want the cores, they get less than plain ones.\n\n"
        + measure.table(["way", "s per song"], rows)
    )


def scaling(args: argparse.Namespace) -> str:
    """Two Ray workers against one."""
    with tempfile.TemporaryDirectory() as folder, prepared(Path(folder), args) as (songs, engines):
        ways = {
            "one worker": partial(on_ray, engines[1], songs),
            "two workers": partial(on_ray, engines[2], songs),
            "plain `--jobs 1`": partial(plain, Path(folder), songs, 1),
            "plain `--jobs 2`": partial(plain, Path(folder), songs, 2),
        }
        seconds = measure.interleaved(ways, args.repeats)
    medians = [statistics.median(values) for values in seconds.values()]
    return (
        f"{len(songs)} songs of {args.seconds:g} s, one thread a worker. Times as fast as one: "
        f"Ray {medians[0] / medians[1]:.2f}, plain {medians[2] / medians[3]:.2f}. Aim: above 1.8 "
        "on two free cores.\n\n"
        + measure.table(
            ["way", "s for all songs"],
            [[way, measure.spread(values)] for way, values in seconds.items()],
        )
    )


class prepared:
    """Songs on disk, and ready Ray engines of one and two workers with one thread each."""

    def __init__(self, folder: Path, args: argparse.Namespace):
        self.folder, self.args = folder, args

    def __enter__(self) -> tuple[list[CatalogueSong], dict[int, Engine]]:
        torch.set_num_threads(1)
        noise = measure.white_noise(2, self.args.seconds, CD)
        songs = []
        for number in range(self.args.songs):
            path = self.folder / "songs" / f"{number}.wav"
            audio_io.write(path, noise.roll(number, -1), CD, "PCM_16")
            songs.append(CatalogueSong(str(path), str(number)))
        model = WaveUNet.from_pretrained(MODEL)
        job = Job(str(self.folder / "ray"), "w", model.sources, StemOptions(), overwrite=True)
        job = Job(**{**vars(job), "threads": 1})
        ray.init("local", num_cpus=3, log_to_driver=False, include_dashboard=False)
        self.engines: dict[int, Engine] = {}
        for n in (1, 2):
            engine = RayEngine(ray, job, model.serialize(), Resources(n, 1, 0))
            while engine.n_workers < n:
                engine.finished(1.0)
            self.engines[n] = engine
        return songs, self.engines

    def __exit__(self, *_: object) -> None:
        for engine in self.engines.values():
            engine.close()
        ray.shutdown()
        torch.set_num_threads(self.args.threads)


def on_ray(engine: Engine, songs: list[CatalogueSong]) -> None:
    outcomes: list = []
    work_off(iter(songs), engine, outcomes.append)
    assert [outcome.error for outcome in outcomes if outcome.error] == []


def plain(folder: Path, songs: list[CatalogueSong], jobs: int) -> None:
    """Separate as `waveunet separate --jobs` does."""
    model = WaveUNet.from_pretrained(MODEL).without_clipping()
    store = StemStore(Layout(folder / "plain", model.sources), "w", {}, overwrite=True)

    def work(song: batch.Song, check: object) -> None:
        with store.writing(song, lambda: None) as target:
            separate_file(model, song.path, target)

    threads = torch.get_num_threads()
    torch.set_num_threads(jobs)  # shared by the jobs
    failures = batch.run([batch.Song(Path(s.source), Path(s.name)) for s in songs], work, jobs)
    torch.set_num_threads(threads)
    assert failures == {}


def manifest(args: argparse.Namespace) -> str:
    """Manifests: time to the first song, restart, memory of the driver."""
    rows = []
    for form in ("jsonl", "parquet"):
        with tempfile.TemporaryDirectory() as folder:
            write_manifest(Path(folder), args.rows, form)
            for state in ("new", "log", "half done", "all songs"):
                line = [sys.executable, "-c", DRIVE, folder, form, state]
                result = subprocess.run(line, capture_output=True, text=True, check=True)
                if state == "log":
                    continue
                *seconds, peak = json.loads(result.stdout.splitlines()[-1])
                rows.append([form, state, *(f"{s:.1f}" for s in seconds), f"{peak:.2f}"])
    # Seconds of CPU, which other processes on the machine change least.
    restart = max(float(row[3]) for row in rows if row[1] == "half done") / args.rows
    whole, half = (
        statistics.mean(
            float(row[5 if row[1] == "all songs" else 3]) for row in rows if row[1] == s
        )
        for s in ("all songs", "half done")
    )
    rate = args.rows / 2 / max(whole - half, 1e-9)
    return (
        f"A manifest of {args.rows} rows and a log of half as many done songs, on the local disk; "
        "the workers are replaced by ones that take no time. Aims for a million rows: first song "
        "and restart (`half done`) within 60 s, peak below 1 GB. `all songs` goes on with the "
        f"other half: the driver takes part in at most {rate:.0f} songs per second of CPU, which "
        "bounds the rate of all workers. Extrapolated linearly to 10 million rows: "
        f"{restart * 1e7:.0f} s of CPU from a restart to the first song. Load of the machine at "
        f"the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.\n\n"
        + measure.table(
            ["manifest", "run", "first song, s", "of CPU", "end, s", "of CPU", "peak, GB"], rows
        )
    )


def write_manifest(folder: Path, n_rows: int, form: str) -> None:
    rows = (f"s3://catalogue/albums/{n // 12:07}/{n % 12:02}.flac" for n in range(n_rows))
    if form == "jsonl":
        with (folder / "songs.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps({"path": row}) + "\n" for row in rows)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"path": list(rows)}), folder / "songs.parquet")


class Instant:
    """Workers that take no time; `stops`: the run is interrupted when the first songs are done."""

    n_workers = 1

    def __init__(self, stops: bool):
        self.stops, self.done = stops, []

    @property
    def n_running(self) -> int:
        return len(self.done)

    def start(self, song: CatalogueSong, alone: bool = False) -> bool:
        if len(self.done) >= 300:
            return False
        self.done.append(song)
        return True

    def finished(self, seconds: float) -> list:
        if self.stops:
            raise KeyboardInterrupt
        songs, self.done = self.done, []
        digest = "0123456789abcdef" * 4
        return [
            (song, Outcome(song, DONE, True, 9.0, 180.0, "", {
                f"s3://stems/{song.name}/{stem}.wav": (10**7, digest)
                for stem in ("vocals", "accompaniment")
            }, "worker"))
            for song in songs
        ]  # fmt: skip


def drive(folder: Path, form: str, state: str) -> None:
    """Do the driver's part of a run; print seconds to the first song and to the end, and GB."""
    job = Job(str(folder / "out"), "w", ("vocals", "accompaniment"), StemOptions())

    def rows() -> Iterator[CatalogueSong]:
        return manifests.read(str(folder / f"songs.{form}"))

    begun, used, first = time.perf_counter(), time.process_time(), []

    class Timed(Instant):
        def start(self, song: CatalogueSong, alone: bool = False) -> bool:
            if not first:
                first.extend([time.perf_counter() - begun, time.process_time() - used])
            return super().start(song, alone)

    engine = Timed(stops=state in ("new", "half done"))
    if state == "log":
        log = Log(job.output, job.recipe)
        n_rows = sum(1 for _ in rows())
        work_off(itertools.islice(rows(), n_rows // 2), engine, log.add)
        log.flush()
    else:
        with contextlib.suppress(KeyboardInterrupt):
            keys = manifests.keys_of(rows)
            separate_catalogue._run(job, engine, rows, keys, [], verify=False, shown=False)
    end = [time.perf_counter() - begun, time.process_time() - used]
    print(json.dumps([*first, *end, measure.process_memory()]))


PARTS = {"overhead": overhead, "scaling": scaling, "manifest": manifest}


def arguments() -> argparse.Namespace:
    parser = measure.parser(__doc__, PARTS)
    parser.set_defaults(repeats=3)
    parser.add_argument("--songs", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=180.0, help="length of each song")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the manifest")
    args = parser.parse_args()
    args.only = args.only or list(PARTS)
    return args


def main() -> None:
    measure.write_parts(PARTS, arguments(), "cpu", PACKAGES)


if __name__ == "__main__":
    main()
