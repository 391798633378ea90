"""Separate the songs of a catalogue, on this machine or on a Ray cluster."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asteroid_waveunet import pretrained
from asteroid_waveunet.catalogue import manifest as manifests
from asteroid_waveunet.catalogue.engine import Engine, work_off
from asteroid_waveunet.catalogue.job import Job
from asteroid_waveunet.catalogue.local_engine import LocalEngine
from asteroid_waveunet.catalogue.log import CATALOGUE, DONE, FAILED, Known, Log, Outcome, pyarrow
from asteroid_waveunet.catalogue.progress import Progress, Summary
from asteroid_waveunet.catalogue.ray_engine import RayEngine
from asteroid_waveunet.catalogue.songs import CatalogueSong, find
from asteroid_waveunet.cloud import ray_cluster, storage
from asteroid_waveunet.cloud.leases import leased
from asteroid_waveunet.file_locks import locked
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.models.by_name import load_model
from asteroid_waveunet.separation.stem_options import StemOptions
from asteroid_waveunet.weights import serialization

__all__ = ["separate_catalogue"]

ROWS_AT_ONCE = 10_000
TRUSTED_FROM = 5000  # songs in the log; of fewer each is looked up
NONE_KNOWN = Known(np.empty(0, np.uint64), np.empty(0, np.uint64))


def separate_catalogue(
    songs: Sequence[str | os.PathLike] = (),
    output: str | os.PathLike = "separated",
    model: str | SourceModel = pretrained.DEFAULT,
    *,
    manifest: str | os.PathLike | None = None,
    cluster: str | None = None,
    workers: int | None = None,
    gpus_per_worker: float | None = None,
    cpus_per_worker: float | None = None,
    jobs: int = 1,
    device: str | None = None,
    scratch: str | os.PathLike | None = None,
    name: str | None = None,
    overwrite: bool = False,
    skip_existing: bool = False,
    verify: bool = False,
    progress: bool = True,
    **options: Any,
) -> Summary:
    """Write the stems of songs and `catalogue.parquet`, a table of all songs, to `output`.

    The same call skips what is done and goes on, from any machine. Of several calls with one
    output, one works at a time, and the others wait. A song that fails stops no other. Songs and
    output are paths or URLs of any scheme that fsspec reads.

    Args:
        songs: files, folders, patterns, URLs.
        model: a model, or its folder, file, Hub name, URL or name of the package's weights.
        manifest: .jsonl, .csv or .parquet file of songs, instead of `songs`; see `manifest.read`.
        cluster: "auto", "local", "ray://HOST:10001" or "HOST:6379"; None: this process.
        workers, gpus_per_worker, cpus_per_worker: of the cluster; see `Resources`. A worker
            computes a song at a time with `cpus_per_worker` threads (by default, one).
        jobs: songs that compute at the same time without a cluster.
        device: of the models; by default CUDA where a worker has a GPU, else the CPU.
        scratch: folder for temporary files of each worker; by default the system's.
        name: template of the stems' paths; see `separation.layout.Layout`.
        overwrite: separate songs that are done, too.
        skip_existing: songs are done if files of their stems' names exist.
        verify: look up the record of every song instead of believing the log of earlier runs,
            which is done for more than 5000 songs.
        progress: show it on stderr.
        options: the fields of `StemOptions`: `format="flac"`, `stems=["vocals"]`, ...
    Returns:
        Counts, rates and the reasons of failures.
    Raises:
        ImportError: if a package is missing; names it.
        OSError: if the songs, the manifest, the model or the cluster cannot be reached, or the
            output cannot be written to.
        ValueError: if an option is out of range, the manifest lacks a column, or two songs would
            write the same stems.

    >>> separate_catalogue(manifest="songs.jsonl", output="s3://bucket/stems",
    ...                    cluster="auto", format="flac")  # doctest: +SKIP
    """
    pyarrow("parquet")
    chosen = StemOptions(**options)
    resources = _resources(cluster, jobs, workers, cpus_per_worker, gpus_per_worker)
    if bool(songs) == (manifest is not None):
        raise ValueError("Expected either songs or a manifest.")
    target = _absolute(output)
    rows, keys, missing = _rows([str(song) for song in songs], manifest, target)
    loaded = load_model(model, "cpu") if isinstance(model, str) else model
    conf = loaded.serialize()
    chosen.separation(loaded)  # refuses what does not fit the model
    job = Job(
        output=target,
        weights=serialization.fingerprint(conf),
        stems=chosen.names(loaded.sources),
        options=chosen,
        template=name,
        overwrite=overwrite,
        skip_existing=skip_existing,
        device=device,
        threads=max(1, int(resources.cpus) if cluster else torch.get_num_threads() // jobs),
        scratch=None if scratch is None else str(scratch),
    )
    _check_layout(job, len(keys))
    storage.check_writable(target)
    with _alone(target) as check, _engine(job, conf, jobs, cluster, resources, rows) as engine:
        return _run(job, engine, rows, keys, missing, verify, progress, check)


def _absolute(place: str | os.PathLike) -> str:
    """Return a URL, or a path that holds for all processes of this machine."""
    local = storage.local_path(str(place))
    return str(place) if local is None else str(local.absolute())


def _rows(
    songs: list[str], manifest: str | os.PathLike | None, output: str
) -> tuple[Callable[[], Iterator[CatalogueSong]], np.ndarray, list[Outcome]]:
    """Return what yields the songs, their sorted keys, and the inputs that are missing."""
    if manifest is not None:
        place = _absolute(manifest)

        def rows() -> Iterator[CatalogueSong]:
            return manifests.read(place)

        return rows, manifests.keys_of(rows), []
    missing: dict[str, str] = {}
    found = find(songs, output, missing)
    lost = [
        Outcome(CatalogueSong(item, item), FAILED, error=error) for item, error in missing.items()
    ]
    everything = [*found, *(outcome.song for outcome in lost)]
    return lambda: iter(found), manifests.keys_of(lambda: iter(everything)), lost


def _resources(
    cluster: str | None, jobs: int, workers: int | None, cpus: float | None, gpus: float | None
) -> ray_cluster.Resources:
    """Return the resources of the workers.

    Raises:
        ValueError: if a number is out of range, or is for another place of work.
    """
    given = {"workers": workers, "cpus_per_worker": cpus, "gpus_per_worker": gpus}
    name = next((name for name, value in given.items() if value is not None), None)
    if cluster is None and name:
        raise ValueError(f"{name} needs a cluster (--cluster); on this machine, give --jobs.")
    if cluster is not None and jobs != 1:
        raise ValueError("jobs is for one machine; on a cluster, give --workers.")
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}; expected at least 1.")
    return ray_cluster.Resources(workers, 1 if cpus is None else cpus, gpus)


def _check_layout(job: Job, n_songs: int) -> None:
    """Check that the names of stems tell songs apart.

    Raises:
        ValueError: if not.
    """
    layout = job.layout(storage.local_path(job.output) or Path("out"))
    if n_songs > 1 and not layout.names_songs:
        raise ValueError(f"--name {job.template} gives all songs the same stems; add {{song}}.")


@contextlib.contextmanager
def _alone(output: str) -> Iterator[Callable[[], None]]:
    """Wait until no other command writes to an output, and keep others out for the block.

    Yields:
        A function that raises OSError if another has come in, because this one was cut off.
    """
    folder = storage.local_path(output)
    if folder is not None:
        with locked(folder / CATALOGUE):
            yield lambda: None
    elif output.lower().startswith("hf://"):  # where each beat of a lease would be a commit
        yield lambda: None
    else:
        with leased(output) as check:
            yield check


@contextlib.contextmanager
def _engine(
    job: Job,
    model: dict[str, Any],
    jobs: int,
    cluster: str | None,
    resources: ray_cluster.Resources,
    rows: Callable[[], Iterable[CatalogueSong]],
) -> Iterator[Engine]:
    """Yield the workers, and stop them at the end."""
    engine: Engine
    if cluster is None:
        engine = LocalEngine(job, model, jobs)
        with contextlib.closing(engine):
            yield engine
        return
    with ray_cluster.connected(cluster) as ray, _probe(job.output) as probe:
        fitted = resources.fitted(ray_cluster.alive_nodes(ray))
        engine = RayEngine(ray, job, model, fitted, probe, _visible(next(iter(rows()), None)))
        with contextlib.closing(engine):
            yield engine


def _visible(song: CatalogueSong | None) -> CatalogueSong | None:
    """Return a song, or None if this machine cannot read it: then it fails alone."""
    with contextlib.suppress(OSError):
        if song is not None and storage.size(song.source) is not None:
            return song
    return None


@contextlib.contextmanager
def _probe(output: str) -> Iterator[str | None]:
    """Write a file to an output folder on disk for the block, by which workers find the folder."""
    folder = storage.local_path(output)
    if folder is None:
        yield None
        return
    probe = folder / ".waveunet" / f"probe-{time.time_ns()}"
    storage.write_bytes(str(probe), b"")
    try:
        yield str(probe)
    finally:
        probe.unlink(missing_ok=True)


def _run(
    job: Job,
    engine: Engine,
    rows: Callable[[], Iterator[CatalogueSong]],
    keys: np.ndarray,
    missing: list[Outcome],
    verify: bool,
    shown: bool,
    check: Callable[[], None] = lambda: None,
) -> Summary:
    """Separate the songs that are not done; write the log and the catalogue.

    Args:
        check: called before a song's record; what it raises ends the run without a record.
    """
    log, summary = Log(job.output, job.recipe), Summary(songs=len(keys))
    logged = log.known()
    is_trusted = len(logged.keys) >= TRUSTED_FROM and not (job.overwrite or verify)
    known = logged if is_trusted else NONE_KNOWN
    log.start()
    progress = Progress(summary, lambda: (engine.n_running, engine.n_workers), shown)

    def take(outcome: Outcome) -> None:
        check()
        summary.add(outcome)
        if outcome.separated or outcome.status != DONE or not logged.holds([outcome.song])[0]:
            log.add(outcome)
        progress.update()

    def todo() -> Iterator[CatalogueSong]:
        everything = rows()
        while songs := list(itertools.islice(everything, ROWS_AT_ONCE)):
            done = known.holds(songs)
            summary.known += int(done.sum())
            yield from itertools.compress(songs, ~done)

    try:
        for outcome in missing:
            take(outcome)
        work_off(todo(), engine, take)
    finally:
        progress.close()
        check()
        log.flush()
    summary.catalogue = log.write_catalogue(keys)
    return summary
