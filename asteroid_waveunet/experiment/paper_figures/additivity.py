"""Residual of the mixture after subtracting the estimates, by output type.

A direct model predicts each source independently, so the estimates need not sum to the mixture. A
difference model computes its last source as the mixture minus the others, which leaves rounding
errors only; in evaluation, however, the last source is clipped to [-1, 1], and the excess remains.
Mixture consistency distributes the residual of a direct model equally over its estimates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from asteroid_waveunet.experiment.data.track import Track
from asteroid_waveunet.experiment.evaluation.formatting import count, markdown
from asteroid_waveunet.experiment.paper_figures import common
from asteroid_waveunet.experiment.paper_figures.common import COLOURS, INK
from asteroid_waveunet.experiment.report.plots import clock, time_ticks
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.separation.separate import separate_at_rate
from asteroid_waveunet.streaming.options import SeparationOptions

__all__ = ["SECONDS", "Residuals", "draw", "measure", "table"]

SECONDS = 0.25
"""Length of a window."""

SILENT = -90.0  # dBFS; quieter windows of the mixture are ignored
LOWEST = -200.0
"""Lower limit of the figure in dB; float32 rounding is near -150, and some residuals are zero."""

TICKS = (LOWEST, -160, -120, -80, -40, 0)
LABELS = [f"{tick:g}".replace("-", "−") for tick in TICKS]
LABELS[0] = f"≤ {LABELS[0]}"


class Residuals:
    """Residuals of one system: mixtures minus the residuals of the estimates.

    Args:
        name: name of the system in tables and figures.

    Attributes:
        tracks: name -> mean squares of the mixture and the residual in each window,
            `(2, n_windows)`.
        energies: energies of the mixture and the residual over all samples.
        largest: largest absolute sample of a residual.
        clipped: number of samples of the last source at full scale or beyond, where a difference
            model's are clipped.
        n_samples: number of samples of the last source.
    """

    def __init__(self, name: str):
        self.name = name
        self.tracks: dict[str, np.ndarray] = {}
        self.energies = np.zeros(2)
        self.largest = 0.0
        self.clipped = self.n_samples = 0

    def add(self, track: str, mixture: Tensor, estimates: Tensor, sample_rate: float) -> None:
        """Add a track: mixture `(channels, time)`, estimates `(n_src, channels, time)`."""
        residual = mixture.double() - estimates.double().sum(0)
        both = torch.stack([mixture.double(), residual])
        self.energies += both.square().sum((1, 2)).numpy()
        self.largest = max(self.largest, float(residual.abs().max()))
        self.clipped += int((estimates[-1].abs() >= 1).sum())
        self.n_samples += estimates[-1].numel()
        length = round(SECONDS * sample_rate)
        windows = both.unfold(-1, min(length, both.shape[-1]), length)
        self.tracks[track] = windows.square().mean((1, 3)).numpy()

    @property
    def relative(self) -> np.ndarray:
        """Return the residual of each window in dB relative to the mixture, without silent ones."""
        mixture, residual = np.concatenate([*self.tracks.values()], axis=1)
        is_audible = common.decibels(mixture) > SILENT
        return common.decibels(residual[is_audible], mixture[is_audible])


def measure(
    model: SourceModel, tracks: Iterable[Track], name: str, mixture_consistency: bool = False
) -> Residuals:
    """Measure residuals of separated tracks at the model's rate, in evaluation mode.

    Raises:
        ValueError: if the model's sources do not sum to the mixture, channels cannot be
            converted, or all mixtures are silent.
    """
    model.eval()
    options = SeparationOptions(mixture_consistency=mixture_consistency)
    found = Residuals(name)
    for track in tracks:
        mixture, _ = common.load_track(track, model, complete=True)
        estimates = separate_at_rate(model, mixture, model.sample_rate, options)
        found.add(track.name, mixture, estimates, model.sample_rate)
    if not len(found.relative):
        raise ValueError("The mixtures are silent: no residual can be measured.")
    return found


HEADINGS = (
    "estimates",
    "residual, dB of the mixture",
    "median window",
    "worst window",
    "largest sample",
    "last source at full scale",
)
LEGEND = (
    "Residual: the mixture minus the sum of its estimates; energy over all tracks and in windows "
    f"of {SECONDS:g} s. Largest sample: of the residual; 1 is full scale. Last source at full "
    "scale: samples at or beyond ±1, where evaluation clips a difference model's.\n"
)


def table(found: Sequence[Residuals]) -> str:
    """Return a Markdown table, one row per system."""
    rows = []
    for residuals in found:
        mixture, residual = residuals.energies
        ends = (np.median(residuals.relative), residuals.relative.max())
        rows.append(
            [
                residuals.name,
                common.format_number(common.decibels(residual, mixture)),
                *map(common.format_number, ends),
                f"{residuals.largest:.2g}",
                f"{residuals.clipped} of {residuals.n_samples}",
            ]
        )
    return f"{markdown(HEADINGS, rows)}\n{LEGEND}"


STYLES = (("red", "-"), ("blue", "-"), ("green", "--"), ("orange", ":"))


def draw(found: Sequence[Residuals]) -> Figure:
    """Plot the residual over the first track, and its distribution over all windows."""
    figure = common.new_figure(640)
    over_time, spread = figure.subplots(2, 1)
    track = next(iter(found[0].tracks))
    over_time.set_title(f"Over time: {track}")
    mixture = found[0].tracks[track][0]
    _over_time(over_time, mixture, color=INK, linewidth=1, label="the mixture")
    for residuals, (colour, line) in zip(found, STYLES, strict=False):
        style = dict(color=COLOURS[colour], linestyle=line, linewidth=1.5)
        label = f"residual: {residuals.name}"
        _over_time(over_time, residuals.tracks[track][1], label=label, **style)
        levels = np.sort(np.maximum(residuals.relative, LOWEST))
        spread.plot(levels, np.arange(1, len(levels) + 1) / len(levels), **style)
    over_time.set(ylim=(LOWEST - 5, 0), ylabel="RMS, dB of full scale")
    over_time.set_yticks(TICKS, LABELS)
    n_tracks = len(found[0].tracks)
    spread.set_title(f"Windows of {SECONDS:g} s, of {count(n_tracks, 'track')}")
    spread.set(xlim=(LOWEST - 5, 20), ylim=(0, 1.02), ylabel="cumulative share of windows")
    spread.set_xticks(TICKS, LABELS)
    spread.set_xlabel("residual, dB of the mixture")
    for axes in (over_time, spread):
        axes.grid()
    figure.legend(*over_time.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _over_time(axes: Axes, squares: np.ndarray, **style: Any) -> None:
    window_edges = SECONDS * np.arange(len(squares) + 1)
    levels = np.maximum(common.decibels(squares), LOWEST)
    axes.stairs(levels, window_edges, baseline=None, **style)
    ticks = time_ticks(0, window_edges[-1], most=12)
    axes.set_xlim(0, window_edges[-1])
    axes.set_xticks(ticks, [clock(tick) for tick in ticks])
    axes.set_xlabel("time in the track, min:s")
