"""Errors and clicks of estimates at segment borders.

The reference predicts a track in segments and concatenates the outputs
(`WaveUNet.predict_track`). With same padding, zeros replace the music around each segment, which
causes errors at its ends (section 3.2.2 of the paper). With context, the input includes the
surrounding music; however, a segment of 16389 samples is not a multiple of the network's step, so
consecutive segments are decimated at different phases and do not match exactly. The seamless pass
(`model.torch_separate`) has no segments.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from asteroid_waveunet.experiment.data.track import Track
from asteroid_waveunet.experiment.evaluation.formatting import markdown
from asteroid_waveunet.experiment.paper_figures import common
from asteroid_waveunet.experiment.paper_figures.common import COLOURS, INK
from asteroid_waveunet.models.wave_unet import WaveUNet
from asteroid_waveunet.nn.geometry import segment_starts

__all__ = ["METHODS", "Borders", "JointEnergy", "draw", "edges", "joints", "measure", "table"]

METHODS = ("concatenated", "seamless")
LOWEST = -80.0  # dB, lower limit of the figure
NEAR = 16  # samples on either side of a joint that count as near it in the table


@dataclass
class JointEnergy:
    """Mean squares of signals at each distance from joints.

    Attributes:
        half: number of samples before and after a joint.
    """

    half: int
    energy: np.ndarray = field(init=False)
    count: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.energy = np.zeros(2 * self.half)
        self.count = np.zeros(2 * self.half)

    def add(self, signals: Tensor, places: Iterable[int]) -> None:
        """Add `(..., time)` signals with joints at `places`, the first sample after each joint."""
        flat = signals.detach().double().cpu().flatten(0, -2)
        squares = flat.square().sum(0).numpy()
        for place in places:
            found = squares[max(place - self.half, 0) : place + self.half]
            first = max(self.half - place, 0)
            self.energy[first : first + len(found)] += found
            self.count[first : first + len(found)] += len(flat)

    def between(self, start: int, end: int) -> float:
        """Return the mean square from `start` to `end` samples after a joint; NaN without data."""
        part = slice(start + self.half, end + self.half)
        count = self.count[part].sum()
        return float(self.energy[part].sum() / count) if count else float("nan")

    def near(self, distance: int = NEAR) -> float:
        """Return the mean square within `distance` samples of the joint."""
        return self.between(-distance, distance)

    def far(self) -> float:
        """Return the mean square of samples nearer to a segment's middle than to a joint."""
        quarter = self.half // 2
        ends = (self.energy[:quarter], self.energy[-quarter:])
        counts = (self.count[:quarter], self.count[-quarter:])
        count = sum(part.sum() for part in counts)
        return float(sum(part.sum() for part in ends) / count) if count else float("nan")

    def binned(self, places: np.ndarray) -> np.ndarray:
        """Return mean squares between edges, in samples after a joint."""
        return np.array([self.between(*pair) for pair in itertools.pairwise(places.tolist())])


class Borders:
    """Errors, steps and differences of one model around joints.

    Args:
        name: name of the model in tables and figures.
        sample_rate: sample rate in Hz.
        output: samples per segment.

    Attributes:
        n_joints: number of joints of all added tracks.
        errors: method of `METHODS` -> estimates minus the true sources.
        steps: method -> first differences of the estimates.
        difference: estimates by segments minus those of the seamless pass.
        estimates: estimates of the seamless pass.
    """

    def __init__(self, name: str, sample_rate: float, output: int):
        half = output // 2
        self.name, self.sample_rate, self.output = name, sample_rate, output
        self.n_joints = 0
        self.errors = {method: JointEnergy(half) for method in METHODS}
        self.steps = {method: JointEnergy(half) for method in METHODS}
        self.difference, self.estimates = JointEnergy(half), JointEnergy(half)

    def add(self, estimates: Mapping[str, Tensor], sources: Tensor, places: Sequence[int]) -> None:
        """Add a track: method -> estimates `(..., time)`, sources of that shape, and joints."""
        self.n_joints += len(places)
        for method in METHODS:
            self.errors[method].add(estimates[method] - sources, places)
            self.steps[method].add(F.pad(estimates[method].diff(), (1, 0)), places)
        self.difference.add(estimates["concatenated"] - estimates["seamless"], places)
        self.estimates.add(estimates["seamless"], places)

    def title(self, method: str) -> str:
        """Return the label of a method in tables and figures."""
        return f"{self.name}, " + (method if method == "seamless" else f"segments of {self.output}")

    def levels(self, of: Mapping[str, JointEnergy], method: str, places: np.ndarray) -> np.ndarray:
        """Return errors or steps between edges, in dB relative to seamless far from joints."""
        return common.decibels(of[method].binned(places), of["seamless"].far())


def joints(n_samples: int, output: int) -> tuple[list[int], int]:
    """Return the joints of segments and the start of the last segment.

    The last segment overlaps the one before it; its start is not a joint.

    >>> joints(18, 4)
    ([4, 8, 12], 14)
    """
    starts = segment_starts(n_samples, output)
    return starts[1:-1], starts[-1]


def edges(half: int) -> np.ndarray:
    """Return bin edges around a joint: single samples near it, wider bins farther away.

    >>> edges(8).tolist()
    [-8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8]
    """
    steps = {round(2 ** (k / 2)) for k in range(2 * half.bit_length())}
    beyond = [*sorted(n for n in steps if n < half), half]
    return np.array([*(-n for n in reversed(beyond)), 0, *beyond])


