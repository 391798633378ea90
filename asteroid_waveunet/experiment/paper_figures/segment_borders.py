"""Borders of segments: how wrong estimates are where segments join, and whether they click there.

The reference predicts a track in segments and puts the outputs one behind the other
(`WaveUNet.predict_track`). With same padding each segment is amid zeros that the music does not
have, so that its ends are guessed (section 3.2.2 of the paper). With context each is amid its
music; but a segment of 16389 samples is no multiple of the network's step, so that the next one
is decimated at other samples, and does not continue it exactly. The seamless pass
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

__all__ = ["WAYS", "Around", "Borders", "draw", "edges", "joints", "measure", "table"]

WAYS = ("concatenated", "seamless")
LOWEST = -80.0  # dB, below which the figure shows no difference
NEAR = 16  # samples on either side of a joint that the table says are near it


@dataclass
class Around:
    """Mean squares of signals at each distance from joints.

    Attributes:
        half: samples before and after a joint that are looked at.
    """

    half: int
    energy: np.ndarray = field(init=False)
    count: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.energy = np.zeros(2 * self.half)
        self.count = np.zeros(2 * self.half)

    def add(self, signals: Tensor, places: Iterable[int]) -> None:
        """`(..., time)` signals, that have joints at these places: the first sample after each."""
        flat = signals.detach().double().cpu().flatten(0, -2)
        squares = flat.square().sum(0).numpy()
        for place in places:
            found = squares[max(place - self.half, 0) : place + self.half]
            first = max(self.half - place, 0)
            self.energy[first : first + len(found)] += found
            self.count[first : first + len(found)] += len(flat)

    def between(self, start: int, end: int) -> float:
        """The mean square from `start` to `end`, in samples after a joint; NaN if there is none."""
        part = slice(start + self.half, end + self.half)
        count = self.count[part].sum()
        return float(self.energy[part].sum() / count) if count else float("nan")

    def near(self, distance: int = NEAR) -> float:
        """The mean square of so many samples before and after the joint."""
        return self.between(-distance, distance)

    def far(self) -> float:
        """The mean square of what is nearer to the middle of a segment than to a joint."""
        quarter = self.half // 2
        ends = (self.energy[:quarter], self.energy[-quarter:])
        counts = (self.count[:quarter], self.count[-quarter:])
        count = sum(part.sum() for part in counts)
        return float(sum(part.sum() for part in ends) / count) if count else float("nan")

    def binned(self, places: np.ndarray) -> np.ndarray:
        """Mean squares between edges, in samples after a joint."""
        return np.array([self.between(*pair) for pair in itertools.pairwise(places.tolist())])


class Borders:
    """What one model does around joints.

    Args:
        name: of the model, in tables and figures.
        sample_rate: in Hz.
        output: samples of a segment.

    Attributes:
        n_joints: of all tracks that were added.
        errors: way of `WAYS` -> estimates less the true sources.
        steps: way -> each sample of the estimates less the one before it.
        difference: the estimates by segments less those of the seamless pass.
        estimates: of the seamless pass.
    """

    def __init__(self, name: str, sample_rate: float, output: int):
        half = output // 2
        self.name, self.sample_rate, self.output = name, sample_rate, output
        self.n_joints = 0
        self.errors = {way: Around(half) for way in WAYS}
        self.steps = {way: Around(half) for way in WAYS}
        self.difference, self.estimates = Around(half), Around(half)

    def add(self, estimates: Mapping[str, Tensor], sources: Tensor, places: Sequence[int]) -> None:
        """A track: way -> `(..., time)`, the true sources of that shape, and where joints are."""
        self.n_joints += len(places)
        for way in WAYS:
            self.errors[way].add(estimates[way] - sources, places)
            self.steps[way].add(F.pad(estimates[way].diff(), (1, 0)), places)
        self.difference.add(estimates["concatenated"] - estimates["seamless"], places)
        self.estimates.add(estimates["seamless"], places)

    def title(self, way: str) -> str:
        """What a way is called in tables and figures."""
        return f"{self.name}, " + (way if way == "seamless" else f"segments of {self.output}")

    def levels(self, of: Mapping[str, Around], way: str, places: np.ndarray) -> np.ndarray:
        """Errors or steps between edges, in dB of the seamless pass's far from joints."""
        return common.decibels(of[way].binned(places), of["seamless"].far())


def joints(n_samples: int, output: int) -> tuple[list[int], int]:
    """Where segments join, and where the last one begins.

    That one was moved back, over what the one before it gave: it is left out.

    >>> joints(18, 4)
    ([4, 8, 12], 14)
    """
    starts = segment_starts(n_samples, output)
    return starts[1:-1], starts[-1]


def edges(half: int) -> np.ndarray:
    """Places between which means are taken: every sample near a joint, then ever fewer.

    >>> edges(8).tolist()
    [-8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8]
    """
    steps = {round(2 ** (k / 2)) for k in range(2 * half.bit_length())}
    beyond = [*sorted(n for n in steps if n < half), half]
    return np.array([*(-n for n in reversed(beyond)), 0, *beyond])


