"""Scores of many tracks on a Ray cluster, one track a task."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from asteroid_waveunet.cloud.ray_cluster import (
    Resources,
    alive_nodes,
    assigned_device,
    connected,
    import_ray,
)
from asteroid_waveunet.experiment.data.track import Track
from asteroid_waveunet.experiment.evaluation.score_store import ScoreStore
from asteroid_waveunet.experiment.evaluation.separator import Separator
from asteroid_waveunet.experiment.evaluation.worker_pool import WORKER_ENVIRONMENT

__all__ = ["Cluster", "run_on_cluster"]

Score = Callable[[Track, Mapping[str, ScoreStore], tuple[str, ...], int], Any]
RETRIES = 3  # of a track whose worker or machine dies


@dataclass(frozen=True)
class Cluster:
    """The cluster that scores tracks, and the resources of a track.

    Attributes:
        address: see `ray_cluster.connected`.
        cpus, gpus: of each task; see `Resources`.
    """

    address: str
    cpus: float = 1
    gpus: float | None = None


def run_on_cluster(
    tracks: Sequence[Track],
    stores: Callable[[Track], Mapping[str, ScoreStore]],
    score: Score,
    targets: tuple[str, ...],
    need: Callable[[Track], float],
    cluster: Cluster,
) -> Generator[tuple[Track, Any], None, None]:
    """Yield each track with its result or its exception, in order of completion.

    The scores are those of one machine to the last digit: separation uses as many threads as in
    this process, and scoring one.

    Args:
        stores: estimators of a track. Models run on the task's GPU, else on its processor.
        score: `(track, stores, targets, threads)` -> the track's result. It runs in a task, which
            reads the track from a folder that all nodes share.
        need: memory of a track in GB (1e9 bytes), which its node must have free.
    Raises:
        OSError, ValueError: if the cluster cannot be reached or has no room for a task.
    """
    if not tracks:
        return
    with connected(cluster.address) as ray:
        nodes = alive_nodes(ray)
        resources = Resources(None, cluster.cpus, cluster.gpus).fitted(nodes)
        largest = max(node.get("memory", 0) for node in nodes.values())
        task = functools.partial(
            ray.remote(_call).options,
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            max_retries=RETRIES,
            runtime_env={"env_vars": WORKER_ENVIRONMENT},
        )
        send = functools.cache(ray.put)  # once for all tracks
        running = {}
        for track in tracks:
            try:
                memory = min(int(need(track) * 1e9), int(largest))
            except Exception as reason:  # of any kind; the other tracks continue
                yield track, reason
                continue
            references = {name: send(store) for name, store in stores(track).items()}
            begun = task(memory=memory).remote(
                functools.partial(_run_task, Path.cwd(), torch.get_num_threads(), score),
                *(track, targets, [*references], *references.values()),
            )
            running[begun] = track
        while running:
            for done in ray.wait([*running], num_returns=1)[0]:
                yield running.pop(done), _result(ray, done)


def _result(ray: Any, done: Any) -> Any:
    """Return the result of a task, or its exception."""
    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError as reason:
        return reason.cause if reason.cause is not None else reason
    except ray.exceptions.RayError as reason:
        return OSError(f"its worker died {RETRIES + 1} times: {str(reason).splitlines()[0]}")


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function, in a task: Ray replaces references among the arguments by their values."""
    return function(*arguments)


def _run_task(
    folder: Path,
    threads: int,
    score: Score,
    track: Track,
    targets: tuple[str, ...],
    names: Sequence[str],
    *stores: ScoreStore,
) -> Any:
    """Separate and score a track, in a worker process.

    Args:
        folder: that relative paths begin in.
        names: of the stores.
    Raises:
        FileNotFoundError: if the track is not on this machine.
        OSError: if it has a GPU that torch cannot use.
    """
    with contextlib.suppress(FileNotFoundError):
        os.chdir(folder)
    for file in track.files():
        if not file.exists():
            raise FileNotFoundError(
                f"{file} is not visible on {platform.node()}; use a folder that all nodes share."
            )
    device = assigned_device(import_ray())
    for store in stores:
        if isinstance(store.estimator, Separator) and store.estimator.model is not None:
            store.estimator.model.to(device)
    return score(track, dict(zip(names, stores, strict=True)), targets, threads)
