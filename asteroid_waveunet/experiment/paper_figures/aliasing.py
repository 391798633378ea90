"""Aliasing of upsampling layers: the level of spectral images (section 3.1.1).

Upsampling inserts zeros between samples and filters. With taps before and after a new sample,

    H(f) = centre + before * exp(-2 pi i f) + after * exp(2 pi i f)    f in cycles per new sample.

Zero insertion repeats the spectrum: a tone of frequency f < 1/4 yields the tone, times H(f), and an
image at 1/2 - f, times H(1/2 - f). Linear interpolation has taps 1/2, 1, 1/2 and H(f) = 1 +
cos(2 pi f); its image is at 40 lg tan(pi f) dB relative to the tone: none for a constant, and as
loud as the tone at the upper band edge. Learned interpolation has taps w, 1, 1 - w, which adds
(1 - 2 w)^2 sin(2 pi f)^2 to the energies of both: w = 1/2 has the lowest images, and w = 1, which
repeats samples, the highest. The taps of a transposed convolution are matrices between channels.
Its outputs sum over channels; energies here assume uncorrelated features of equal level.
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
    "initial_response",
    "model_response",
    "table",
]

N_FREQUENCIES = 64  # frequencies of a response up to the Nyquist frequency of the lower rate
FREQUENCIES = (np.arange(2 * N_FREQUENCIES) + 0.5) / (4 * N_FREQUENCIES)
"""In cycles per new sample, 0 to 1/2; the image of index i has index -1 - i."""

REPEATED = torch.tensor([[[0.0, 1.0, 1.0]]]).double()
"""The impulse response of learned interpolation with w = 1, which repeats every sample."""

BANDS = {"lower half of the band": 0.5, "all of the band": 1.0}
INITIAL = "as initialised"
# The curves of linear and learned nearly coincide; the thinner one is drawn on top.
STYLES: dict[str, dict[str, Any]] = {
    "linear": dict(color=COLOURS["blue"], linewidth=3),
    "learned": dict(color=COLOURS["orange"], linewidth=1.5),
    "transposed": dict(color=COLOURS["red"], linewidth=1.5),
}
LINE_STYLES = ("-", "--", "-.", ":")  # of responses of one kind


@dataclass(frozen=True)
class Response:
    """Energies of a model's upsampling layers at `FREQUENCIES`, for white features of equal level.

    Attributes:
        kind: "linear", "learned" or "transposed".
        name: name of the model's state, such as "as initialised".
        alone: energies of each channel of each level, `(n, 2 * N_FREQUENCIES)`.
        convolved: the same after the following convolution, before its activation.
    """

    kind: str
    name: str
    alone: np.ndarray
    convolved: np.ndarray

    @property
    def label(self) -> str:
        return f"{self.kind}, {self.name}" if self.name else self.kind


def energies(impulses: Tensor) -> np.ndarray:
    """Return the energies, `(out, 2 * N_FREQUENCIES)`, of impulse responses `(in, out, n)`.

    Energies sum over the inputs: |H(f)|^2 is the transform of the autocorrelation of H.
    """
    n = impulses.shape[-1]
    lags = [(impulses[..., : n - lag] * impulses[..., lag:]).sum((0, 2)) for lag in range(n)]
    waves = np.cos(2 * np.pi * np.arange(n)[:, None] * FREQUENCIES)
    waves[1:] *= 2
    return torch.stack(lags, dim=-1).numpy() @ waves


def images(energy: np.ndarray) -> np.ndarray:
    """Return the level of each tone's image in dB relative to the tone: `(n, N_FREQUENCIES)`."""
    return common.decibels(energy[:, : N_FREQUENCIES - 1 : -1], energy[:, :N_FREQUENCIES])


def images_of_band(energy: np.ndarray, band: float) -> np.ndarray:
    """Return the level of all images, `(n,)` in dB relative to the features of a band.

    Args:
        energy: `(n, 2 * N_FREQUENCIES)` energies.
        band: upper edge of the band; 1 is the Nyquist frequency of the lower rate.
    """
    most = round(band * N_FREQUENCIES)
    return common.decibels(energy[:, -most:].sum(axis=1), energy[:, :most].sum(axis=1))


def model_response(model: WaveUNet, name: str = "") -> Response:
    """Return the response of a model's upsampling layers."""
    with torch.no_grad():
        found = [_impulses(block) for block in model.up]  # type: ignore[arg-type]
    alone, convolved = (
        np.concatenate([energies(impulses) for impulses in of_levels])
        for of_levels in zip(*found, strict=True)
    )
    return Response(str(model.get_model_args()["upsampling"]), name, alone, convolved)


