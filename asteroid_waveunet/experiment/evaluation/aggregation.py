"""Figures of a data set from the scores of its tracks, and a table of them.

Two aggregations exist, and neither is to be compared with the other: pooled over the windows of
all tracks (the paper's), and the median over tracks of each track's median (SiSEC's).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from asteroid_waveunet.experiment.data.errata import AFFECTING_SCORES

__all__ = [
    "METRICS",
    "aggregate",
    "average",
    "count",
    "finite",
    "markdown",
    "remarks",
    "summarise",
    "table",
    "windows",
]

METRICS = ("SDR", "SIR", "ISR", "SAR")

Figures = Mapping[str, float]
Summary = Mapping[str, Mapping[str, Figures]]  # source -> metric -> figure


def summarise(scores: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Two aggregations of all tracks: source -> metric -> figure.

    Pooled over the windows of all tracks (the paper's): "median", "mad" (median absolute
    deviation, unscaled), "mean", "sd" (population). "median_of_medians": over the windows of a
    track, then over tracks (SiSEC's). NaN windows count for neither; "windows" and "nan_windows"
    say how many had a score and how many had none, "tracks" how many had a score at all.

    Raises:
        ValueError: if the tracks were not all scored for the same sources, together with the same.
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
    """The sources that have scores, and those that were scored together."""
    sources = tuple(target["name"] for target in track["targets"])
    return sources, tuple(track.get("protocol", sources))


def windows(target: Mapping[str, Any], metric: str) -> np.ndarray:
    """A metric of each window of one target, in dB, NaN where there is none."""
    return np.array([frame["metrics"][metric] for frame in target["frames"]], dtype=np.float64)


def aggregate(per_track: Sequence[np.ndarray]) -> dict[str, float]:
    """`summarise`'s figures of one metric, from each track's windows in dB."""
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


# Heading -> metric and figure. The counts of windows are those of the SDR.
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
    """The mean over sources of each column, without the counts.

    >>> average([{"SDR": 1.0, "NaN": 3}, {"SDR": 2.0, "NaN": 4}])
    {'SDR': 1.5}
    """
    return {k: float(np.mean([row[k] for row in rows])) for k in rows[0] if k not in COUNTS}


def figures(summary: Summary) -> dict[str, dict[str, float]]:
    """Source -> heading of `COLUMNS` -> figure, and "average" where there are several sources."""
    rows = {
        source: {heading: metrics[metric][key] for heading, (metric, key) in COLUMNS.items()}
        for source, metrics in summary.items()
    }
    return {**rows, "average": average([*rows.values()])} if len(rows) > 1 else rows


def table(summaries: Mapping[str, Summary]) -> str:
    """A Markdown table: for each system a row a source and their average; see `LEGEND`.

    Args:
        summaries: system, such as "model" or "mixture" -> what `summarise` gives.
    """
    rows = [
        [system, source, *(_cell(row.get(heading, math.nan)) for heading in COLUMNS)]
        for system, summary in summaries.items()
        for source, row in figures(summary).items()
    ]
    return markdown(["estimates", "source", *COLUMNS], rows, names=2)


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]], names: int = 1) -> str:
    """A table in Markdown: the first columns, which name things, to the left, others to the right.

    >>> print(markdown(["way", "dB"], [["one", "3.0"]]), end="")
    | way | dB |
    | --- | ---: |
    | one | 3.0 |
    """
    rule = ["---"] * names + ["---:"] * (len(headings) - names)
    return "".join(f"| {' | '.join(line)} |\n" for line in (headings, rule, *rows))


def _cell(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return "–" if np.isnan(value) else f"{value:.2f}"


def finite(summary: Summary) -> dict[str, dict[str, dict[str, float | None]]]:
    """A summary for JSON, which has no NaN: None where there is no figure."""
    return {
        source: {
            metric: {k: None if v != v else v for k, v in figures.items()}
            for metric, figures in metrics.items()
        }
        for source, metrics in summary.items()
    }


REASONS = {
    "silent_reference": ("{source} is silent in {n}, which have no score in any source", "window"),
    "silent_estimate": (
        "the estimate of {source} is silent in {n}, which have no score in any source",
        "window",
    ),
    "silent_throughout": (
        "the estimate of {source} is silent throughout {n}; museval refuses that, and its SDR "
        "alone is given (0 dB for zeros)",
        "track",
    ),
    "perfect": (
        "the estimate of {source} is the reference itself in {n}, which have no score of it",
        "window",
    ),
}


def remarks(scores: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader of the figures should know: windows without a score, and why; odd tracks."""
    totals: dict[tuple[str, str], int] = {}
    for track in scores:
        for source, counts in track.get("unscored", {}).items():
            for why, n in counts.items():
                totals[why, source] = totals.get((why, source), 0) + n
    said = [
        form.format(n=count(totals[why, source], thing), source=source)
        for why, (form, thing) in REASONS.items()
        for other, source in totals
        if other == why and totals[why, source]
    ]
    names = {track["track"] for track in scores}
    return said + [
        f"in {song} {fault}" for song, fault in AFFECTING_SCORES.items() if song in names
    ]


def count(n: int, thing: str) -> str:
    """
    >>> count(1, "window"), count(2, "window")
    ('1 window', '2 windows')
    """
    return f"{n} {thing}{'' if n == 1 else 's'}"
