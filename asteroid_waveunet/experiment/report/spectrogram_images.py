"""Images of recordings: a waveform above a spectrogram on a common time axis.

The page's images are dark in both themes and have no axes; the page adds labels in its own fonts at
the positions of `frequency_ticks`. `comparison` is a self-contained figure for experiment loggers.
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
from asteroid_waveunet.file_utils import valid_unicode

__all__ = [
    "DYNAMIC_RANGE",
    "LOWEST",
    "colour_scale",
    "comparison",
    "draw",
    "frequency_ticks",
    "spectrogram",
]

LOWEST = 40.0  # Hz, lower edge of the spectrograms
DYNAMIC_RANGE = 70  # dB
COLOURS = "magma"
BACKGROUND = "#07060f"  # close to the darkest of COLOURS
IMAGE_SIZE = (1000, 60, 120)  # pixels: width, height of the waveform, height of the spectrogram
TITLES = ("true (grey), estimate (blue)", "true", "estimate")  # panels of a comparison
WAVEFORM_POINTS = 400  # of a comparison


def spectrogram(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the power in dB, `(bands, columns)`, of `(channels, time)` float32 samples.

    Bands are spaced logarithmically from `LOWEST` to half the sample rate; a band wider than one
    bin of the Fourier transform has the mean of its bins. Columns are spaced evenly.
    """
    columns, _, n_bands = IMAGE_SIZE
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
    power = (spectra.numpy().real ** 2 + spectra.numpy().imag ** 2).mean(axis=0)
    frequencies = np.geomspace(LOWEST, sample_rate / 2, n_bands + 1)[:-1]
    first = np.round(frequencies * n_fft / sample_rate).astype(int)
    n_bins = np.diff(first, append=len(power))
    # For a band without a bin, reduceat returns the nearest one.
    bands = np.add.reduceat(power, first, axis=0) / np.maximum(n_bins, 1)[:, None]
    return 10 * np.log10(np.maximum(bands, 1e-20))


def frequency_ticks(sample_rate: int) -> dict[str, float]:
    """Return frequency labels and their vertical positions: 0 is the top, 1 the bottom.

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
    """Write a PNG of a recording's waveform above its spectrogram.

    Args:
        samples: `(channels, time)`.
        bands: the `spectrogram` of the samples.
        peak: amplitude at the upper edge of the waveform.
        loudest: power in dB of the brightest colour; the darkest is `DYNAMIC_RANGE` below.
    """
    width, upper, lower = IMAGE_SIZE
    height = upper + lower
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor=BACKGROUND)
    wave = figure.add_axes((0, lower / height, 1, upper / height))
    wave.set_axis_off()
    wave.set(xlim=(0, width), ylim=(-peak, peak))
    low, high = _envelope(samples, width)
    wave.fill_between(np.arange(width) + 0.5, low, high, color=colour, linewidth=0.5)
    image = figure.add_axes((0, 0, 1, lower / height))
    image.set_axis_off()
    _show(image, bands, loudest)
    # 64 colours look the same here and take a third of the bytes.
    quantized = Image.fromarray(_pixels(figure)).quantize(64, dither=Image.Dither.NONE)
    quantized.save(path)


def _show(axes: Axes, bands: np.ndarray, loudest: float) -> None:
    """Draw a spectrogram over the whole axes, whose limits are 0 and 1."""
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
    """Return `(height, width, 3)` pixels of uint8."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def comparison(piece: Excerpt) -> np.ndarray:
    """Draw references and estimates of an excerpt: `(height, width, 3)` pixels of uint8.

    One row per source: both waveforms in one panel, and a spectrogram of each. All rows share one
    scale.
    """
    rate, ticks = piece.sample_rate, frequency_ticks(piece.sample_rate)
    spectra = {
        source: [spectrogram(x[source], rate) for x in (piece.references, piece.estimates)]
        for source in piece.references
    }
    loudest = max(bands.max() for bands, _ in spectra.values())
    peak = max(float(np.abs(x).max()) for x in piece.references.values()) or 1.0
    figure = Figure(figsize=(12, 0.6 + 1.6 * len(spectra)), dpi=100, layout="constrained")
    title = valid_unicode(f"{piece.track}, from {piece.start:.1f} s")
    figure.suptitle(title, parse_math=False)
    rows = figure.subplots(len(spectra), 3, squeeze=False, sharex=True)
    for (wave, *images), (source, pair) in zip(rows, spectra.items(), strict=True):
        wave.set_ylabel(source, parse_math=False)
        wave.set(xlim=(0, 1), ylim=(-peak, peak))
        for signals, colour in ((piece.references, "0.6"), (piece.estimates, "C0")):
            low, high = _envelope(signals[source], WAVEFORM_POINTS)
            positions = np.linspace(0, 1, WAVEFORM_POINTS, endpoint=False)
            wave.fill_between(positions, low, high, color=colour, alpha=0.7, linewidth=0.5)
        for axes, bands in zip(images, pair, strict=True):
            _show(axes, bands, loudest)
            axes.set_yticks([1 - depth for depth in ticks.values()], [*ticks])
    for axes, title in zip(rows[0], TITLES, strict=True):
        axes.set_title(title)
    for axes in rows[-1]:
        axes.set_xticks((0, 1), ("0 s", f"{piece.seconds:.3g} s"))
    return _pixels(figure)


def _envelope(samples: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the minimum and maximum over channels in each of `columns` time steps."""
    starts = np.linspace(0, samples.shape[-1], columns, endpoint=False).astype(int)
    low = np.minimum.reduceat(samples.min(axis=0), starts)
    return low, np.maximum.reduceat(samples.max(axis=0), starts)


def colour_scale(path: Path) -> None:
    """Write the colour scale of the spectrograms, darkest to brightest from left to right."""
    colours = mpl.colormaps[COLOURS](np.arange(256), bytes=True)[None, :, :3]
    Image.fromarray(np.ascontiguousarray(colours)).save(path)
