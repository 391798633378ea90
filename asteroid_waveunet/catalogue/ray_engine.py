"""Workers of a catalogue as Ray actors."""

from __future__ import annotations

import dataclasses
import os
import platform
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asteroid_waveunet._version import __version__
from asteroid_waveunet.catalogue.engine import Finished, Lost
from asteroid_waveunet.catalogue.job import Job
from asteroid_waveunet.catalogue.log import FAILED, Outcome
from asteroid_waveunet.catalogue.songs import CatalogueSong
from asteroid_waveunet.cloud import storage
from asteroid_waveunet.cloud.ray_cluster import Resources, alive_nodes, assigned_device
from asteroid_waveunet.system_errors import explain

__all__ = ["RayEngine"]

AT_ONCE = 3  # songs of a worker: one is read, one computes, one is written
MOST_FAILED_STARTS = 3
STOP_SECONDS = 5.0


class _Actor:
    """A worker process. It loads the model once."""

    def prepare(
        self, job: Job, model: dict[str, Any], probe: str | None, song: CatalogueSong | None
    ) -> dict[str, str]:
        """Load the model; return the node's id, or in "error" why this machine cannot work."""
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        import ray

        try:
            _check_access(job, probe, song)
            from asteroid_waveunet.catalogue.worker import Worker

            device = job.device or assigned_device(ray)
            self._worker = Worker(dataclasses.replace(job, device=device), model)
        except Exception as reason:
            return {"error": f"{platform.node()}: {explain(reason)}"}
        return {"node": ray.get_runtime_context().get_node_id(), "pid": str(os.getpid())}

    def separate(self, song: CatalogueSong) -> Outcome:
        return self._worker.separate(song)

    def stop(self) -> None:
        """Delete the temporary files."""
        self._worker.close()


def _check_access(job: Job, probe: str | None, song: CatalogueSong | None) -> None:
    """Check that this machine has the package, sees the songs and may write the stems.

    Args:
        probe: a file in an output folder on disk.
        song: one that the driver sees.
    Raises:
        ImportError, OSError: if not; says what to do.
    """
    if job.version != __version__:
        raise ImportError(
            f"asteroid-waveunet {__version__} is installed, not {job.version}; install the same "
            "version on all nodes."
        )
    source = None if song is None else storage.local_path(song.source)
    for path in filter(None, (source, None if probe is None else Path(probe))):
        if not path.exists():
            raise FileNotFoundError(
                f"{path} is not visible here; use a folder that all nodes share, or URLs (s3://)."
            )
    if probe is None:
        storage.check_writable(job.output)
    if song is not None and source is None:
        storage.size(song.source)


@dataclass(eq=False)
class _Handle:
    """A worker as the driver sees it."""

    actor: Any
    preparing: Any  # a reference; None if it is ready
    node: str = ""
    pid: str = ""
    alone: bool = False
    running: dict[Any, CatalogueSong] = field(default_factory=dict)


