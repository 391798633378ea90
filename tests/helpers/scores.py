"""Music for tests of scores: coloured noise, degraded estimates, songs in memory."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from asteroid_waveunet.experiment.data.track import Extent, group_stems, sum_groups
from asteroid_waveunet.experiment.evaluation.aggregation import METRICS
from asteroid_waveunet.experiment.evaluation.estimators import Mixture

RATE = 1000  # museval's filters have 512 taps at any rate: low rates keep the tests fast


def music(n_src=2, channels=2, seconds=4.3, seed=0) -> np.ndarray:
    """Coloured noise whose level changes from second to second."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal((n_src, channels, int(seconds * RATE)))
    level = np.repeat(rng.uniform(0.05, 1.0, (n_src, 1, 10)), RATE, axis=-1)
    return (white + np.roll(white, 1, -1)) * level[..., : white.shape[-1]]


def degraded(references: np.ndarray, seed=1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    bleed = 0.2 * references.sum(axis=0)
    return 0.9 * references + bleed + 0.05 * rng.standard_normal(references.shape)


def named(samples: np.ndarray, names=("accompaniment", "vocals")) -> dict[str, np.ndarray]:
    return dict(zip(names, samples, strict=True))


def windows(scores: dict) -> np.ndarray:
    """`(4, n_src, n_windows)` from museval's json format."""
    return np.array(
        [
            [[f["metrics"][m] for f in target["frames"]] for target in scores["targets"]]
            for m in METRICS
        ]
    )


STEMS = ("bass", "drums", "other", "vocals")
TWO = ("accompaniment", "vocals")


@dataclass(frozen=True)
class Song:
    """A track in memory with four stems."""

    name: str
    subset: str = "test"
    seed: int = 0
    seconds: float = 4.3
    stems = STEMS

    def files(self):
        return []

    def extent(self):
        return Extent(2, int(self.seconds * RATE), RATE)

    def mixture_and_groups(self, sources):
        drawn = zip(STEMS, music(4, seconds=self.seconds, seed=self.seed), strict=True)
        stems = {name: torch.from_numpy(samples).float() for name, samples in drawn}
        groups = sum_groups(stems, group_stems(sources, STEMS))
        return sum(stems.values()), groups, RATE

    def mixture(self, sources):
        return self.mixture_and_groups(sources)[0], RATE


SONGS = [Song("A. B. - one", seed=1), Song("C - two", seed=2), Song("D - three", seed=3)]


def track_of(sdr: list[float], source="vocals", name="t", protocol=None) -> dict:
    """Return scores of one track with the given SDRs of one source."""
    frames = [{"metrics": dict.fromkeys(METRICS, np.nan) | {"SDR": value}} for value in sdr]
    scores = {"track": name, "targets": [{"name": source, "frames": frames}]}
    return scores | ({"protocol": protocol} if protocol else {})


@dataclass(frozen=True)
class Probe:
    """Ends its process at some songs, like a system out of memory; checks a worker's imports."""

    names: tuple[str, ...]

    def __call__(self, track, audio):
        if track.name in self.names:
            os._exit(9)
        heavy = ("asteroid", "lightning", "pytorch_lightning", "matplotlib", "museval", "jinja2")
        imported = [name for name in heavy if name in sys.modules]
        if imported:
            raise ValueError(f"the worker process imported {', '.join(imported)}")
        return Mixture()(track, audio)


def score_in_this_process(patch: pytest.MonkeyPatch) -> None:
    """Score tracks in the test's process, without worker processes."""
    # Worker processes import this module; scoring would bring Asteroid to them.
    from asteroid_waveunet.experiment.evaluation import scoring, worker_pool

    def run_here(items, start, need, jobs, memory):
        return worker_pool.run_in_processes(items, start, need, 0, memory)

    patch.setattr(scoring, "run_in_processes", run_here)
