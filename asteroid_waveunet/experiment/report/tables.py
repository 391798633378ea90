"""Scores as tables of text, and which tracks stand for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asteroid_waveunet.experiment.evaluation.aggregation import METRICS, windows

__all__ = [
    "REPRESENTATIVES",
    "Table",
    "comparison_table",
    "decibels",
    "gain_in_decibels",
    "median",
    "representatives",
    "score_table",
    "tracks_table",
]

Scores = Mapping[str, Any]

REPRESENTATIVES = ("best", "median", "worst")


def representatives(scores: Sequence[Scores]) -> dict[str, str]:
    """The "best", "median" and "worst" track's name, by the mean over sources of its median SDR.

    Tracks without a score are left out. Of an even number, the lower of the two in the middle is
    the median. Two tracks are best and worst, one alone is the median.

    >>> frame = lambda sdr: {"time": 0.0, "duration": 1.0, "metrics": {"SDR": sdr}}
    >>> track = lambda name, sdr: {
    ...     "track": name, "targets": [{"name": "voice", "frames": [frame(sdr)]}]}
    >>> representatives([track("a", 3.0), track("b", 5.0), track("c", 4.0)])
    {'best': 'b', 'median': 'c', 'worst': 'a'}
    """
    names = [track["track"] for mean, track in _ranked(scores) if not np.isnan(mean)]
    places = {0: {}, 1: {"median": 0}, 2: {"best": 0, "worst": 1}}
    of_many = {"best": 0, "median": len(names) // 2, "worst": -1}
    return {label: names[i] for label, i in places.get(len(names), of_many).items()}


# Heading of some columns -> column -> metric and figure.
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
COMPARED = {
    "pooled median": "median",
    "median of medians": "median_of_medians",
    "NaN windows": "nan_windows",
}


@dataclass(frozen=True)
class Table:
    """Columns under headings, and rows with a name; all cells are text."""

    corner: str
    columns: Mapping[str, Sequence[str]]
    rows: Sequence[tuple[str, Sequence[str]]]
    summary: tuple[str, Sequence[str]] | None = None


def score_table(summary: Mapping[str, Any]) -> Table:
    """All figures of a model, as `aggregation.summarise` gives them."""
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
    """The SDR of each system; the first is the model."""
    figures = {
        source: [
            summary[source]["SDR"][figure]
            for summary in summaries.values()
            for figure in COMPARED.values()
        ]
        for source in next(iter(summaries.values()))
    }
    return _with_average("source", {name: list(COMPARED) for name in summaries}, figures)


def _with_average(
    corner: str, columns: Mapping[str, Sequence[str]], figures: Mapping[str, list]
) -> Table:
    """A table with the mean of each column below, but for counts."""
    average = None
    if len(figures) > 1:
        average = ("average", [_mean(column) for column in zip(*figures.values(), strict=True)])
    rows = [(source, [_cell(value) for value in row]) for source, row in figures.items()]
    return Table(corner, columns, rows, average)


def tracks_table(scores: Sequence[Scores]) -> Table:
    """Each track's median SDRs, the best track first."""
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


def decibels(value: float, digits: int = 2) -> str:
    """A figure as text, with a true minus sign; a dash where there is none.

    >>> decibels(-1.234), decibels(float("inf")), decibels(float("nan"))
    ('−1.23', '∞', '–')
    """
    if np.isnan(value):
        return "–"
    text = "∞" if np.isinf(value) else f"{abs(value):.{digits}f}"
    return f"−{text}" if value < 0 and text.strip("0.") else text


def gain_in_decibels(gain: float) -> str:
    """A gain as text, with its sign.

    >>> gain_in_decibels(2.0), gain_in_decibels(0.5)
    ('+6.0', '−6.0')
    """
    text = decibels(20 * np.log10(gain), digits=1)
    return text if text.startswith("−") else f"+{text}"


def _ranked(scores: Sequence[Scores]) -> list[tuple[float, Scores]]:
    """Tracks with the mean over their sources of the median SDR; best first, without score last."""

    def mean(track: Scores) -> float:
        medians = np.array([median(windows(target, "SDR")) for target in track["targets"]])
        scored = medians[~np.isnan(medians)]
        with np.errstate(invalid="ignore"):
            return float(np.mean(scored)) if len(scored) else np.nan

    tracks = [(mean(track), track) for track in scores]
    return sorted(tracks, key=lambda item: np.inf if np.isnan(item[0]) else -item[0])


def median(values: np.ndarray) -> float:
    """Of what is not NaN; NaN if all is."""
    scored = values[~np.isnan(values)]
    return float(np.median(scored)) if len(scored) else np.nan
