"""Score tables as text, and the choice of representative tracks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asteroid_waveunet.experiment.evaluation.aggregation import METRICS, windows
from asteroid_waveunet.experiment.evaluation.formatting import decibels

__all__ = [
    "REPRESENTATIVES",
    "Scores",
    "Table",
    "comparison_table",
    "median",
    "representatives",
    "score_table",
    "tracks_table",
]

Scores = Mapping[str, Any]

REPRESENTATIVES = ("best", "median", "worst")


def representatives(scores: Sequence[Scores]) -> dict[str, str]:
    """Return the names of the "best", "median" and "worst" track.

    Tracks are ranked by the mean over sources of their median SDR; tracks without a score are
    ignored. An even number has the lower of the middle two as median. Two tracks are the best and
    the worst, and a single track is the median.

    >>> frame = lambda sdr: {"time": 0.0, "duration": 1.0, "metrics": {"SDR": sdr}}
    >>> track = lambda name, sdr: {
    ...     "track": name, "targets": [{"name": "voice", "frames": [frame(sdr)]}]}
    >>> representatives([track("a", 3.0), track("b", 5.0), track("c", 4.0)])
    {'best': 'b', 'median': 'c', 'worst': 'a'}
    """
    names = [track["track"] for mean, track in _ranked(scores) if not np.isnan(mean)]
    of_few = {0: {}, 1: {"median": 0}, 2: {"best": 0, "worst": 1}}
    of_many = {"best": 0, "median": len(names) // 2, "worst": -1}
    return {label: names[i] for label, i in of_few.get(len(names), of_many).items()}


# Column group -> column -> metric and statistic.
SCORE_COLUMNS: dict[str, dict[str, tuple[str, str]]] = {
    "SDR pooled over all windows": {
        "median": ("SDR", "median"),
        "MAD": ("SDR", "mad"),
        "mean": ("SDR", "mean"),
        "SD": ("SDR", "sd"),
    },
    "Pooled medians": {metric: (metric, "median") for metric in ("SIR", "ISR", "SAR")},
    "Medians of medians": {metric: (metric, "median_of_medians") for metric in METRICS},
    "Windows": {"scored": ("SDR", "windows"), "NaN": ("SDR", "nan_windows")},
}
COMPARISON_COLUMNS = {
    "pooled median": "median",
    "median of medians": "median_of_medians",
    "NaN windows": "nan_windows",
}


@dataclass(frozen=True)
class Table:
    """A table of text: columns in groups, and named rows."""

    corner: str
    columns: Mapping[str, Sequence[str]]
    rows: Sequence[tuple[str, Sequence[str]]]
    summary: tuple[str, Sequence[str]] | None = None


def score_table(summary: Mapping[str, Any]) -> Table:
    """Return the table of a model's scores from `aggregation.summarise`."""
    figures = {
        source: [
            metrics[metric][figure]
            for columns in SCORE_COLUMNS.values()
            for metric, figure in columns.values()
        ]
        for source, metrics in summary.items()
    }
    columns = {heading: list(columns) for heading, columns in SCORE_COLUMNS.items()}
    return _with_average("source", columns, figures)


def comparison_table(summaries: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the table of the SDR of each system; the first is the model."""
    figures = {
        source: [
            summary[source]["SDR"][figure]
            for summary in summaries.values()
            for figure in COMPARISON_COLUMNS.values()
        ]
        for source in next(iter(summaries.values()))
    }
    return _with_average("source", {name: list(COMPARISON_COLUMNS) for name in summaries}, figures)


def _with_average(
    corner: str, columns: Mapping[str, Sequence[str]], figures: Mapping[str, list]
) -> Table:
    """Return a table with a row of column means, without the counts."""
    average = None
    if len(figures) > 1:
        average = ("average", [_mean(column) for column in zip(*figures.values(), strict=True)])
    rows = [(source, [_cell(value) for value in row]) for source, row in figures.items()]
    return Table(corner, columns, rows, average)


def tracks_table(scores: Sequence[Scores]) -> Table:
    """Return the table of each track's median SDRs, best track first."""
    sources = [target["name"] for target in scores[0]["targets"]]
    rows = [
        (
            track["track"],
            [
                *(decibels(median(windows(target, "SDR"))) for target in track["targets"]),
                decibels(mean),
            ],
        )
        for mean, track in _ranked(scores)
    ]
    return Table("track", {"Median SDR over the track’s windows, dB": [*sources, "mean"]}, rows)


def _mean(column: Sequence[float]) -> str:
    if isinstance(column[0], int):
        return ""
    with np.errstate(invalid="ignore"):
        return decibels(float(np.mean(column)))


def _cell(value: float) -> str:
    return str(value) if isinstance(value, int) else decibels(value)


def _ranked(scores: Sequence[Scores]) -> list[tuple[float, Scores]]:
    """Return tracks with their mean of median SDRs, best first and those without a score last."""

    def mean(track: Scores) -> float:
        medians = np.array([median(windows(target, "SDR")) for target in track["targets"]])
        scored = medians[~np.isnan(medians)]
        with np.errstate(invalid="ignore"):
            return float(np.mean(scored)) if len(scored) else np.nan

    tracks = [(mean(track), track) for track in scores]
    return sorted(tracks, key=lambda item: np.inf if np.isnan(item[0]) else -item[0])


def median(values: np.ndarray) -> float:
    """Return the median of the values that are not NaN; NaN if there are none."""
    scored = values[~np.isnan(values)]
    return float(np.median(scored)) if len(scored) else np.nan