def measure(
    model: WaveUNet, tracks: Iterable[Track], name: str, output_length: int | None = None
) -> Borders:
    """Separates tracks both ways, and looks at what is around the joints.

    Args:
        output_length: samples of a segment, as for `predict_track`.
    Raises:
        ValueError: if segments are too short, no track has a joint, or one is not of the model's
            channels or sources.
    """
    lengths = model.geometry.fit(16384 if output_length is None else output_length)
    if lengths.output < 4 * NEAR:
        raise ValueError(
            f"Segments of {lengths.output} samples are nearly all joint; --output_length "
            f"{4 * NEAR} is the shortest that is looked at."
        )
    found = Borders(name, model.sample_rate, lengths.output)
    model.eval()
    for track in tracks:
        mixture, sources = common.heard(track, model)
        n_samples = mixture.shape[-1]
        # A track that is shorter than one input is predicted as if silence followed.
        places, end = joints(max(n_samples, lengths.input), lengths.output)
        with torch.no_grad():
            estimates = {
                "concatenated": model.predict_track(mixture, lengths.output),
                "seamless": model.torch_separate(mixture),
            }
        whole = {way: samples.reshape(sources.shape) for way, samples in estimates.items()}
        places = [place for place in places if place < n_samples]
        found.add({way: e[..., :end] for way, e in whole.items()}, sources[..., :end], places)
    if not found.n_joints:
        raise ValueError(
            f"No track has two segments of {lengths.output} samples and a rest: there is no joint "
            "to look at. Name longer tracks, or shorter segments with --output_length."
        )
    return found


LEGEND = (
    "In dB. Error: of the estimates against the true sources; step: from one sample of the "
    "estimates to the next; both beside the same model's seamless pass far from joints, as RMS "
    "over all joints, tracks, sources and channels. There, of the seamless pass's: beside its "
    "error near the same joints, where the music is the same. Difference: the estimates less those "
    f"of the seamless pass, beside those. Near: {NEAR} samples on either side of the joint; far: "
    "nearer to the middle of a segment than to a joint.\n"
)
HEADINGS = (
    "model",
    "joints",
    "error near",
    "there, of the seamless pass's",
    "error far",
    "step at the joint",
    "step far",
    "difference near",
    "difference far",
)


def table(found: Sequence[Borders]) -> str:
    """Markdown: a row a model and way."""
    rows = [_row(borders, way) for borders in found for way in WAYS]
    return f"{markdown(HEADINGS, rows)}\n{LEGEND}"


def _row(found: Borders, way: str) -> list[str]:
    errors, steps = found.errors, found.steps
    pairs = [
        (errors[way].near(), errors["seamless"].far()),
        (errors[way].near(), errors["seamless"].near()),
        (errors[way].far(), errors["seamless"].far()),
        (steps[way].between(0, 1), steps["seamless"].far()),
        (steps[way].far(), steps["seamless"].far()),
    ]
    cells = [common.number(common.decibels(*pair), "+.1f") for pair in pairs]
    if way == "concatenated":
        difference, estimates = found.difference, found.estimates
        pairs = [(difference.near(), estimates.near()), (difference.far(), estimates.far())]
        cells += [common.number(common.decibels(*pair)) for pair in pairs]
    else:
        cells += ["", ""]
    return [found.title(way), str(found.n_joints), *cells]


COLOUR = ("red", "blue")  # of the models
LINE = {"concatenated": "-", "seamless": ":"}


def draw(found: Sequence[Borders]) -> Figure:
    """Error, step and difference against the distance from a joint."""
    figure = common.sheet(760)
    errors, steps, difference = figure.subplots(3, 1, sharex=True)
    scale = "dB of its seamless pass, far off"
    errors.set(title="Error against the true sources", ylabel=scale)
    steps.set(title="Step from one sample of the estimates to the next", ylabel=scale)
    difference.set(title="Difference from the seamless pass", ylabel="dB of its estimates")
    for borders, colour in zip(found, COLOUR, strict=False):
        places = edges(borders.output // 2)
        for way in WAYS:
            look = dict(color=COLOURS[colour], linestyle=LINE[way], label=borders.title(way))
            _stairs(errors, borders.levels(borders.errors, way, places), places, **look)
            _stairs(steps, borders.levels(borders.steps, way, places), places, **look)
        energies = (borders.difference.binned(places), borders.estimates.binned(places))
        _stairs(difference, common.decibels(*energies), places, color=COLOURS[colour])
    for axes in (errors, steps, difference):
        axes.grid()
        axes.axvline(0, color=INK, linewidth=0.8)
    difference.set_ylim(LOWEST, max(6, difference.get_ylim()[1]))
    _scale(difference, found)
    figure.legend(*errors.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _stairs(axes: Axes, levels: np.ndarray, places: np.ndarray, **look: Any) -> None:
    axes.stairs(levels, places, baseline=None, linewidth=1.5, **look)


def _scale(axes: Axes, found: Sequence[Borders]) -> None:
    """An axis of distances, on which the first samples are as wide as thousands far away."""
    most = max(borders.output for borders in found) // 2
    powers = [10**k for k in range(len(str(most)))]
    axes.set_xscale("symlog", linthresh=1, linscale=0.5)
    ticks = [*(-n for n in reversed(powers)), 0, *powers]
    axes.set_xticks(ticks, [f"{n:,}".replace("-", "−") for n in ticks])
    axes.minorticks_off()
    axes.set_xlim(-most, most)
    rates = " or ".join(f"{rate:g}" for rate in sorted({b.sample_rate for b in found}))
    n_joints = " or ".join(str(n) for n in sorted({b.n_joints for b in found}))
    axes.set_xlabel(f"samples after the joint, at {rates} Hz; RMS over {n_joints} joints")
