"""Scores of a data set: every track once, in processes of their own, within a bound on memory."""

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

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.experiment.data.track import (
    ACCOMPANIMENT,
    REST,
    Extent,
    Track,
    group_stems,
)
from asteroid_waveunet.experiment.evaluation.bss_eval import Scores, as_array, score_track
from asteroid_waveunet.experiment.evaluation.estimators import (
    Given,
    Parts,
    Separator,
    for_targets,
    with_rest,
)
from asteroid_waveunet.experiment.evaluation.score_store import System
from asteroid_waveunet.experiment.evaluation.worker_pool import Submit, in_processes

__all__ = ["Found", "evaluate", "gigabytes"]


@dataclass(frozen=True)
class Found:
    """Scores of a data set.

    Attributes:
        scores: system -> scores as from `score_track`, in the tracks' order.
        failures: track -> why it has none; it is in no system's scores.
    """

    scores: dict[str, list[Scores]]
    failures: dict[str, str]


def evaluate(
    tracks: Sequence[Track],
    systems: Mapping[str, System],
    targets: Sequence[str],
    *,
    fingerprint: str = "",
    jobs: int | None = None,
    memory: float | None = None,
    progress: bool = True,
) -> Found:
    """Scores every track of every system; a json is written as each track is done.

    Can be killed and run again: tracks whose scores are there are not redone, unless their files,
    or those of their estimates, have changed. museval's own tools read the folders, too
    (`museval.EvalStore().add_eval_dir(out)`). A track that fails is passed over.

    Args:
        tracks: as from `musdb.tracks(root, "test")`.
        systems: name -> what is scored. A track is read once for all of them.
        targets: what is scored together. One alone is scored beside the rest of the mixture (the
            mixture minus its estimate, against the other stems); only its own scores are kept.
        fingerprint: anything that tells these systems, and this data, from others.
        jobs, memory: of the scoring processes; see `in_processes` and `gigabytes`.
        progress: whether to show a bar.
    Raises:
        ValueError: if a folder holds scores that were made otherwise.
    """
    targets = tuple(targets)
    for system in systems.values():
        system.claim(fingerprint=fingerprint, targets=sorted(targets))
    known: dict[Track, dict[str, Scores | None]] = {
        track: {name: system.read(track, targets) for name, system in systems.items()}
        for track in tracks
    }
    todo = [track for track in tracks if None in known[track].values()]

    def missing(track: Track) -> dict[str, System]:
        return {name: systems[name] for name, found in known[track].items() if found is None}

    def start(submit: Submit, track: Track) -> Future:
        mine = {name: _at_hand(track, system, targets) for name, system in missing(track).items()}
        return submit(_score, track, mine, targets)

    def need(track: Track) -> float:
        fast = all(system.fast for system in missing(track).values())
        needed = gigabytes(track.extent(), len(track.stems), max(len(targets), 2), fast)
        if memory is not None and needed > memory:
            warnings.warn(
                f"{track.name} may take {needed:.1f} GB to score, more than the {memory:g} given; "
                "it is scored alone.",
                stacklevel=2,
            )
        return needed

    failures = {}
    bar = functools.partial(tqdm, desc="scoring", unit="track", disable=not progress)
    with contextlib.closing(in_processes(todo, start, need, jobs, memory)) as work:
        for track, outcome in bar(work, total=len(tracks), initial=len(tracks) - len(todo)):
            if isinstance(outcome, BaseException):
                failures[track.name] = _reason(outcome)
                continue
            for name, scores in outcome.items():
                known[track][name] = systems[name].write(track, scores)
    scored = [track for track in tracks if track.name not in failures]
    scores = {
        name: [found for track in scored if (found := known[track][name]) is not None]
        for name in systems
    }
    return Found(scores, failures)


def gigabytes(extent: Extent, n_stems: int, n_targets: int, fast: bool = False) -> float:
    """What a process takes at most to read and score a track, in GB (1e9 bytes).

    All stems and targets are in memory as float32, then either the ideal ratio mask's spectra or
    what scoring takes. museval holds copies of all samples, spectra of the whole track, its
    length rounded up to a power of two, and matrices of (512 taps x targets x channels)^2. How
    many of each was fitted to measured peaks, and rounded up; `bench/evaluate.py` sets the result
    beside new ones.
    """
    track = 1e-9 * extent.channels * extent.frames
    signals = n_targets * extent.channels
    samples = 8 * n_targets * track
    spectrum = 16e-9 * 2 ** int(np.ceil(np.log2(extent.frames + TAPS - 1)))
    matrix = 8e-9 * (TAPS * signals) ** 2
    museval = 5.5 * samples + (0.65 * signals + 6.5) * spectrum + 5 * matrix
    scoring = 4 * samples if fast else museval
    return 0.4 + 4 * (n_stems + 1 + n_targets) * track + max(scoring, 75 * track)


TAPS = 512


# --- one track -------------------------------------------------------------------------------


def _at_hand(track: Track, system: System, targets: Sequence[str]) -> System:
    """What a scoring process needs: the separation is done before."""
    if not isinstance(system.estimator, Separator):
        return system
    mixture, _, rate = track.mixture_and_groups(targets)
    estimates = system.estimator(track, Parts(mixture, {}, rate))
    given = Given({source: as_array(samples) for source, samples in estimates.items()})
    return replace(system, estimator=given)


def _score(
    track: Track, systems: Mapping[str, System], targets: tuple[str, ...]
) -> dict[str, Scores]:
    """Reads a track, takes each system's estimates and scores them."""
    mixture, groups, rate = track.mixture_and_groups(targets)
    parts = Parts(mixture, groups, rate)
    references = {target: groups[target] for target in targets}
    beside = beside_of(targets, track.stems) if len(targets) == 1 else ""
    if beside:
        references[beside] = groups[REST]
    result = {}
    for name, system in systems.items():
        estimates = for_targets(system.estimator(track, parts), targets)
        for target, path in system.wavs(track, targets).items():
            audio_io.write(path, torch.as_tensor(estimates[target]).float(), rate)
        if beside:
            estimates = with_rest(estimates, beside, mixture)
        scores = score_track(references, estimates, rate, track.name, system.fast)
        kept = [target for target in scores["targets"] if target["name"] in targets]
        result[name] = {**scores, "targets": kept}
    return result


def beside_of(targets: Sequence[str], stems: Sequence[str]) -> str:
    """What is left beside one target, which museval needs; vocals are what is beside all others.

    Raises:
        ValueError: if nothing is left.

    >>> stems = ("bass", "drums", "other", "vocals")
    >>> [beside_of([target], stems) for target in ("vocals", "accompaniment", "bass")]
    ['accompaniment', 'vocals', 'rest']
    """
    left = group_stems(targets, stems).get(REST, ())
    if not left:
        raise ValueError(
            f"{targets[0]} is all that the data has; museval scores two targets or more together"
        )
    if len(left) == 1:
        return left[0]
    return ACCOMPANIMENT if tuple(targets) == ("vocals",) else REST


def _reason(failure: BaseException) -> str:
    if isinstance(failure, BrokenProcessPool):
        return (
            "its scoring process died. Was it out of memory (it takes the more the longer the"
            ' track is), or does the calling script lack its `if __name__ == "__main__":`?'
        )
    return str(failure) if isinstance(failure, (ValueError, OSError)) else repr(failure)
