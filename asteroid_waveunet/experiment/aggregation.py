"""Figures of a data set from the scores of its tracks, and a table of them.

Two aggregations exist, and neither is to be compared with the other: pooled over the windows of
all tracks (the paper's), and the median over tracks of each track's median (SiSEC's).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["METRICS", "summarise", "table", "windows"]

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
        ValueError: if the tracks were not all scored for the same sources.
    """
    targets = {tuple(target["name"] for target in track["targets"]) for track in scores}
    if len(targets) != 1:
        raise ValueError(
            f"expected scores of the same sources in every track, got {sorted(targets)};"
            " scores of different sets of targets cannot be compared"
        )
    return {
        source: {
            metric: _aggregate([windows(track["targets"][i], metric) for track in scores])
            for metric in METRICS
        }
        for i, source in enumerate(targets.pop())
    }


def windows(target: Mapping[str, Any], metric: str) -> np.ndarray:
    """A metric of each window of one target, in dB, NaN where there is none."""
    return np.array([frame["metrics"][metric] for frame in target["frames"]], dtype=np.float64)


def _aggregate(per_track: Sequence[np.ndarray]) -> dict[str, float]:
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


# Heading -> metric and figure.
COLUMNS = {
    "SDR": ("SDR", "median"),
    "MAD": ("SDR", "mad"),
    "mean": ("SDR", "mean"),
    "SD": ("SDR", "sd"),
    "by track": ("SDR", "median_of_medians"),
    "SIR": ("SIR", "median"),
    "ISR": ("ISR", "median"),
    "SAR": ("SAR", "median"),
    "windows": ("SDR", "windows"),
    "NaN": ("SDR", "nan_windows"),
}


def table(summary: Summary, baselines: Mapping[str, Summary] | None = None) -> str:
    """A Markdown table: a row a source and their average, then the SDR of each baseline.

    Everything in dB, medians over the windows of all tracks but for MAD, mean and SD, and for
    "by track", the median over tracks of each track's median.
    """
    baselines = baselines or {}
    headings = ["source", *COLUMNS, *(f"{name}'s SDR" for name in baselines)]
    rows = [
        [
            *(summary[source][metric][figure] for metric, figure in COLUMNS.values()),
            *(baseline[source]["SDR"]["median"] for baseline in baselines.values()),
        ]
        for source in summary
    ]
    named = list(zip(summary, rows, strict=True))
    if len(rows) > 1:
        mean = [float(np.mean(column)) for column in zip(*rows, strict=True)]
        counts = [len(COLUMNS) - 2, len(COLUMNS) - 1]
        named.append(("average", [math.nan if i in counts else v for i, v in enumerate(mean)]))
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1)]
    lines += [[name, *map(_cell, row)] for name, row in named]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return "–" if np.isnan(value) else f"{value:.2f}"
