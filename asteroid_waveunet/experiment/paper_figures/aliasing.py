"""Aliasing of upsamplings: how loud the images of features are that they leave (section 3.1.1).

An upsampling puts zeros between samples and filters. With taps before and after a new sample,

    H(f) = own + before * exp(-2 pi i f) + after * exp(2 pi i f)        f in cycles per new sample.

Zeros repeat the spectrum: a tone of frequency f < 1/4 comes out as itself, times H(f), and as its
image at 1/2 - f, times H(1/2 - f), which was in no feature. Of linear interpolation, with taps of
1/2, 1 and 1/2, H(f) = 1 + cos(2 pi f), and the image is at 40 lg tan(pi f) dB of the tone: none of
a constant, as loud as the tone at the band's upper edge. Of learned interpolation, with w, 1 and
1 - w, (1 - 2 w)^2 sin(2 pi f)^2 is added to the energies of both: no w has lower images than 1/2,
and w = 1, which repeats samples, has the highest. A transposed convolution's taps are matrices
between channels; its outputs sum over channels, and energies here are those of features which are
alike in level and have nothing else in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from asteroid_waveunet.experiment.evaluation.formatting import markdown
from asteroid_waveunet.experiment.paper_figures import common
from asteroid_waveunet.experiment.paper_figures.common import COLOURS, INK
from asteroid_waveunet.models import presets
from asteroid_waveunet.models.wave_unet import WaveUNet
from asteroid_waveunet.nn.wave_unet_blocks import UpBlock

__all__ = [
    "FREQUENCIES",
    "Response",
    "draw",
    "energies",
    "images",
    "images_of_band",
    "initial",
    "of_model",
    "table",
]

WANTED = 64  # frequencies at which a response is computed, up to the lower rate's highest
FREQUENCIES = (np.arange(2 * WANTED) + 0.5) / (4 * WANTED)
"""In cycles per new sample, 0 to 1/2; the image of number i is number -1 - i."""

REPEATED = torch.tensor([[[0.0, 1.0, 1.0]]]).double()
"""The impulse response of learned interpolation with w = 1, which repeats every sample."""

BANDS = {"lower half of the band": 0.5, "all of the band": 1.0}
INITIAL = "as initialised"
# Linear and learned are all but one line, of which the thinner one is above.
LOOKS: dict[str, dict[str, Any]] = {
    "linear": dict(color=COLOURS["blue"], linewidth=3),
    "learned": dict(color=COLOURS["orange"], linewidth=1.5),
    "transposed": dict(color=COLOURS["red"], linewidth=1.5),
}
LINES = ("-", "--", "-.", ":")  # of those of one kind


@dataclass(frozen=True)
class Response:
    """Energies of a model's upsamplings at `FREQUENCIES`, for white features of equal level.

    Attributes:
        kind: "linear", "learned" or "transposed".
        name: what they are of, such as "as initialised".
        alone: of each channel of each level, `(n, 2 * WANTED)`.
        convolved: of each channel that the convolution makes of them, before its activation.
    """

    kind: str
    name: str
    alone: np.ndarray
    convolved: np.ndarray

    @property
    def label(self) -> str:
        return f"{self.kind}, {self.name}" if self.name else self.kind


def energies(impulses: Tensor) -> np.ndarray:
    """Of filters' impulse responses `(in, out, n)`: `(out, 2 * WANTED)`, summed over the inputs.

    |H(f)|^2 is the transform of H's autocorrelation, which sums over the inputs at once.
    """
    n = impulses.shape[-1]
    lags = [(impulses[..., : n - lag] * impulses[..., lag:]).sum((0, 2)) for lag in range(n)]
    waves = np.cos(2 * np.pi * np.arange(n)[:, None] * FREQUENCIES)
    waves[1:] *= 2
    return torch.stack(lags, dim=-1).numpy() @ waves


def images(energy: np.ndarray) -> np.ndarray:
    """`(n, 2 * WANTED)` energies -> `(n, WANTED)`: each tone's image, in dB of the tone."""
    return common.decibels(energy[:, : WANTED - 1 : -1], energy[:, :WANTED])


def images_of_band(energy: np.ndarray, band: float) -> np.ndarray:
    """`(n, 2 * WANTED)` energies -> `(n,)`: all images, in dB, of features that fill a band.

    Args:
        band: its upper edge, 1 being the lower rate's highest frequency.
    """
    most = round(band * WANTED)
    return common.decibels(energy[:, -most:].sum(axis=1), energy[:, :most].sum(axis=1))


def of_model(model: WaveUNet, name: str = "") -> Response:
    """The response of a model's upsamplings, as its weights are."""
    with torch.no_grad():
        found = [_impulses(block) for block in model.up]  # type: ignore[arg-type]
    alone, convolved = (
        np.concatenate([energies(impulses) for impulses in of_levels])
        for of_levels in zip(*found, strict=True)
    )
    return Response(str(model.get_model_args()["upsampling"]), name, alone, convolved)


