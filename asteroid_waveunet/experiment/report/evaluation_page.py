"""The page of an evaluation, with excerpts of the best, median and worst track."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asteroid_waveunet.experiment.data.track import Track
from asteroid_waveunet.experiment.evaluation.estimators import (
    Estimator,
    TrackAudio,
    estimates_of_targets,
)
from asteroid_waveunet.experiment.evaluation.evaluate import Evaluation
from asteroid_waveunet.experiment.evaluation.metrics.windows import as_array
from asteroid_waveunet.experiment.report import page as report_page

__all__ = ["report_of", "write_page"]


def write_page(
    evaluation: Evaluation,
    tracks: Sequence[Track],
    estimator: Estimator,
    folder: Path,
    **more: Any,
) -> Path:
    """Write the page of an evaluation unless `folder` already has a page of the same scores.

    Args:
        tracks: the evaluated tracks; those with excerpts are separated again.
        estimator: makes the estimates of the excerpts.
        more: further fields of `Report`, such as `command`.
    Returns:
        The path of the page.
    """
    page = folder / report_page.PAGE
    if report_page.is_of(page, evaluation.digest):
        return page
    by_name = {track.name: track for track in tracks}
    excerpts = {
        label: _excerpt(by_name[name], estimator, evaluation.targets)
        for label, name in report_page.representatives(evaluation.scores).items()
    }
    return report_page.write(report_of(evaluation, excerpts=excerpts, **more), folder)


def report_of(evaluation: Evaluation, **more: Any) -> report_page.Report:
    """Return the page's contents.

    Args:
        more: further fields of `Report`, such as `command` and `excerpts`.
    """
    return report_page.Report(
        title=evaluation.title,
        protocol=evaluation.protocol,
        scores=evaluation.scores,
        baselines=evaluation.baselines,
        notes=evaluation.remarks,
        made_from=evaluation.digest,
        **more,
    )


def _excerpt(track: Track, estimator: Estimator, targets: Sequence[str]) -> report_page.Excerpt:
    """Separate a track and return its liveliest excerpt."""
    mixture, groups, rate = track.mixture_and_groups(targets)
    estimates = estimates_of_targets(estimator(track, TrackAudio(mixture, groups, rate)), targets)
    return report_page.excerpt(
        track.name,
        mixture.numpy(),
        {target: groups[target].numpy() for target in targets},
        {target: as_array(samples) for target, samples in estimates.items()},
        rate,
    )
