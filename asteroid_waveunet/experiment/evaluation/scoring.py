"""Scores of many tracks, in worker processes within a limit on memory."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace

import numpy as np
import torch
from tqdm import tqdm

from asteroid_waveunet.experiment.data.track import Extent, Track
from asteroid_waveunet.experiment.evaluation.cluster_pool import Cluster, run_on_cluster
from asteroid_waveunet.experiment.evaluation.estimators import Precomputed, TrackAudio
from asteroid_waveunet.experiment.evaluation.metrics.distortion_filters import TAPS
from asteroid_waveunet.experiment.evaluation.metrics.track_metrics import Scores
from asteroid_waveunet.experiment.evaluation.metrics.windows import as_array
from asteroid_waveunet.experiment.evaluation.score_store import ScoreStore
from asteroid_waveunet.experiment.evaluation.separator import Separator
from asteroid_waveunet.experiment.evaluation.track_scoring import score_estimators
from asteroid_waveunet.experiment.evaluation.worker_pool import Submit, run_in_processes

__all__ = ["DatasetScores", "memory_needed", "score_tracks"]


@dataclass(frozen=True)
class DatasetScores:
    """Scores of a data set.

    Attributes:
        scores: name of the store -> scores from `score_track`, in the order of the tracks.
        failures: track -> reason; failed tracks are missing from `scores`.
    """

    scores: dict[str, list[Scores]]
    failures: dict[str, str]


def score_tracks(
    tracks: Sequence[Track],
    stores: Mapping[str, ScoreStore],
    targets: Sequence[str],
    *,
    fingerprint: str = "",
    jobs: int | None = None,
    memory: float | None = None,
    progress: bool = True,
    cluster: Cluster | None = None,
) -> DatasetScores:
    """Score every track with every store's estimator; write a JSON file as each track is done.

    An interrupted run resumes: tracks with scores are skipped unless their files or estimates
    have changed. museval reads the folders, too (`museval.EvalStore().add_eval_dir(out)`).

    Args:
        stores: name -> estimator and its folder. A worker reads a track once for all of them.
        targets: scored together. A single one is scored together with the rest of the mixture
            (mixture minus estimate, against the other stems); only its own scores are kept.
        fingerprint: identifies the estimators and the data.
        jobs, memory: limits of the worker processes; see `run_in_processes`, `memory_needed`.
        progress: show a progress bar.
        cluster: separate and score on a Ray cluster, one track a task, instead of on this machine.
    Raises:
        ValueError: if a folder holds scores with other settings.
    """
    targets = tuple(targets)
    for store in stores.values():
        store.check_settings(fingerprint=fingerprint, targets=sorted(targets))
    scores = {track: _known_scores(track, stores, targets) for track in tracks}
    missing = {
        track: {name: store for name, store in stores.items() if name not in scores[track]}
        for track in tracks
    }
    todo = [track for track in tracks if missing[track]]

    def start(submit: Submit, track: Track) -> Future:
        return submit(score_estimators, track, _separated(track, missing[track], targets), targets)

    need = functools.partial(_memory_for, missing=missing, targets=targets, limit=memory)
    if cluster is None:
        outcomes = run_in_processes(todo, start, need, jobs, memory)
    else:
        outcomes = run_on_cluster(
            todo, missing.__getitem__, _separate_and_score, targets, need, cluster
        )
    failures = {}
    bar = functools.partial(tqdm, desc="scoring", unit="track", disable=not progress)
    with contextlib.closing(outcomes) as work:
        for track, outcome in bar(work, total=len(tracks), initial=len(tracks) - len(todo)):
            if isinstance(outcome, BaseException):
                failures[track.name] = _reason(outcome)
                continue
            for name, found in outcome.items():
                scores[track][name] = stores[name].write(track, found)
    complete = [scores[track] for track in tracks if track.name not in failures]
    return DatasetScores({name: [found[name] for found in complete] for name in stores}, failures)


def _known_scores(
    track: Track, stores: Mapping[str, ScoreStore], targets: Sequence[str]
) -> dict[str, Scores]:
    read = {name: store.read(track, targets) for name, store in stores.items()}
    return {name: scores for name, scores in read.items() if scores is not None}


def memory_needed(
    extent: Extent, n_stems: int, n_targets: int, fast: bool = False, engine: str = "bss_eval"
) -> float:
    """Return an upper bound of the memory for reading and scoring a track, in GB (1e9 bytes).

    All stems and targets are in memory as float32, then either the ideal ratio mask's spectra or
    the arrays of scoring. `bss_eval` holds blocks of samples, their spectra and matrices of
    (512 taps x targets x channels)^2; museval holds such matrices, copies of all samples, and
    spectra of the whole track, its length rounded up to a power of two. Their numbers were fitted
    to measured peaks and rounded up; `bench/evaluate.py` compares the bound with new measurements.
    """
    track = 1e-9 * extent.channels * extent.frames
    signals = n_targets * extent.channels
    samples = 8 * n_targets * track
    spectrum = 16e-9 * 2 ** int(np.ceil(np.log2(extent.frames + TAPS - 1)))
    matrix = 8e-9 * (TAPS * signals) ** 2
    needs = {
        "museval": 5.5 * samples + (0.65 * signals + 6.5) * spectrum + 5 * matrix,
        "bss_eval": 2 * samples + 0.05 * signals + 4 * matrix,
    }
    scoring = 4 * samples if fast else needs[engine]
    return 0.4 + 4 * (n_stems + 1 + n_targets) * track + max(scoring, 75 * track)


def _memory_for(
    track: Track,
    missing: Mapping[Track, Mapping[str, ScoreStore]],
    targets: Sequence[str],
    limit: float | None,
) -> float:
    """Return a track's `memory_needed`; warn if it exceeds the limit."""
    extent, n_targets = track.extent(), max(len(targets), 2)
    needed = max(
        memory_needed(extent, len(track.stems), n_targets, store.fast, store.engine)
        for store in missing[track].values()
    )
    if limit is not None and needed > limit:
        warnings.warn(
            f"{track.name} may need {needed:.1f} GB for scoring, more than the limit of "
            f"{limit:g} GB; it is scored alone.",
            stacklevel=2,
        )
    return needed


def _separated(
    track: Track, stores: Mapping[str, ScoreStore], targets: Sequence[str]
) -> dict[str, ScoreStore]:
    """Run the stores' separators here; the worker processes receive their estimates."""
    separators = {
        name: store for name, store in stores.items() if isinstance(store.estimator, Separator)
    }
    if not separators:
        return dict(stores)
    mixture, rate = track.mixture(targets)
    result = dict(stores)
    for name, store in separators.items():
        estimates = store.estimator(track, TrackAudio(mixture, {}, rate))
        arrays = {source: as_array(samples) for source, samples in estimates.items()}
        result[name] = replace(store, estimator=Precomputed(arrays))
    return result


def _separate_and_score(
    track: Track, stores: Mapping[str, ScoreStore], targets: tuple[str, ...], threads: int
) -> dict[str, Scores]:
    """Do the work of this process and of a scoring process, with as many threads as there."""
    torch.set_num_threads(threads)
    separated = _separated(track, stores, targets)
    torch.set_num_threads(1)
    return score_estimators(track, separated, targets)


def _reason(failure: BaseException) -> str:
    if isinstance(failure, BrokenProcessPool):
        return (
            "its scoring process died. Was it out of memory (longer tracks need more), or does the "
            'calling script lack its `if __name__ == "__main__":`?'
        )
    return str(failure) if isinstance(failure, (ValueError, OSError)) else repr(failure)
