"""What the figures of the paper's arguments share: their look, their files, their numbers.

The figures themselves are `aliasing`, `borders`, `additivity` and `outliers`: each measures, says
its figures in a table, and draws. They are PNG files on a white ground, for pages that are read
where they lie, such as a repository's.
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
from asteroid_waveunet.experiment.report.plots import PIXELS_PER_INCH, THEMES, style
from asteroid_waveunet.file_utils import replacing
from asteroid_waveunet.models.base import SourceModel

__all__ = [
    "COLOURS",
    "INK",
    "decibels",
    "heard",
    "number",
    "save",
    "sheet",
    "spanned",
]

# Okabe and Ito's, which colour-blind people tell apart, without the yellow that white swallows.
COLOURS = {
    "blue": "#0072b2",
    "orange": "#e69f00",
    "green": "#009e73",
    "red": "#d55e00",
}
INK = THEMES["light"].ink

WIDTH = 900  # CSS pixels
SHARPNESS = 2  # pixels of the file for each


def heard(track: Track, model: SourceModel, complete: bool = False) -> tuple[Tensor, Tensor]:
    """A track as a model hears it: at its rate, with its channels.

    Args:
        complete: whether the model's sources have to make up all of the music.
    Returns:
        The mixture `(channels, time)` and the true sources `(n_src, channels, time)`.
    Raises:
        ValueError: if channels do not convert, sources have no stems, or do not make up the music.
    """
    mixture, groups, rate = track.mixture_and_groups(model.sources)
    if complete and REST in groups:
        raise ValueError(
            f"The sources {', '.join(model.sources)} leave out a part of {track.name}; name a model"
            " whose sources make up all of the mixture."
        )
    parts = torch.stack([mixture, *(groups[source] for source in model.sources)])
    fitting = to_channels(parts, model.in_channels)
    parts = resample(fitting, rate, model.sample_rate)
    return parts[0], parts[1:]


def decibels(
    energy: np.ndarray | float, of: np.ndarray | float = 1.0, floor: float = -200.0
) -> np.ndarray:
    """An energy in dB of another, no less than the floor; NaN where there is neither.

    >>> decibels(np.array([10.0, 0.0, 0.0]), np.array([1.0, 1.0, 0.0]))
    array([  10., -200.,   nan])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.divide(energy, of, dtype=np.float64)
        return np.maximum(10 * np.log10(ratio), floor)


def number(value: Any, form: str = ".1f") -> str:
    """A number for a table, whose zero has no minus; a dash for none.

    >>> number(-0.01), number(float("nan"))
    ('0.0', '–')
    """
    rounded = float(format(float(value), form))
    return "–" if np.isnan(rounded) else format(rounded + 0.0, form)


def spanned(values: np.ndarray) -> str:
    """A median and the middle four fifths, in dB.

    >>> spanned(np.arange(-10.0, 1.0))
    '-5.0 (-9.0 to -1.0)'
    """
    low, median, high = np.quantile(values, (0.1, 0.5, 0.9))
    if high - low < 0.05:
        return number(median)
    return f"{number(median)} ({number(low)} to {number(high)})"


def sheet(height: float) -> Figure:
    """An empty figure, as high as said in CSS pixels."""
    size = (WIDTH / PIXELS_PER_INCH, height / PIXELS_PER_INCH)
    return Figure(figsize=size, layout="constrained")


def save(draw: Callable[[], Figure], path: str | os.PathLike) -> None:
    """Draws and writes a PNG, whole or not at all; the same numbers give the same bytes.

    Raises:
        OSError: if it cannot be written.
    """
    ground: dict[Any, Any] = {"figure.facecolor": "white", "savefig.facecolor": "white"}
    with mpl.rc_context({**style(THEMES["light"]), **ground}):
        figure = draw()
        with replacing(path) as partial:
            # By default the file names matplotlib's version.
            figure.savefig(partial, dpi=SHARPNESS * PIXELS_PER_INCH, metadata={"Software": None})
