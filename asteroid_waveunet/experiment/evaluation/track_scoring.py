"""Scores of one track for several estimators: the work of a scoring process.

Worker processes import this module, so it imports neither Asteroid nor the networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.experiment.data.track import ACCOMPANIMENT, REST, Track, group_stems
from asteroid_waveunet.experiment.evaluation.estimators import (
    TrackAudio,
    add_complement,
    estimates_of_targets,
)
from asteroid_waveunet.experiment.evaluation.metrics.track_metrics import Scores, score_track
from asteroid_waveunet.experiment.evaluation.score_store import ScoreStore

__all__ = ["complement_of", "score_estimators"]


def score_estimators(
    track: Track, stores: Mapping[str, ScoreStore], targets: tuple[str, ...]
) -> dict[str, Scores]:
    """Read a track once, score each estimator on it and save its estimates where a store says so.

    A single target is scored together with its complement, of which no scores are returned.

    Returns:
        Name of the store -> scores; the stores' score files are left to the caller.
    """
    mixture, groups, rate = track.mixture_and_groups(targets)
    audio = TrackAudio(mixture, groups, rate)
    references = {target: groups[target] for target in targets}
    complement = complement_of(targets, track.stems) if len(targets) == 1 else ""
    if complement:
        references[complement] = groups[REST]
    result = {}
    for name, store in stores.items():
        estimates = estimates_of_targets(store.estimator(track, audio), targets)
        for target, path in store.estimate_files(track, targets).items():
            audio_io.write(path, torch.as_tensor(estimates[target]).float(), rate)
        if complement:
            estimates = add_complement(estimates, complement, mixture)
        scores = score_track(references, estimates, rate, track.name, store.fast, store.engine)
        wanted = [target for target in scores["targets"] if target["name"] in targets]
        result[name] = {**scores, "targets": wanted}
    return result


def complement_of(targets: Sequence[str], stems: Sequence[str]) -> str:
    """Return the name of the stems that a single target leaves; scores need two targets.

    Raises:
        ValueError: if no stem is left.

    >>> stems = ("bass", "drums", "other", "vocals")
    >>> [complement_of([target], stems) for target in ("vocals", "accompaniment", "bass")]
    ['accompaniment', 'vocals', 'rest']
    """
    left = group_stems(targets, stems).get(REST, ())
    if not left:
        raise ValueError(
            f"the data has no stem besides {targets[0]}; scores need two targets or more"
        )
    if len(left) == 1:
        return left[0]
    return ACCOMPANIMENT if tuple(targets) == ("vocals",) else REST