def _impulses(block: UpBlock) -> tuple[Tensor, Tensor]:
    """What an up block makes of an impulse in each channel: its upsampling, its convolution."""
    channels = len(block.upsampling.taps[0])
    impulse = F.pad(torch.eye(channels)[..., None], (1, 1)).to(block.conv.weight)
    upsampled = block.upsampling(impulse).double()
    weight = block.conv.weight[:, -channels:].double()  # behind the skip's channels
    return upsampled, F.conv1d(upsampled, weight, padding=weight.shape[-1] - 1)


def initial(kind: str, seed: int = 0, **sizes: int) -> Response:
    """The response of an upsampling whose training has not begun.

    M4 has 2160 channels to upsample, each with weights of its own: that many draws.

    Args:
        kind: "linear", "learned" or "transposed".
        sizes: arguments of the model that are not M4's.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return of_model(presets.make("M4", upsampling=kind, **sizes), INITIAL)


LEGEND = (
    "Energy of images in dB of the wanted band's, for white features that fill a part of the lower "
    "rate's band, alike in level and otherwise independent: the median over all channels of all "
    "levels (and the middle four fifths). After the convolution: before its activation, which "
    "makes frequencies of its own; convolutions may filter images, or prefer them.\n"
)


def table(responses: Sequence[Response]) -> str:
    """Markdown: the energy of images for features that fill half of the band and all of it."""
    repeated = [common.spanned(images_of_band(energies(REPEATED), band)) for band in BANDS.values()]
    rows: list[list[str]] = [
        ["zeros between samples", "0.0", "0.0", "", ""],
        ["samples repeated (learned, w = 1)", *repeated, "", ""],
    ]
    for response in responses:
        cells = [
            common.spanned(images_of_band(energy, band))
            for energy in (response.alone, response.convolved)
            for band in BANDS.values()
        ]
        rows.append([response.label, *cells])
    headings = ["upsampling", *BANDS, *(f"{band}, after the convolution" for band in BANDS)]
    return f"{markdown(headings, rows)}\n{LEGEND}"


def draw(responses: Sequence[Response]) -> Figure:
    """The spectrum that is made of half a band of features, and images against frequency."""
    kinds = [response.kind for response in responses]
    looks = [
        dict(LOOKS[kind], linestyle=LINES[kinds[:i].count(kind) % len(LINES)])
        for i, kind in enumerate(kinds)
    ]
    drawn = [*zip(responses, looks, strict=True)]
    figure = common.sheet(720)
    grid = figure.add_gridspec(2, 2, height_ratios=(1, 1.25))
    _draw_spectrum(figure.add_subplot(grid[0, :]), drawn)
    left = figure.add_subplot(grid[1, 0])
    right = figure.add_subplot(grid[1, 1], sharey=left)
    for axes, what, title in (
        (left, "alone", "Image of a tone, the upsampling alone"),
        (right, "convolved", "The same after the convolution that follows"),
    ):
        axes.set_title(title)
        axes.grid()
        for response, look in drawn:
            levels = images(getattr(response, what))
            _band(axes, 4 * FREQUENCIES[:WANTED], levels, label=response.label, **look)
        axes.set(xlim=(0, 1), ylim=(-72, 12), xlabel="tone's frequency / highest of the lower rate")
    worst = images(energies(REPEATED))[0]
    label = "learned at its worst: samples repeated"
    left.plot(4 * FREQUENCIES[:WANTED], worst, color=INK, linestyle=":", label=label)
    left.set_ylabel("image's level, dB of the tone")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _draw_spectrum(axes: Axes, drawn: Sequence[tuple[Response, Mapping[str, Any]]]) -> None:
    """Features that fill the lower half of their band: their energy, and their images'."""
    axes.set_title("What becomes of features that fill the lower half of their band")
    axes.grid()
    half = WANTED // 2
    for response, look in drawn:
        features = response.alone[:, :half].mean(axis=1, keepdims=True)
        for part in (slice(None, half), slice(-half, None)):
            levels = common.decibels(response.alone[:, part], features)
            _band(axes, 2 * FREQUENCIES[part], levels, **look)
    for x, text in ((0.125, "features"), (0.875, "their images")):
        axes.text(x, 5, text, ha="center")
    axes.set(xlim=(0, 1), ylim=(-72, 12), ylabel="energy, dB of the features'")
    axes.set_xlabel("frequency / highest of the doubled rate")


def _band(axes: Axes, x: np.ndarray, levels: np.ndarray, color: str, **look: Any) -> None:
    """The median of `(n, len(x))` levels, and the middle four fifths."""
    low, median, high = np.quantile(levels, (0.1, 0.5, 0.9), axis=0)
    axes.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
    axes.plot(x, median, color=color, **look)
