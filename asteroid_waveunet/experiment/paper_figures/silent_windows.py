"""Outliers of the SDR in windows with a nearly silent source.

The SDR is relative to the energy of the true source. If the source is nearly silent, any louder
estimate has an SDR far below zero, which depends more on the window than on the estimate. A few
such windows shift the mean considerably and the median hardly, which is why the paper reports
medians and median absolute deviations. Entirely silent windows have no score.
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
LOUDEST = 3.0  # dBFS, upper limit of the figure


@dataclass(frozen=True)
class Windows:
    """The windows of all tracks with an SDR of one source.

    Attributes:
        levels: RMS of the true source in dBFS.
        sdrs: SDRs in dB.
    """

    levels: np.ndarray
    sdrs: np.ndarray

    def above(self, level: float) -> Windows:
        """Return the windows whose source has at least this level."""
        loud = self.levels >= level
        return Windows(self.levels[loud], self.sdrs[loud])

    @property
    def figures(self) -> dict[str, float]:
        """Return mean, sd, median, mad and windows as `aggregation.aggregate` does."""
        return aggregation.aggregate([self.sdrs])


def measure(scores: Mapping[str, Mapping[str, Any]], tracks: Iterable[Track]) -> dict[str, Windows]:
    """Return the SDR and the level of the source in each window: source -> windows.

    Args:
        scores: track -> scores in museval's format, as from `paired_comparison.load`.
        tracks: tracks of the data set; those without scores are ignored.
    Raises:
        ValueError: if a scored track is missing or a window exceeds its track.
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
            f"The data set lacks the scored tracks {', '.join(missing)}; name the data set "
            "that was scored."
        )
    return {name: Windows(*np.concatenate(pairs, axis=1)) for name, pairs in found.items()}


def _pairs(target: Mapping[str, Any], source: torch.Tensor, rate: int, what: str) -> np.ndarray:
    """Return levels and SDRs of the windows with a score: `(2, n)`."""
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
    """Return a Markdown table of all windows, of the louder ones, and of the change."""
    rows = []
    for name, windows in found.items():
        all_windows, loud = windows.figures, windows.above(below).figures
        change = {key: loud[key] - all_windows[key] for key in all_windows}
        rows.append([name, *_cells(all_windows, "", "d")])
        rows.append([f"{name}, {below:g} dBFS or more", *_cells(loud, "", "d")])
        rows.append([f"{name}, change", *_cells(change, "+", "+d")])
    return f"{formatting.markdown(HEADINGS, rows)}\n" + (
        "SDR in dB over the scored windows of all tracks. SD: standard deviation; MAD: median "
        f"absolute deviation. Change: effect of excluding windows whose true source is below "
        f"{below:g} dBFS (RMS).\n"
    )


def _cells(of: Mapping[str, float], sign: str, count: str) -> list[str]:
    found = [of[key] for key in ("mean", "median", "sd", "mad")]
    scores = [common.format_number(score, f"{sign}.2f") for score in found]
    return [format(int(of["windows"]), count), *scores]


def draw(found: Mapping[str, Windows], below: float = NEARLY_SILENT) -> Figure:
    """Plot SDR over the level of the source, one panel per source, with mean and median."""
    columns = min(len(found), 2)
    rows = -(-len(found) // columns)
    figure = common.new_figure(90 + 280 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flatten()
    for axes in panels[len(found) :]:
        axes.set_axis_off()
    for axes, (name, windows) in zip(panels, found.items(), strict=False):
        _panel(axes, windows, below)
        axes.set_title(name)
    panels[0].set_xlim(right=LOUDEST)  # the axes are shared
    figure.supxlabel("RMS of the true source in a window, dBFS", fontsize="medium")
    figure.supylabel("SDR of the window, dB", fontsize="medium")
    return figure


def _panel(axes: Axes, windows: Windows, below: float) -> None:
    axes.grid()
    axes.scatter(windows.levels, windows.sdrs, s=7, color=COLOURS["blue"], alpha=0.45, linewidth=0)
    axes.axvline(below, color=INK, linewidth=0.8, linestyle=":")
    all_windows, loud = windows.figures, windows.above(below).figures
    for key, colour in (("mean", "red"), ("median", "green")):
        style: dict[str, Any] = dict(color=COLOURS[colour], linewidth=1.5)
        axes.axhline(all_windows[key], label=f"{key} {_written(all_windows[key])}", **style)
        label = f"{key} right of the line {_written(loud[key])}"
        axes.plot([below, LOUDEST], 2 * [loud[key]], linestyle="--", label=label, **style)
    axes.legend(loc="lower right", frameon=True, facecolor="white", edgecolor="none")


def _written(value: float) -> str:
    return common.format_number(value).replace("-", "−")
