"""Outliers among scores: windows in which a source is nearly silent.

An SDR is a ratio to the energy of the true source. Where that is nearly silent, an estimate that
is not as silent has an SDR far below zero, and how far says more of the window than of the
estimate. A few such windows move the mean over all by much, and the median hardly; which is why
the paper reports medians, and median absolute deviations. (Windows that are silent altogether have
no score.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asteroid_waveunet.experiment.data.track import Track, stems_of, sum_groups
from asteroid_waveunet.experiment.evaluation import aggregation, formatting
from asteroid_waveunet.experiment.paper_figures import common
from asteroid_waveunet.experiment.paper_figures.common import COLOURS, INK

__all__ = ["NEARLY_SILENT", "Windows", "draw", "measure", "table"]

NEARLY_SILENT = -50.0  # dBFS, RMS of a window
LOUDEST = 3.0  # dBFS, where the figure ends


@dataclass(frozen=True)
class Windows:
    """The windows of all tracks in which one source has an SDR.

    Attributes:
        levels: of the true source, RMS in dB of full scale.
        sdrs: in dB.
    """

    levels: np.ndarray
    sdrs: np.ndarray

    def above(self, level: float) -> Windows:
        """Without those whose source is below a level."""
        loud = self.levels >= level
        return Windows(self.levels[loud], self.sdrs[loud])

    @property
    def figures(self) -> dict[str, float]:
        """As of `aggregation.aggregate`: mean, sd, median, mad, windows."""
        return aggregation.aggregate([self.sdrs])


def measure(scores: Mapping[str, Mapping[str, Any]], tracks: Iterable[Track]) -> dict[str, Windows]:
    """Each window's SDR beside its source's level: source -> windows.

    Args:
        scores: track -> scores in museval's format, as from `comparison.load`.
        tracks: among which those are; others are passed over.
    Raises:
        ValueError: if a track with scores is not among them, or a window is not within its track.
    """
    found: dict[str, list[np.ndarray]] = {}
    missing = dict.fromkeys(scores)
    for track in tracks:
        if track.name not in scores:
            continue
        del missing[track.name]
        targets = {target["name"]: target for target in scores[track.name]["targets"]}
        groups = {name: stems_of(name, track.stems) for name in targets}
        samples, rate = track.read_all(
            sorted({stem for stems in groups.values() for stem in stems})
        )
        sources = sum_groups(samples, groups)
        for name, target in targets.items():
            pairs = _pairs(target, sources[name], rate, f"{name} of {track.name}")
            found.setdefault(name, []).append(pairs)
    if missing:
        raise ValueError(
            f"The data has no {', '.join(missing)}, which there are scores of; name the data set "
            "that was scored."
        )
    return {name: Windows(*np.concatenate(pairs, axis=1)) for name, pairs in found.items()}


def _pairs(target: Mapping[str, Any], source: torch.Tensor, rate: int, what: str) -> np.ndarray:
    """Levels and SDRs of the windows that have a score: `(2, n)`."""
    pairs = []
    for frame, sdr in zip(target["frames"], aggregation.windows(target, "SDR"), strict=True):
        start, end = (round(rate * t) for t in (frame["time"], frame["time"] + frame["duration"]))
        window = source[:, start:end].double()
        if not window.numel():
            raise ValueError(f"The {what} has a score at {frame['time']:g} s, after its end.")
        if np.isfinite(sdr):
            pairs.append((common.decibels(float(window.square().mean())), sdr))
    return np.array(pairs, np.float64).reshape(-1, 2).T


HEADINGS = ("source", "windows", "mean", "median", "SD", "MAD")


def table(found: Mapping[str, Windows], below: float = NEARLY_SILENT) -> str:
    """Markdown: figures of all windows, of those that are loud enough, and what that changes."""
    rows = []
    for name, windows in found.items():
        everything, loud = windows.figures, windows.above(below).figures
        change = {key: loud[key] - everything[key] for key in everything}
        rows.append([name, *_cells(everything, "", "d")])
        rows.append([f"{name}, {below:g} dBFS or more", *_cells(loud, "", "d")])
        rows.append([f"{name}, change", *_cells(change, "+", "+d")])
    return f"{formatting.markdown(HEADINGS, rows)}\n" + (
        "SDR in dB over windows of all tracks that have one. SD: standard deviation; MAD: median "
        f"absolute deviation. Change: what leaving out windows whose true source is below "
        f"{below:g} dB of full scale (RMS) does.\n"
    )


def _cells(of: Mapping[str, float], sign: str, count: str) -> list[str]:
    found = [of[key] for key in ("mean", "median", "sd", "mad")]
    scores = [common.number(score, f"{sign}.2f") for score in found]
    return [format(int(of["windows"]), count), *scores]


def draw(found: Mapping[str, Windows], below: float = NEARLY_SILENT) -> Figure:
    """SDR against the source's level, a panel a source, with mean and median."""
    columns = min(len(found), 2)
    rows = -(-len(found) // columns)
    figure = common.sheet(90 + 280 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flatten()
    for axes in panels[len(found) :]:
        axes.set_axis_off()
    for axes, (name, windows) in zip(panels, found.items(), strict=False):
        _panel(axes, windows, below)
        axes.set_title(name)
    panels[0].set_xlim(right=LOUDEST)  # of all, which share it
    figure.supxlabel("RMS of the true source in a window, dB of full scale", fontsize="medium")
    figure.supylabel("SDR of the window, dB", fontsize="medium")
    return figure


def _panel(axes: Axes, windows: Windows, below: float) -> None:
    axes.grid()
    axes.scatter(windows.levels, windows.sdrs, s=7, color=COLOURS["blue"], alpha=0.45, linewidth=0)
    axes.axvline(below, color=INK, linewidth=0.8, linestyle=":")
    everything, loud = windows.figures, windows.above(below).figures
    for key, colour in (("mean", "red"), ("median", "green")):
        look: dict[str, Any] = dict(color=COLOURS[colour], linewidth=1.5)
        axes.axhline(everything[key], label=f"{key} {_written(everything[key])}", **look)
        label = f"{key} right of the line {_written(loud[key])}"
        axes.plot([below, LOUDEST], 2 * [loud[key]], linestyle="--", label=label, **look)
    axes.legend(loc="lower right", frameon=True, facecolor="white", edgecolor="none")


def _written(value: float) -> str:
    return common.number(value).replace("-", "−")
