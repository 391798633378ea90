"""The page of an evaluation, with excerpts of the best, the median and the worst track."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asteroid_waveunet.experiment.data.track import Track
from asteroid_waveunet.experiment.evaluation.bss_eval import as_array
from asteroid_waveunet.experiment.evaluation.estimators import (
    Estimator,
    TrackAudio,
    estimates_of_targets,
)
from asteroid_waveunet.experiment.evaluation.evaluate import Evaluation
from asteroid_waveunet.experiment.report import page as report_page

__all__ = ["page_of", "write_page"]


def write_page(
    found: Evaluation,
    tracks: Sequence[Track],
    estimator: Estimator,
    folder: Path,
    **more: Any,
) -> Path:
    """Write the page of an evaluation, unless the one in `folder` shows the same scores.

    Args:
        tracks, estimator: the evaluated ones; the tracks with excerpts are separated once more.
        more: further fields of `Report`, such as `command`.
    Returns:
        The path of the page.
    """
    page = folder / report_page.PAGE
    if report_page.is_of(page, found.digest):
        return page
    by_name = {track.name: track for track in tracks}
    excerpts = {
        label: _excerpt(by_name[name], estimator, found.targets)
        for label, name in report_page.representatives(found.scores).items()
    }
    return report_page.write(page_of(found, excerpts=excerpts, **more), folder)


def page_of(found: Evaluation, **more: Any) -> report_page.Report:
    """Return the contents of the page of an evaluation.

    Args:
        more: further fields of `Report`, such as `command` and `excerpts`.
    """
    return report_page.Report(
        title=found.title,
        protocol=found.protocol,
        scores=found.scores,
        baselines=found.baselines,
        notes=found.remarks,
        made_from=found.digest,
        **more,
    )


def _excerpt(track: Track, estimator: Estimator, targets: Sequence[str]) -> report_page.Excerpt:
    mixture, groups, rate = track.mixture_and_groups(targets)
    estimates = estimates_of_targets(estimator(track, TrackAudio(mixture, groups, rate)), targets)
    return report_page.excerpt(
        track.name,
        mixture.numpy(),
        {target: groups[target].numpy() for target in targets},
        {target: as_array(samples) for target, samples in estimates.items()},
        rate,
    )