def measure(
    model: WaveUNet, tracks: Iterable[Track], name: str, output_length: int | None = None
) -> Borders:
    """Separate tracks with both methods and measure the estimates around joints.

    Args:
        output_length: samples per segment, as in `predict_track`.
    Raises:
        ValueError: if segments are too short, no track has a joint, or a track lacks the model's
            channels or sources.
    """
    lengths = model.geometry.fit(16384 if output_length is None else output_length)
    if lengths.output < 4 * NEAR:
        raise ValueError(
            f"Segments of {lengths.output} samples are too short to tell joints from their middle; "
            f"expected --output_length {4 * NEAR} or more."
        )
    found = Borders(name, model.sample_rate, lengths.output)
    model.eval()
    for track in tracks:
        mixture, sources = common.load_track(track, model)
        n_samples = mixture.shape[-1]
        # A track shorter than one input is padded with silence.
        places, end = joints(max(n_samples, lengths.input), lengths.output)
        with torch.no_grad():
            estimates = {
                "concatenated": model.predict_track(mixture, lengths.output),
                "seamless": model.torch_separate(mixture),
            }
        whole = {method: samples.reshape(sources.shape) for method, samples in estimates.items()}
        places = [place for place in places if place < n_samples]
        found.add({method: e[..., :end] for method, e in whole.items()}, sources[..., :end], places)
    if not found.n_joints:
        raise ValueError(
            f"No track is longer than two segments of {lengths.output} samples, so there is no "
            "joint; use longer tracks, or shorter segments with --output_length."
        )
    return found


LEGEND = (
    "In dB. Error: estimates minus true sources; step: first difference of the estimates; both as "
    "RMS over all joints, tracks, sources and channels, relative to the same model's seamless pass "
    "far from joints. Relative to seamless: the error relative to that of the seamless pass near "
    "the same joints. Difference: estimates minus those of the seamless pass, relative to the "
    f"latter. Near: within {NEAR} samples of the joint; far: nearer to the middle of a segment "
    "than to a joint.\n"
)
HEADINGS = (
    "model",
    "joints",
    "error near",
    "relative to seamless",
    "error far",
    "step at the joint",
    "step far",
    "difference near",
    "difference far",
)


def table(found: Sequence[Borders]) -> str:
    """Return a Markdown table, one row per model and method."""
    rows = [_row(borders, method) for borders in found for method in METHODS]
    return f"{markdown(HEADINGS, rows)}\n{LEGEND}"


def _row(found: Borders, method: str) -> list[str]:
    errors, steps = found.errors, found.steps
    pairs = [
        (errors[method].near(), errors["seamless"].far()),
        (errors[method].near(), errors["seamless"].near()),
        (errors[method].far(), errors["seamless"].far()),
        (steps[method].between(0, 1), steps["seamless"].far()),
        (steps[method].far(), steps["seamless"].far()),
    ]
    cells = [common.format_number(common.decibels(*pair), "+.1f") for pair in pairs]
    if method == "concatenated":
        difference, estimates = found.difference, found.estimates
        pairs = [(difference.near(), estimates.near()), (difference.far(), estimates.far())]
        cells += [common.format_number(common.decibels(*pair)) for pair in pairs]
    else:
        cells += ["", ""]
    return [found.title(method), str(found.n_joints), *cells]


MODEL_COLOURS = ("red", "blue")
LINE_STYLES = {"concatenated": "-", "seamless": ":"}


def draw(found: Sequence[Borders]) -> Figure:
    """Plot error, step and difference over the distance from a joint."""
    figure = common.new_figure(760)
    errors, steps, difference = figure.subplots(3, 1, sharex=True)
    scale = "dB relative to seamless, far"
    errors.set(title="Error relative to the true sources", ylabel=scale)
    steps.set(title="First difference of the estimates", ylabel=scale)
    difference.set(title="Difference from the seamless pass", ylabel="dB relative to its estimates")
    for borders, colour in zip(found, MODEL_COLOURS, strict=False):
        places = edges(borders.output // 2)
        for method in METHODS:
            style = dict(
                color=COLOURS[colour], linestyle=LINE_STYLES[method], label=borders.title(method)
            )
            _stairs(errors, borders.levels(borders.errors, method, places), places, **style)
            _stairs(steps, borders.levels(borders.steps, method, places), places, **style)
        energies = (borders.difference.binned(places), borders.estimates.binned(places))
        _stairs(difference, common.decibels(*energies), places, color=COLOURS[colour])
    for axes in (errors, steps, difference):
        axes.grid()
        axes.axvline(0, color=INK, linewidth=0.8)
    difference.set_ylim(LOWEST, max(6, difference.get_ylim()[1]))
    _scale(difference, found)
    figure.legend(*errors.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _stairs(axes: Axes, levels: np.ndarray, places: np.ndarray, **style: Any) -> None:
    axes.stairs(levels, places, baseline=None, linewidth=1.5, **style)


def _scale(axes: Axes, found: Sequence[Borders]) -> None:
    """Set a symmetric logarithmic axis of distances from the joint."""
    longest = max(borders.output for borders in found) // 2
    powers = [10**k for k in range(len(str(longest)))]
    axes.set_xscale("symlog", linthresh=1, linscale=0.5)
    ticks = [*(-n for n in reversed(powers)), 0, *powers]
    axes.set_xticks(ticks, [f"{n:,}".replace("-", "−") for n in ticks])
    axes.minorticks_off()
    axes.set_xlim(-longest, longest)
    rates = " or ".join(f"{rate:g}" for rate in sorted({b.sample_rate for b in found}))
    n_joints = " or ".join(str(n) for n in sorted({b.n_joints for b in found}))
    axes.set_xlabel(f"samples after the joint, at {rates} Hz; RMS over {n_joints} joints")
