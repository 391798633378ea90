"""A page to judge a model by: scores, plots, and excerpts to look at and listen to.

The page is a folder that works from disk without a network connection:

    index.html  *.css  *.js
    charts/     plots for light and dark themes, wide and narrow layouts
    audio/      each recording as a FLAC file, and all recordings of an excerpt in one script

The scripts repeat the FLAC files in base64: a page opened from disk may not read other files, but
it may run scripts, and synchronous playback needs decoded samples.
"""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from asteroid_waveunet.experiment.evaluation.aggregation import summarise, windows
from asteroid_waveunet.experiment.evaluation.formatting import decibels
from asteroid_waveunet.experiment.report import plots, spectrogram_images, training_curves
from asteroid_waveunet.experiment.report.excerpts import Excerpt, excerpt
from asteroid_waveunet.experiment.report.page_files import (
    ASSETS,
    PAGE,
    TEMPLATES,
    check_place,
    is_of,
    template,
)
from asteroid_waveunet.experiment.report.tables import (
    Scores,
    comparison_table,
    representatives,
    score_table,
    tracks_table,
)
from asteroid_waveunet.experiment.report.track_sections import track_sections
from asteroid_waveunet.file_utils import replacing_folder

__all__ = [
    "PAGE",
    "Excerpt",
    "Report",
    "check_place",
    "excerpt",
    "is_of",
    "representatives",
    "write",
]

MODEL = "model"

LIBRARIES = (
    "asteroid-waveunet",
    "asteroid",
    "torch",
    "pytorch-lightning",
    "lightning",
    "museval",
    "musdb",
    "numpy",
    "scipy",
    "soundfile",
    "soxr",
)


@dataclass(frozen=True)
class Report:
    """The contents of a page.

    Attributes:
        title: the heading.
        protocol: one line that names the data and the sources scored together.
        scores: the scores of each track in museval's format, from `score_track`.
        baselines: name -> scores of the same tracks and sources; the page shows their SDR.
        excerpts: label -> excerpt; labels are "best", "median", "worst" (see `representatives`)
            or any other word.
        command: the command that reproduces the results.
        configuration: the experiment's settings as YAML.
        curves: path of Lightning's metrics.csv.
        notes: remarks on the scores, one sentence each.
        date: date of the page; None for today (UTC).
        versions: software name -> version; None for the running software.
        made_from: a digest of the contents, for `is_of`.
    """

    title: str
    protocol: str
    scores: Sequence[Scores]
    command: str
    baselines: Mapping[str, Sequence[Scores]] = field(default_factory=dict)
    excerpts: Mapping[str, Excerpt] = field(default_factory=dict)
    configuration: str = ""
    curves: str | os.PathLike | None = None
    notes: Sequence[str] = ()
    date: datetime.date | None = None
    versions: Mapping[str, str] | None = None
    made_from: str = ""


def write(report: Report, folder: str | os.PathLike) -> Path:
    """Write the page to `folder`, replacing an earlier report.

    Returns:
        The path of the page, `folder/index.html`.
    Raises:
        ValueError: if there are no scores, if a baseline has other tracks, sources or windows,
            if the curves cannot be read, or if the folder holds files that do not belong to a
            report.
        OSError: if writing fails.
    """
    _check(report)
    check_place(Path(folder))
    with replacing_folder(folder) as partial:
        for name in ASSETS:
            shutil.copyfile(TEMPLATES / name, partial / name)
        (partial / "charts").mkdir()
        (partial / "audio").mkdir()
        spectrogram_images.colour_scale(partial / "charts" / "scale.png")
        page = template("report.html.j2").render(_page(report, partial))
        (partial / PAGE).write_text(page, encoding="utf-8", errors="backslashreplace")
    return Path(folder) / PAGE


