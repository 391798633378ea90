"""Training curves: read from Lightning's CSV file, and plotted."""

from __future__ import annotations

import csv
import os

from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asteroid_waveunet.experiment.report.plots import LINES, Theme, stacked_axes

__all__ = ["draw", "panels", "read_curves"]

Curves = dict[str, dict[int, float]]  # column -> step -> value

# Panel title -> a part of its columns' names, and True for a logarithmic axis.
PANELS: dict[str, tuple[str, bool]] = {
    "Loss": ("loss", True),
    "SDR in validation, dB": ("val_sdr/", False),
    "Learning rate": ("lr-", True),
}
NAMES = {"loss": "training", "train_loss": "training", "val_loss": "validation"}


def read_curves(path: str | os.PathLike) -> Curves:
    """Read Lightning's metrics.csv: column -> optimizer step -> value.

    Empty cells are skipped. The last row of a repeated step, as after a resume, takes precedence.

    Raises:
        ValueError: if there is no step column or a cell is not a number.
    """
    curves: Curves = {}
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if "step" not in (rows.fieldnames or ()):
            raise ValueError(
                f"{path} has the columns {rows.fieldnames}; expected Lightning's metrics.csv"
                " with a column named step"
            )
        for row in rows:
            for column, cell in row.items():
                if column != "step" and cell:
                    try:
                        curves.setdefault(column, {})[int(row["step"])] = float(cell)
                    except ValueError:
                        raise ValueError(
                            f"{path}, line {rows.line_num}: {column} is {cell!r} at step"
                            f" {row['step']!r}; expected numbers"
                        ) from None
    return curves


def panels(curves: Curves) -> list[str]:
    """Return the titles of the panels that `draw` draws."""
    return list(_panel_columns(curves))


def _panel_columns(curves: Curves) -> dict[str, tuple[dict[str, dict[int, float]], bool]]:
    """Return title -> (columns of the panel, True for a logarithmic axis)."""
    return {
        title: ({name: curves[name] for name in sorted(curves) if key in name}, is_log)
        for title, (key, is_log) in PANELS.items()
        if any(key in name for name in curves)
    }


def draw(curves: Curves, theme: Theme, width: float) -> Figure:
    """Plot loss, validation scores and learning rate over optimizer steps, as far as recorded."""
    drawn = _panel_columns(curves)
    figure, all_axes = stacked_axes(width, len(drawn), 170, 40)
    for axes, (title, (series, is_log)) in zip(all_axes, drawn.items(), strict=True):
        axes.grid(axis="y")
        for i, (name, values) in enumerate(series.items()):
            steps, ys = zip(*sorted(values.items()), strict=True)
            axes.plot(
                steps,
                ys,
                color=(theme.model, theme.baseline)[(len(series) - 1 - i) % 2],
                linestyle=LINES[i // 2 % len(LINES)],
                drawstyle="steps-post" if name.startswith("lr-") else "default",
                marker="o" if len(steps) < 20 else "",
                markersize=3,
                linewidth=1.5,
                label=NAMES.get(name, name.removeprefix("val_sdr/")),
            )
        if is_log and all(v > 0 for values in series.values() for v in values.values()):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
            axes.yaxis.set_minor_locator(ticker.NullLocator())
        _add_title(axes, title, len(series), columns=max(int(width / 110), 1))
    all_axes[-1].set_xlabel("optimizer steps")
    all_axes[-1].xaxis.set_major_locator(ticker.MaxNLocator(round(width / 90), integer=True))
    return figure


def _add_title(axes: Axes, title: str, n_series: int, columns: int) -> None:
    """Add a title and, for several series, a legend between the title and the axes."""
    lines = -(-n_series // columns) if n_series > 1 else 0
    axes.set_title(title, pad=6 + 14 * lines)
    if lines:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderpad=0)