def _impulses(block: UpBlock) -> tuple[Tensor, Tensor]:
    """Return the impulse responses of an up block after its upsampling and its convolution."""
    channels = len(block.upsampling.taps[0])
    impulse = F.pad(torch.eye(channels)[..., None], (1, 1)).to(block.conv.weight)
    upsampled = block.upsampling(impulse).double()
    weight = block.conv.weight[:, -channels:].double()  # after the skip connection's channels
    return upsampled, F.conv1d(upsampled, weight, padding=weight.shape[-1] - 1)


def initial_response(kind: str, seed: int = 0, **sizes: int) -> Response:
    """Return the response of randomly initialised upsampling layers.

    M4 upsamples 2160 channels with separate weights, hence as many random draws.

    Args:
        kind: "linear", "learned" or "transposed".
        sizes: model arguments that differ from M4's.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model_response(presets.make("M4", upsampling=kind, **sizes), INITIAL)


LEGEND = (
    "Energy of images in dB relative to the features, for independent white features of equal "
    "level that fill a part of the lower rate's band: the median (and the 10th to 90th "
    "percentile) over all channels of all levels. After the convolution: before its activation, "
    "which generates further frequencies; the convolution may attenuate or amplify images.\n"
)


def table(responses: Sequence[Response]) -> str:
    """Return a Markdown table of image energies for features in half and all of the band."""
    repeated = [
        common.format_quantiles(images_of_band(energies(REPEATED), band)) for band in BANDS.values()
    ]
    rows: list[list[str]] = [
        ["zeros between samples", "0.0", "0.0", "", ""],
        ["samples repeated (learned, w = 1)", *repeated, "", ""],
    ]
    for response in responses:
        cells = [
            common.format_quantiles(images_of_band(energy, band))
            for energy in (response.alone, response.convolved)
            for band in BANDS.values()
        ]
        rows.append([response.label, *cells])
    headings = ["upsampling", *BANDS, *(f"{band}, after the convolution" for band in BANDS)]
    return f"{markdown(headings, rows)}\n{LEGEND}"


def draw(responses: Sequence[Response]) -> Figure:
    """Plot the upsampled spectrum of half a band of features, and image levels by frequency."""
    kinds = [response.kind for response in responses]
    styles = [
        dict(STYLES[kind], linestyle=LINE_STYLES[kinds[:i].count(kind) % len(LINE_STYLES)])
        for i, kind in enumerate(kinds)
    ]
    drawn = [*zip(responses, styles, strict=True)]
    figure = common.new_figure(720)
    grid = figure.add_gridspec(2, 2, height_ratios=(1, 1.25))
    _draw_spectrum(figure.add_subplot(grid[0, :]), drawn)
    left = figure.add_subplot(grid[1, 0])
    right = figure.add_subplot(grid[1, 1], sharey=left)
    for axes, what, title in (
        (left, "alone", "Image of a tone after upsampling"),
        (right, "convolved", "Image of a tone after the following convolution"),
    ):
        axes.set_title(title)
        axes.grid()
        for response, style in drawn:
            levels = images(getattr(response, what))
            _band(axes, 4 * FREQUENCIES[:N_FREQUENCIES], levels, label=response.label, **style)
        axes.set(
            xlim=(0, 1),
            ylim=(-72, 12),
            xlabel="frequency of the tone / Nyquist frequency (lower rate)",
        )
    worst = images(energies(REPEATED))[0]
    label = "worst learned: repeated samples"
    left.plot(4 * FREQUENCIES[:N_FREQUENCIES], worst, color=INK, linestyle=":", label=label)
    left.set_ylabel("image level, dB relative to the tone")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _draw_spectrum(axes: Axes, drawn: Sequence[tuple[Response, Mapping[str, Any]]]) -> None:
    """Plot the energy of features in the lower half of their band, and of their images."""
    axes.set_title("Upsampled features in the lower half of their band, and their images")
    axes.grid()
    half = N_FREQUENCIES // 2
    for response, style in drawn:
        features = response.alone[:, :half].mean(axis=1, keepdims=True)
        for part in (slice(None, half), slice(-half, None)):
            levels = common.decibels(response.alone[:, part], features)
            _band(axes, 2 * FREQUENCIES[part], levels, **style)
    for x, text in ((0.125, "features"), (0.875, "their images")):
        axes.text(x, 5, text, ha="center")
    axes.set(xlim=(0, 1), ylim=(-72, 12), ylabel="energy, dB relative to features")
    axes.set_xlabel("frequency / Nyquist frequency (doubled rate)")


def _band(axes: Axes, x: np.ndarray, levels: np.ndarray, color: str, **style: Any) -> None:
    """Plot the median and the 10th to 90th percentile of `(n, len(x))` levels."""
    low, median, high = np.quantile(levels, (0.1, 0.5, 0.9), axis=0)
    axes.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
    axes.plot(x, median, color=color, **style)
