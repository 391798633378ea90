"""Recordings as pictures: a waveform above a spectrogram, edge to edge in time.

Strips are dark on every page, and have no axes of their own: a page puts labels on them, in its own
fonts, where `frequency_ticks` says. A `comparison` is for where there is no such page.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from asteroid_waveunet.experiment.report.excerpts import Excerpt

__all__ = [
    "DYNAMIC_RANGE",
    "LOWEST",
    "colour_scale",
    "comparison",
    "draw",
    "frequency_ticks",
    "spectrogram",
]

LOWEST = 40.0  # Hz, the spectrograms' lower edge
DYNAMIC_RANGE = 70  # dB
COLOURS = "magma"
GROUND = "#07060f"  # nearly the darkest of COLOURS
STRIP = (1000, 60, 120)  # pixels: width, height of the waveform, height of the spectrogram
TITLES = ("true (grey), estimate (blue)", "true", "estimate")  # of a comparison's panels
PLOTTED = 400  # places in a comparison's waveforms


def spectrogram(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Power of `(channels, time)` float32 samples in dB, `(bands, columns)`.

    Bands are spaced logarithmically from `LOWEST` to half the sample rate; a band that is wider
    than the bins of the Fourier transform has their mean. Columns are spread evenly.
    """
    columns, _, n_bands = STRIP
    n_fft = 2 ** round(np.log2(0.09 * sample_rate))
    hop = max(samples.shape[-1] // columns, 1)
    spectra = torch.stft(
        torch.from_numpy(samples),
        n_fft,
        hop,
        window=torch.hann_window(n_fft),
        pad_mode="constant",
        return_complex=True,
    )
    power = torch.view_as_real(spectra).square().sum(dim=-1).mean(dim=0).numpy()
    frequencies = np.geomspace(LOWEST, sample_rate / 2, n_bands + 1)[:-1]
    first = np.round(frequencies * n_fft / sample_rate).astype(int)
    n_bins = np.diff(first, append=len(power))
    # Where a band has no bin of its own, reduceat gives it the nearest one.
    bands = np.add.reduceat(power, first, axis=0) / np.maximum(n_bins, 1)[:, None]
    return 10 * np.log10(np.maximum(bands, 1e-20))


def frequency_ticks(sample_rate: int) -> dict[str, float]:
    """Labels of a spectrogram's height, and where they stand: 0 is its top, 1 its bottom.

    >>> frequency_ticks(8000)
    {'100 Hz': 0.801, '1 kHz': 0.301}
    """
    octaves = np.log(sample_rate / 2 / LOWEST)
    labels = {"100 Hz": 100, "1 kHz": 1000, "10 kHz": 10000}
    return {
        label: round(float(1 - np.log(f / LOWEST) / octaves), 4)
        for label, f in labels.items()
        if f < 0.8 * sample_rate / 2
    }


def draw(
    samples: np.ndarray, bands: np.ndarray, peak: float, loudest: float, colour: str, path: Path
) -> None:
    """A recording's waveform above its spectrogram, edge to edge in time, as a PNG file.

    Args:
        samples: `(channels, time)`.
        bands: their `spectrogram`.
        peak: the amplitude at the waveform's upper edge.
        loudest: the power, in dB, that is brightest; `DYNAMIC_RANGE` below it is darkest.
    """
    width, upper, lower = STRIP
    height = upper + lower
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor=GROUND)
    wave = figure.add_axes((0, lower / height, 1, upper / height))
    wave.set_axis_off()
    wave.set(xlim=(0, width), ylim=(-peak, peak))
    low, high = _envelope(samples, width)
    wave.fill_between(np.arange(width) + 0.5, low, high, color=colour, linewidth=0.5)
    image = figure.add_axes((0, 0, 1, lower / height))
    image.set_axis_off()
    _show(image, bands, loudest)
    # 64 colours are a third of the bytes of all, and cannot be told from them here.
    few = Image.fromarray(_pixels(figure)).quantize(64, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def _show(axes: Axes, bands: np.ndarray, loudest: float) -> None:
    """A spectrogram, which fills its axes: from 0 to 1 upwards and to the right."""
    axes.imshow(
        bands,
        cmap=COLOURS,
        vmin=loudest - DYNAMIC_RANGE,
        vmax=loudest,
        origin="lower",
        aspect="auto",
        extent=(0, 1, 0, 1),
    )


def _pixels(figure: Figure) -> np.ndarray:
    """`(height, width, 3)` of uint8."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def comparison(piece: Excerpt) -> np.ndarray:
    """A piece's true sources beside their estimates: `(height, width, 3)` pixels of uint8.

    A row a source: both waveforms in one panel, and a spectrogram of each. All rows have the
    same levels, so that what is quieter looks so.
    """
    rate, ticks = piece.sample_rate, frequency_ticks(piece.sample_rate)
    spectra = {
        source: [spectrogram(x[source], rate) for x in (piece.references, piece.estimates)]
        for source in piece.references
    }
    loudest = max(bands.max() for bands, _ in spectra.values())
    peak = max(float(np.abs(x).max()) for x in piece.references.values()) or 1.0
    figure = Figure(figsize=(12, 0.6 + 1.6 * len(spectra)), dpi=100, layout="constrained")
    figure.suptitle(f"{piece.track}, from {piece.start:.1f} s", parse_math=False)
    rows = figure.subplots(len(spectra), 3, squeeze=False, sharex=True)
    for (wave, *images), (source, pair) in zip(rows, spectra.items(), strict=True):
        wave.set_ylabel(source, parse_math=False)
        wave.set(xlim=(0, 1), ylim=(-peak, peak))
        for signals, colour in ((piece.references, "0.6"), (piece.estimates, "C0")):
            low, high = _envelope(signals[source], PLOTTED)
            places = np.linspace(0, 1, PLOTTED, endpoint=False)
            wave.fill_between(places, low, high, color=colour, alpha=0.7, linewidth=0.5)
        for axes, bands in zip(images, pair, strict=True):
            _show(axes, bands, loudest)
            axes.set_yticks([1 - depth for depth in ticks.values()], [*ticks])
    for axes, title in zip(rows[0], TITLES, strict=True):
        axes.set_title(title)
    for axes in rows[-1]:
        axes.set_xticks((0, 1), ("0 s", f"{piece.seconds:.3g} s"))
    return _pixels(figure)


def _envelope(samples: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest sample of any channel in each of so many columns."""
    starts = np.linspace(0, samples.shape[-1], columns, endpoint=False).astype(int)
    low = np.minimum.reduceat(samples.min(axis=0), starts)
    return low, np.maximum.reduceat(samples.max(axis=0), starts)


def colour_scale(path: Path) -> None:
    """The spectrograms' colours from darkest to brightest, left to right."""
    colours = mpl.colormaps[COLOURS](np.arange(256), bytes=True)[None, :, :3]
    Image.fromarray(np.ascontiguousarray(colours)).save(path)
