"""Figures of a data set, aggregated from the scores of its tracks, and their table.

There are two aggregations, which must not be compared with each other: pooled over the windows of
all tracks (the paper's), and the median over tracks of each track's median (SiSEC's).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from asteroid_waveunet.experiment.data.errata import AFFECTING_SCORES
from asteroid_waveunet.experiment.evaluation.formatting import count, markdown, number

__all__ = [
    "METRICS",
    "aggregate",
    "average",
    "nan_to_none",
    "remarks",
    "summarise",
    "table",
    "windows",
]

METRICS = ("SDR", "SIR", "ISR", "SAR")

Figures = Mapping[str, float]
Summary = Mapping[str, Mapping[str, Figures]]  # source -> metric -> figure


def summarise(scores: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Aggregate the scores of all tracks: source -> metric -> figure -> value.

    Pooled over the windows of all tracks (the paper's): "median", "mad" (median absolute
    deviation, unscaled), "mean", "sd" (population). "median_of_medians": over the windows of a
    track, then over tracks (SiSEC's). NaN windows are left out. "windows" and "nan_windows" count
    the windows with and without a score, "tracks" the tracks with at least one score.

    Raises:
        ValueError: if the tracks differ in their sources or in the targets scored together.
    """
    protocols = {_protocol(track) for track in scores}
    if len(protocols) != 1:
        raise ValueError(
            f"expected scores of the same sources in every track, got {sorted(protocols)};"
            " scores of different sets of targets cannot be compared"
        )
    return {
        source: {
            metric: aggregate([windows(track["targets"][i], metric) for track in scores])
            for metric in METRICS
        }
        for i, source in enumerate(protocols.pop()[0])
    }


def _protocol(track: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the sources with scores, and the targets that were scored together."""
    sources = tuple(target["name"] for target in track["targets"])
    return sources, tuple(track.get("protocol", sources))


def windows(target: Mapping[str, Any], metric: str) -> np.ndarray:
    """Return a metric of each window of one target in dB, NaN for windows without a score."""
    return np.array([frame["metrics"][metric] for frame in target["frames"]], dtype=np.float64)


def aggregate(per_track: Sequence[np.ndarray]) -> dict[str, float]:
    """Return the figures of `summarise` for one metric, from each track's windows in dB."""
    scored = [values[~np.isnan(values)] for values in per_track]
    pooled = np.concatenate(scored)
    medians = [np.median(values) for values in scored if len(values)]
    figures = dict.fromkeys(("median", "mad", "mean", "sd", "median_of_medians"), np.nan)
    if len(pooled):
        median = np.median(pooled)
        deviation = np.median(np.abs(pooled - median))
        of_medians = np.median(medians)
        found = (median, deviation, pooled.mean(), pooled.std(), of_medians)
        figures = dict(zip(figures, map(float, found), strict=True))
    n_windows = sum(map(len, per_track))
    return {
        **figures,
        "windows": len(pooled),
        "nan_windows": n_windows - len(pooled),
        "tracks": len(medians),
    }


# Heading -> metric and figure. Windows are counted for the SDR.
COLUMNS = {
    "SDR": ("SDR", "median"),
    "MAD": ("SDR", "mad"),
    "mean": ("SDR", "mean"),
    "SD": ("SDR", "sd"),
    "SDR by track": ("SDR", "median_of_medians"),
    "SIR": ("SIR", "median"),
    "ISR": ("ISR", "median"),
    "SAR": ("SAR", "median"),
    "windows": ("SDR", "windows"),
    "NaN": ("SDR", "nan_windows"),
}
COUNTS = ("windows", "NaN")

LEGEND = (
    "All in dB. SDR, SIR, ISR, SAR: medians pooled over the windows of all tracks (the paper's "
    "aggregation), with the SDR's median absolute deviation (MAD), mean and standard deviation "
    "(SD). SDR by track: the median over tracks of each track's median (SiSEC's). NaN: windows "
    "without a score."
)


def average(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each column over the sources, without the counts.

    >>> average([{"SDR": 1.0, "NaN": 3}, {"SDR": 2.0, "NaN": 4}])
    {'SDR': 1.5}
    """
    return {k: float(np.mean([row[k] for row in rows])) for k in rows[0] if k not in COUNTS}


def figures(summary: Summary) -> dict[str, dict[str, float]]:
    """Return source -> heading of `COLUMNS` -> figure, with an "average" of several sources."""
    rows = {
        source: {heading: metrics[metric][key] for heading, (metric, key) in COLUMNS.items()}
        for source, metrics in summary.items()
    }
    return {**rows, "average": average([*rows.values()])} if len(rows) > 1 else rows


def table(summaries: Mapping[str, Summary]) -> str:
    """Return a Markdown table: for each system a row per source and their average; see `LEGEND`.

    Args:
        summaries: system, such as "model" or "mixture" -> result of `summarise`.
    """
    rows = [
        [system, source, *(_cell(row.get(heading, math.nan)) for heading in COLUMNS)]
        for system, summary in summaries.items()
        for source, row in figures(summary).items()
    ]
    return markdown(["estimates", "source", *COLUMNS], rows, names=2)


def _cell(value: float) -> str:
    return str(value) if isinstance(value, int) else number(value)


def nan_to_none(summary: Summary) -> dict[str, dict[str, dict[str, float | None]]]:
    """Return a summary for JSON, which has no NaN: None for missing figures."""
    return {
        source: {
            metric: {k: None if v != v else v for k, v in figures.items()}
            for metric, figures in metrics.items()
        }
        for source, metrics in summary.items()
    }


REASONS = {
    "silent_reference": ("{source} is silent in {n}: no score of any source", "window"),
    "silent_estimate": (
        "the estimate of {source} is silent in {n}: no score of any source",
        "window",
    ),
    "silent_throughout": (
        "the estimate of {source} is silent throughout {n}: museval refuses these, so only the SDR "
        "is given (0 dB for zeros)",
        "track",
    ),
    "perfect": (
        "the estimate of {source} equals the reference in {n}: no score of this source",
        "window",
    ),
}


def remarks(scores: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return remarks on the scores: windows without one, with the reason, and faulty tracks."""
    totals: dict[tuple[str, str], int] = {}
    for track in scores:
        for source, counts in track.get("unscored", {}).items():
            for reason, n in counts.items():
                totals[reason, source] = totals.get((reason, source), 0) + n
    result = [
        form.format(n=count(totals[reason, source], thing), source=source)
        for reason, (form, thing) in REASONS.items()
        for other, source in totals
        if other == reason and totals[reason, source]
    ]
    names = {track["track"] for track in scores}
    return result + [
        f"in {song} {fault}" for song, fault in AFFECTING_SCORES.items() if song in names
    ]