def _check(report: Report) -> None:
    """Raise a ValueError if there are no scores or a baseline does not match the model."""
    if not report.scores:
        raise ValueError("a report needs scores of at least one track, got none")
    if MODEL in report.baselines:
        raise ValueError(
            f"the baseline name {MODEL!r} is reserved for the model; rename the baseline"
        )
    expected = _n_windows(report.scores)
    for name, scores in report.baselines.items():
        given = _n_windows(scores)
        keys = expected.keys() | given.keys()
        differing = sorted(key for key in keys if expected.get(key) != given.get(key))
        if differing:
            track, source = key = differing[0]
            raise ValueError(
                f"the baseline {name!r} has {given.get(key, 0)} windows of {source} in {track!r},"
                f" the model {expected.get(key, 0)}; expected scores of the same tracks and sources"
            )


def _n_windows(scores: Sequence[Scores]) -> dict[tuple[str, str], int]:
    """Return the number of windows by (track, source)."""
    return {
        (track["track"], target["name"]): len(target["frames"])
        for track in scores
        for target in track["targets"]
    }


def _page(report: Report, folder: Path) -> dict[str, Any]:
    """Return the template's variables; write charts and audio to `folder`."""
    systems = {MODEL: report.scores, **report.baselines}
    with np.errstate(invalid="ignore"):  # infinite scores have no standard deviation
        summaries = {name: summarise(scores) for name, scores in systems.items()}
    return {
        "title": report.title,
        "protocol": report.protocol,
        "notes": report.notes,
        "made_from": report.made_from,
        "n_tracks": len(report.scores),
        "sources": list(summaries[MODEL]),
        "scores": score_table(summaries[MODEL]),
        "comparison": comparison_table(summaries) if report.baselines else None,
        "baselines": list(report.baselines),
        "distributions": _distributions(systems, folder),
        "tracks": track_sections(systems, report.excerpts, folder),
        "all_tracks": tracks_table(report.scores),
        "curves": _curves(report.curves, folder),
        "command": report.command,
        "configuration": report.configuration,
        "versions": report.versions or _versions(),
        "date": (report.date or datetime.datetime.now(datetime.timezone.utc).date()).isoformat(),
        "dynamic_range": spectrogram_images.DYNAMIC_RANGE,
        "lowest": spectrogram_images.LOWEST,
    }


def _by_source(scores: Sequence[Scores]) -> dict[str, np.ndarray]:
    """Return the SDR of all windows of all tracks by source."""
    sources = [target["name"] for target in scores[0]["targets"]]
    return {
        source: np.concatenate([windows(track["targets"][i], "SDR") for track in scores])
        for i, source in enumerate(sources)
    }


def _distributions(systems: Mapping[str, Sequence[Scores]], folder: Path) -> dict[str, Any] | None:
    """Draw the box plot of all windows; return its files and the quartiles of each source."""
    pooled = {name: _by_source(scores) for name, scores in systems.items()}
    finite = {source: x[np.isfinite(x)] for source, x in pooled[MODEL].items()}
    if not any(map(len, finite.values())):
        return None
    draw = functools.partial(plots.distributions, pooled)
    return {
        "pictures": plots.save(draw, folder / "charts", "distributions"),
        "quartiles": {
            source: [decibels(q, digits=1) for q in np.percentile(values, (25, 50, 75))]
            for source, values in finite.items()
            if len(values)
        },
    }


def _curves(path: str | os.PathLike | None, folder: Path) -> dict[str, Any] | None:
    """Draw the training curves; return their files and the lowest validation loss."""
    if path is None:
        return None
    curves = training_curves.read_curves(path)
    if not training_curves.panels(curves):
        return None
    losses = {s: v for s, v in curves.get("val_loss", {}).items() if np.isfinite(v)}
    best = min(losses, key=lambda step: losses[step]) if losses else None
    return {
        "pictures": plots.save(
            functools.partial(training_curves.draw, curves), folder / "charts", "training"
        ),
        "panels": training_curves.panels(curves),
        "best": best,
        "loss": f"{losses[best]:.4g}" if best is not None else None,
        "epoch": int(curves.get("epoch", {}).get(best, -1)) if best is not None else None,
        "epochs": int(max(curves.get("epoch", {}).values(), default=-1)) + 1,
    }


def _versions() -> dict[str, str]:
    """Return the versions of Python, the platform and the installed libraries."""
    versions = {"Python": platform.python_version(), "platform": platform.platform()}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
