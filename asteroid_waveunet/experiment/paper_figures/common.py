"""Shared parts of the paper's figures: style, files, number formatting and loading of tracks.

Each figure module measures, tabulates its results in Markdown, and draws a PNG on a white
background.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from asteroid_waveunet.audio.checks import to_channels
from asteroid_waveunet.audio.resampling import resample
from asteroid_waveunet.experiment.data.track import REST, Track
from asteroid_waveunet.experiment.evaluation import formatting
from asteroid_waveunet.experiment.report.plots import PIXELS_PER_INCH, THEMES, style
from asteroid_waveunet.file_utils import replacing
from asteroid_waveunet.models.base import SourceModel

__all__ = [
    "COLOURS",
    "INK",
    "decibels",
    "format_number",
    "format_quantiles",
    "load_track",
    "new_figure",
    "save",
]

# The colour-blind safe palette of Okabe and Ito, without yellow, which is faint on white.
COLOURS = {
    "blue": "#0072b2",
    "orange": "#e69f00",
    "green": "#009e73",
    "red": "#d55e00",
}
INK = THEMES["light"].ink

WIDTH = 900  # CSS pixels
PIXEL_RATIO = 2  # image pixels per CSS pixel


def load_track(track: Track, model: SourceModel, complete: bool = False) -> tuple[Tensor, Tensor]:
    """Load a track at a model's sample rate and channels.

    Args:
        complete: require sources that sum to the mixture.
    Returns:
        The mixture `(channels, time)` and the true sources `(n_src, channels, time)`.
    Raises:
        ValueError: if channels cannot be converted, a source has no stems, or `complete` is set
            and the sources do not sum to the mixture.
    """
    mixture, groups, rate = track.mixture_and_groups(model.sources)
    if complete and REST in groups.keys() - set(model.sources):
        raise ValueError(
            f"The sources {', '.join(model.sources)} do not sum to the mixture of {track.name};"
            " name a model whose sources do."
        )
    parts = torch.stack([mixture, *(groups[source] for source in model.sources)])
    converted = to_channels(parts, model.in_channels)
    parts = resample(converted, rate, model.sample_rate)
    return parts[0], parts[1:]


def decibels(
    energy: np.ndarray | float, of: np.ndarray | float = 1.0, floor: float = -200.0
) -> np.ndarray:
    """Return the ratio of two energies in dB, at least `floor`; NaN where both are zero.

    >>> decibels(np.array([10.0, 0.0, 0.0]), np.array([1.0, 1.0, 0.0]))
    array([  10., -200.,   nan])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.divide(energy, of, dtype=np.float64)
        return np.maximum(10 * np.log10(ratio), floor)


def format_number(value: Any, form: str = ".1f") -> str:
    """Format a number for a table, without negative zero; NaN is a dash.

    >>> format_number(-0.01), format_number(float("nan"))
    ('0.0', '–')
    """
    rounded = float(format(float(value), form))
    return formatting.number(rounded + 0.0, form)


def format_quantiles(values: np.ndarray) -> str:
    """Format the median and the 10th to 90th percentile.

    >>> format_quantiles(np.arange(-10.0, 1.0))
    '-5.0 (-9.0 to -1.0)'
    """
    low, median, high = np.quantile(values, (0.1, 0.5, 0.9))
    if high - low < 0.05:
        return format_number(median)
    return f"{format_number(median)} ({format_number(low)} to {format_number(high)})"


def new_figure(height: float) -> Figure:
    """Return an empty figure, `height` CSS pixels high."""
    size = (WIDTH / PIXELS_PER_INCH, height / PIXELS_PER_INCH)
    return Figure(figsize=size, layout="constrained")


def save(draw: Callable[[], Figure], path: str | os.PathLike) -> None:
    """Draw a figure and write it atomically as a reproducible PNG.

    Raises:
        OSError: if writing fails.
    """
    background: dict[Any, Any] = {"figure.facecolor": "white", "savefig.facecolor": "white"}
    with mpl.rc_context({**style(THEMES["light"]), **background}):
        figure = draw()
        with replacing(path) as partial:
            # Without this, the file contains matplotlib's version.
            figure.savefig(partial, dpi=PIXEL_RATIO * PIXELS_PER_INCH, metadata={"Software": None})
