"""Whether estimates sum to the mixture: of direct and difference output, and made consistent.

A direct model predicts every source by itself, and nothing makes them sum to the mixture; what is
missing is what no source got, or two did. A difference model's last source is the mixture minus
the others, so that only rounding is missing; but in evaluation the last source is clipped to
[-1, 1], and where it would be beyond, that is missing. Mixture consistency hands what a direct
model's estimates lack to all of them in equal parts.
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

__all__ = ["SECONDS", "Sums", "draw", "measure", "table"]

SECONDS = 0.25
"""Of a window."""

SILENT = -90.0  # dBFS; windows whose mixture is below have no level beside it
LOWEST = -200.0
"""In dB, of the figure: rounding in float32 is at some -150, and some windows lack nothing."""

TICKS = (LOWEST, -160, -120, -80, -40, 0)
LABELS = [f"{tick:g}".replace("-", "−") for tick in TICKS]
LABELS[0] = f"≤ {LABELS[0]}"


class Sums:
    """Mixtures less the sums of their estimates.

    Args:
        name: of the system, in tables and figures.

    Attributes:
        tracks: name -> mean squares of each window of the mixture, and of what is missing of it,
            `(2, n_windows)`.
        energies: of all samples, the same two.
        largest: sample of what is missing.
        clipped: samples of the last source at full scale, where a difference model's are cut, or
            beyond.
        n_samples: of that source.
    """

    def __init__(self, name: str):
        self.name = name
        self.tracks: dict[str, np.ndarray] = {}
        self.energies = np.zeros(2)
        self.largest = 0.0
        self.clipped = self.n_samples = 0

    def add(self, track: str, mixture: Tensor, estimates: Tensor, sample_rate: float) -> None:
        """A track: `(channels, time)`, and estimates `(n_src, channels, time)`."""
        missing = mixture.double() - estimates.double().sum(0)
        both = torch.stack([mixture.double(), missing])
        self.energies += both.square().sum((1, 2)).numpy()
        self.largest = max(self.largest, float(missing.abs().max()))
        self.clipped += int((estimates[-1].abs() >= 1).sum())
        self.n_samples += estimates[-1].numel()
        length = round(SECONDS * sample_rate)
        windows = both.unfold(-1, min(length, both.shape[-1]), length)
        self.tracks[track] = windows.square().mean((1, 3)).numpy()

    @property
    def relative(self) -> np.ndarray:
        """What is missing of each window, in dB of the mixture there, where there is a mixture."""
        mixture, missing = np.concatenate([*self.tracks.values()], axis=1)
        is_heard = common.decibels(mixture) > SILENT
        return common.decibels(missing[is_heard], mixture[is_heard])


def measure(
    model: SourceModel, tracks: Iterable[Track], name: str, mixture_consistency: bool = False
) -> Sums:
    """Separates tracks at the model's rate, in evaluation mode, and sums the estimates.

    Raises:
        ValueError: if the model's sources do not make up the music, channels do not convert, or
            there is only silence.
    """
    model.eval()
    options = SeparationOptions(mixture_consistency=mixture_consistency)
    found = Sums(name)
    for track in tracks:
        mixture, _ = common.heard(track, model, complete=True)
        estimates = separate_at_rate(model, mixture, model.sample_rate, options)
        found.add(track.name, mixture, estimates, model.sample_rate)
    if not len(found.relative):
        raise ValueError("The mixtures are silent, so that nothing can be missing of them.")
    return found


HEADINGS = (
    "estimates",
    "missing, dB of the mixture",
    "median window",
    "worst window",
    "largest sample",
    "last source at full scale",
)
LEGEND = (
    "Missing: the mixture less the sum of its estimates, as energy over all tracks, and in windows "
    f"of {SECONDS:g} s. Largest sample: of what is missing, 1 being full scale. Last source at "
    "full scale: its samples at -1 or 1, where evaluation cuts a difference model's, or beyond.\n"
)


def table(found: Sequence[Sums]) -> str:
    """Markdown: a row a system."""
    rows = []
    for sums in found:
        mixture, missing = sums.energies
        ends = (np.median(sums.relative), sums.relative.max())
        rows.append(
            [
                sums.name,
                common.number(common.decibels(missing, mixture)),
                *map(common.number, ends),
                f"{sums.largest:.2g}",
                f"{sums.clipped} of {sums.n_samples}",
            ]
        )
    return f"{markdown(HEADINGS, rows)}\n{LEGEND}"


LOOKS = (("red", "-"), ("blue", "-"), ("green", "--"), ("orange", ":"))


def draw(found: Sequence[Sums]) -> Figure:
    """What is missing over the first track's time, and how its windows are distributed in all."""
    figure = common.sheet(640)
    over_time, spread = figure.subplots(2, 1)
    track = next(iter(found[0].tracks))
    over_time.set_title(f"Over time: {track}")
    mixture = found[0].tracks[track][0]
    _over_time(over_time, mixture, color=INK, linewidth=1, label="the mixture")
    for sums, (colour, line) in zip(found, LOOKS, strict=False):
        look = dict(color=COLOURS[colour], linestyle=line, linewidth=1.5)
        label = f"missing: {sums.name}"
        _over_time(over_time, sums.tracks[track][1], label=label, **look)
        levels = np.sort(np.maximum(sums.relative, LOWEST))
        spread.plot(levels, np.arange(1, len(levels) + 1) / len(levels), **look)
    over_time.set(ylim=(LOWEST - 5, 0), ylabel="RMS, dB of full scale")
    over_time.set_yticks(TICKS, LABELS)
    n_tracks = len(found[0].tracks)
    spread.set_title(f"Windows of {SECONDS:g} s, of {count(n_tracks, 'track')}")
    spread.set(xlim=(LOWEST - 5, 20), ylim=(0, 1.02), ylabel="share of windows below")
    spread.set_xticks(TICKS, LABELS)
    spread.set_xlabel("missing, dB of the mixture")
    for axes in (over_time, spread):
        axes.grid()
    figure.legend(*over_time.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _over_time(axes: Axes, squares: np.ndarray, **look: Any) -> None:
    places = SECONDS * np.arange(len(squares) + 1)
    levels = np.maximum(common.decibels(squares), LOWEST)
    axes.stairs(levels, places, baseline=None, **look)
    ticks = time_ticks(0, places[-1], most=12)
    axes.set_xlim(0, places[-1])
    axes.set_xticks(ticks, [clock(tick) for tick in ticks])
    axes.set_xlabel("time in the track, min:s")
