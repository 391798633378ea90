"""Plots of scores.

A plot is a function `(..., theme, width) -> Figure`, which `save` calls for light and dark themes,
wide and narrow layouts. The SVG files have a transparent background and text as text, rendered in
the browser's fonts.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = [
    "LINES",
    "Picture",
    "Theme",
    "clock",
    "distributions",
    "over_time",
    "save",
    "stacked_axes",
    "style",
    "time_ticks",
]

PIXELS_PER_INCH = 96  # CSS pixels
WIDTHS = {"wide": 960, "narrow": 340}  # CSS pixels


@dataclass(frozen=True)
class Theme:
    """Colours of a page: text, grid lines, the model's values, and the baselines'."""

    ink: str
    faint: str
    model: str
    baseline: str


THEMES = {
    "light": Theme(ink="#24292f", faint="#d5dae1", model="#0b62b5", baseline="#6b7480"),
    "dark": Theme(ink="#dfe3e8", faint="#3b424c", model="#6cb2f5", baseline="#98a1ad"),
}

DRAWN = THEMES["light"]
COLOUR = re.compile(r"((?:fill|stroke): )(#[0-9a-f]{6})\b")  # in a style of an SVG

Series = Mapping[str, np.ndarray]
Draw = Callable[[Theme, float], Figure]


@dataclass(frozen=True)
class Picture:
    """One file of a plot, and its size in CSS pixels."""

    file: str
    theme: str
    layout: str
    width: int
    height: int


def save(draw: Draw, folder: Path, name: str) -> list[Picture]:
    """Write a plot in every theme and width as `folder/name-theme-layout.svg`.

    Each width is drawn once; a theme only exchanges the colours.
    """
    pictures = []
    for layout, width in WIDTHS.items():
        content = io.StringIO()
        with mpl.rc_context(style(DRAWN)), warnings.catch_warnings():
            # The browser draws the text; matplotlib's fonts only measure it.
            warnings.filterwarnings("ignore", "Glyph .* missing from")
            figure = draw(DRAWN, width)
            figure.savefig(content, format="svg", metadata={"Date": None})
        height = round(figure.get_figheight() * PIXELS_PER_INCH)
        for theme_name, theme in THEMES.items():
            file = f"{name}-{theme_name}-{layout}.svg"
            (folder / file).write_text(_coloured(content.getvalue(), theme), encoding="utf-8")
            pictures.append(Picture(file, theme_name, layout, width, height))
    return pictures


def _coloured(svg: str, theme: Theme) -> str:
    """Return a plot drawn in the colours of `DRAWN` in those of another theme."""
    new = {getattr(DRAWN, name): colour for name, colour in vars(theme).items()}
    return COLOUR.sub(lambda match: f"{match[1]}{new.get(match[2], match[2])}", svg)


def style(theme: Theme) -> dict[Any, Any]:
    """Return matplotlib's settings for a theme, with a transparent background."""
    return {
        "font.size": 9,  # 12 CSS pixels
        "text.parse_math": False,  # source names may contain dollar signs
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": theme.faint,
        "axes.facecolor": "none",
        "axes.titlesize": 9.75,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.unicode_minus": True,
        "grid.color": theme.faint,
        "grid.linewidth": 0.6,
        "xtick.color": theme.faint,
        "ytick.color": theme.faint,
        "xtick.labelcolor": theme.ink,
        "ytick.labelcolor": theme.ink,
        "ytick.major.size": 0,
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
        "legend.frameon": False,
        "legend.fontsize": 9,
        "svg.fonttype": "none",
        "svg.hashsalt": "report",  # reproducible files
    }


def stacked_axes(width: float, n: int, panel: float, margin: float) -> tuple[Figure, np.ndarray]:
    """Return a figure of `n` stacked axes, each `panel` pixels high including its title."""
    size = (width / PIXELS_PER_INCH, (n * panel + margin) / PIXELS_PER_INCH)
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(n, 1, squeeze=False, sharex=True)[:, 0]


def distributions(systems: Mapping[str, Series], theme: Theme, width: float) -> Figure:
    """Draw box plots of SDR: quartiles, a line from the 5th to the 95th percentile, the median.

    Args:
        systems: name -> source -> SDRs in dB; the first is the model. Values that are not finite
            are ignored.
    """
    sources = list(next(iter(systems.values())))
    figure, panels = stacked_axes(width, len(sources), 30 + 22 * len(systems), 40)
    for axes, source in zip(panels, sources, strict=True):
        axes.set_title(source, wrap=True)
        axes.grid(axis="x")
        axes.set_yticks(range(len(systems)), [shorten(name) for name in systems])
        axes.set_ylim(len(systems) - 0.5, -0.5)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="x", length=0)
        for y, values in enumerate(series[source] for series in systems.values()):
            _box(axes, y, values, theme.baseline if y else theme.model, theme)
    panels[-1].set_xlabel("SDR of a window, dB (medians on the right)")
    return figure