class RayEngine:
    """Separates songs in actors, which are replaced when they die.

    Actors that no node has room for start as nodes join.

    Args:
        ray: the connected module.
        job: the run's settings.
        model: dictionary of `SourceModel.serialize`, which is sent to each worker.
        resources: with their defaults filled in.
        probe, song: what all workers must see; see `_check_access`.
    """

    def __init__(
        self,
        ray: Any,
        job: Job,
        model: dict[str, Any],
        resources: Resources,
        probe: str | None = None,
        song: CatalogueSong | None = None,
    ):
        self._ray, self._resources = ray, resources
        self._prepared_with = (job, ray.put(model), probe, song)
        self._workers: list[_Handle] = []
        self._failed_starts = 0
        for _ in range(resources.workers or 1):
            self._add_worker()

    @property
    def n_running(self) -> int:
        """Number of songs in work."""
        return sum(len(worker.running) for worker in self._workers)

    @property
    def n_workers(self) -> int:
        """Number of workers that are ready."""
        return len(self._ready)

    @property
    def worker_processes(self) -> dict[str, str]:
        """Process id of each worker that is ready, and its node's id."""
        return {worker.pid: worker.node for worker in self._ready}

    def start(self, song: CatalogueSong, alone: bool = False) -> bool:
        """Start a song if there is room; see `Engine`."""
        room = [
            worker
            for worker in self._ready
            if not worker.alone and len(worker.running) < (1 if alone else AT_ONCE)
        ]
        if not room:
            return False
        worker = min(room, key=lambda worker: len(worker.running))
        worker.alone = alone
        worker.running[worker.actor.separate.remote(song)] = song
        return True

    def finished(self, seconds: float) -> list[Finished]:
        """Wait for songs; see `Engine`."""
        found: list[Finished] = []
        owners = {ref: worker for worker in self._workers for ref in worker.running}
        owners |= {worker.preparing: worker for worker in self._workers if worker.preparing}
        done, _ = self._ray.wait([*owners], num_returns=1, timeout=seconds)
        if done:
            done, _ = self._ray.wait([*owners], num_returns=len(owners), timeout=0)
        for ref in done:
            worker = owners[ref]
            if worker not in self._workers:  # died with an earlier reference
                continue
            try:
                result = self._ray.get(ref)
            except self._ray.exceptions.RayActorError as reason:
                found += self._bury(worker, _cause_of_death(reason))
                continue
            except self._ray.exceptions.RayError as reason:
                result = _explained(reason)
            if ref == worker.preparing:
                self._welcome(worker, result)
                continue
            song = worker.running.pop(ref)
            worker.alone = worker.alone and bool(worker.running)
            if isinstance(result, str):
                result = Outcome(song, FAILED, error=result)
            found.append((song, result))
        return found

    def close(self) -> None:
        """Stop all workers; those that are idle delete their temporary files first."""
        idle = [worker.actor.stop.remote() for worker in self._ready if not worker.running]
        if idle:
            self._ray.wait(idle, num_returns=len(idle), timeout=STOP_SECONDS)
        for worker in self._workers:
            self._ray.kill(worker.actor)
        self._workers.clear()

    @property
    def _ready(self) -> list[_Handle]:
        return [worker for worker in self._workers if not worker.preparing]

    def _add_worker(self) -> None:
        kind = self._ray.remote(_Actor).options(
            num_cpus=self._resources.cpus,
            num_gpus=self._resources.gpus,
            max_concurrency=AT_ONCE,
            scheduling_strategy="SPREAD",
        )
        actor = kind.remote()
        self._workers.append(_Handle(actor, actor.prepare.remote(*self._prepared_with)))

    def _welcome(self, worker: _Handle, result: dict[str, str] | str) -> None:
        """Note that a worker is ready.

        Raises:
            OSError: if it cannot work.
        """
        error = result if isinstance(result, str) else result.get("error")
        if error or isinstance(result, str):
            raise OSError(f"The workers cannot start: {error}")
        worker.node, worker.pid, worker.preparing = result["node"], result["pid"], None
        self._failed_starts = 0

    def _bury(self, worker: _Handle, reason: str) -> list[Finished]:
        """Replace a dead worker; return its songs.

        Raises:
            OSError: if workers keep dying before they are ready.
        """
        self._workers.remove(worker)
        if worker.preparing:
            self._failed_starts += 1
            if self._failed_starts >= MOST_FAILED_STARTS:
                raise OSError(
                    f"Workers died {self._failed_starts} times while they loaded the model, the "
                    f"last one because: {reason} Have they enough memory?"
                )
        self._ray.kill(worker.actor)
        self._add_worker()
        alive = worker.node in alive_nodes(self._ray)
        return [(song, Lost(reason, strike=alive)) for song in worker.running.values()]


def _explained(reason: Exception) -> str:
    """Return the last line of the error that Ray carries from a worker, without its traceback."""
    return str(reason).strip().splitlines()[-1]


def _cause_of_death(reason: Exception) -> str:
    """Return why a worker died, in one line."""
    detail = re.search(r"Worker exit detail: (.*?)(?: There are| Some common|\n|$)", str(reason))
    return detail[1] if detail else _explained(reason)