def _box(axes: Axes, y: int, values: np.ndarray, colour: str, theme: Theme) -> None:
    values = values[np.isfinite(values)]
    on_the_right: dict[str, Any] = {
        "transform": axes.get_yaxis_transform(),
        "va": "center",
        "ha": "left",
    }
    if not len(values):
        axes.text(1.015, y, "none", color=theme.ink, **on_the_right)
        return
    low, q1, median, q3, high = np.percentile(values, (5, 25, 50, 75, 95))
    axes.plot((low, high), (y, y), color=colour, linewidth=1)
    axes.barh(y, q3 - q1, left=q1, height=0.6, color=colour, alpha=0.35, linewidth=0)
    axes.plot((median, median), (y - 0.3, y + 0.3), color=colour, linewidth=2.5)
    axes.text(1.015, y, f"{median:.1f}".replace("-", "−"), color=theme.ink, **on_the_right)


@dataclass(frozen=True)
class Timeline:
    """SDRs of one track; window i spans `edges[i]` to `edges[i + 1]`, in seconds.

    Attributes:
        systems: name -> source -> `(n_windows,)` dB, NaN for windows without a score; the first
            is the model.
        excerpt: start and end, in seconds, of the excerpt that the page plays, if any.
    """

    edges: np.ndarray
    systems: Mapping[str, Series]
    excerpt: tuple[float, float] | None = None


LINES = ("-", ":", "--", "-.")


def over_time(timeline: Timeline, theme: Theme, width: float) -> Figure:
    """Plot SDR over a track, one panel per source, with gaps at windows without a score."""
    model = next(iter(timeline.systems.values()))
    figure, panels = stacked_axes(width, len(model), 100, 80)
    for axes, source in zip(panels, model, strict=True):
        axes.set_title(source, wrap=True)
        axes.grid(axis="y")
        axes.set_ylabel("dB")
        if timeline.excerpt:
            axes.axvspan(*timeline.excerpt, color=theme.faint, alpha=0.5, linewidth=0, zorder=0)
        for i, (name, series) in reversed(list(enumerate(timeline.systems.items()))):
            colour, thickness = (theme.baseline, 1) if i else (theme.model, 1.5)
            values = np.where(np.isfinite(series[source]), series[source], np.nan)
            axes.stairs(
                values,
                timeline.edges,
                baseline=None,
                color=colour,
                linewidth=thickness,
                linestyle=LINES[i % len(LINES)],
                label=shorten(name),
            )
        axes.set_ylim(*_robust_limits([series[source] for series in timeline.systems.values()]))
    start, end = timeline.edges[0], timeline.edges[-1]
    panels[0].set_xlim(start, end)
    ticks = time_ticks(start, end, most=round(width / 70))
    panels[-1].set_xticks(ticks, [clock(t) for t in ticks])
    panels[-1].set_xlabel("time in the track, min:s")
    handles, names = panels[0].get_legend_handles_labels()
    columns = max(int(width / 160), 1)
    figure.legend(handles[::-1], names[::-1], loc="outside upper left", ncols=columns)
    return figure


def _robust_limits(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return axis limits from the 5th percentile up; single windows of -40 dB do not set them."""
    pooled = np.concatenate(values)
    pooled = pooled[np.isfinite(pooled)]
    low, high = np.percentile(pooled, (5, 100)) if len(pooled) else (0, 0)
    return low - 2, high + 2


STEPS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)


def time_ticks(start: float, end: float, most: int) -> list[float]:
    """Return about `most` round times from `start` to `end`, in seconds.

    >>> time_ticks(61, 71, most=6)
    [62.0, 64.0, 66.0, 68.0, 70.0]
    """
    step = next((s for s in STEPS if (end - start) / s <= most), STEPS[-1])
    return [float(t) for t in np.arange(np.ceil(start / step), np.floor(end / step) + 1) * step]


def shorten(name: str, longest: int = 24) -> str:
    """Truncate a long name, to leave room for the plot.

    >>> shorten("ideal ratio mask"), shorten("a" * 30)
    ('ideal ratio mask', 'aaaaaaaaaaaaaaaaaaaaaaa…')
    """
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def clock(seconds: float) -> str:
    """Format seconds as minutes and seconds.

    >>> clock(62), clock(0.5)
    ('1:02', '0:00.5')
    """
    minutes, rest = divmod(round(seconds * 10), 600)
    return f"{minutes}:{rest // 10:02d}" + (f".{rest % 10}" if rest % 10 else "")
