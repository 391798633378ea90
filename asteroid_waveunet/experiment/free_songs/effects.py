"""Studio effects on stems, `(channels, time)` float64: filters, distortion, compression, echo."""

from __future__ import annotations

import numpy as np
from scipy import ndimage, signal

from asteroid_waveunet.experiment.demo_songs.synthesis import Signal

__all__ = [
    "compress",
    "cut",
    "echo",
    "random_equalizer",
    "saturate",
    "shift_formants",
]

FRAME = 1024  # samples of the formant filter's window


def cut(x: Signal, rate: int, low: float | None = None, high: float | None = None) -> Signal:
    """Remove frequencies below `low` and above `high`, in Hz, with 12 dB per octave."""
    for edge, kind in ((low, "highpass"), (high, "lowpass")):
        if edge is not None and edge < 0.45 * rate:
            x = signal.sosfilt(signal.butter(2, edge, kind, fs=rate, output="sos"), x)
    return x


def random_equalizer(x: Signal, rate: int, rng: np.random.Generator, most: float = 5.0) -> Signal:
    """Draw a smooth frequency response within `most` dB in either direction, and apply it.

    The response is given at seven frequencies an octave or two apart and interpolated between them;
    the filter is linear-phase, 255 taps.
    """
    hertz = np.array([0.0, 80.0, 250.0, 800.0, 2500.0, 7000.0, 0.5 * rate])
    hertz = np.minimum(hertz, 0.5 * rate - np.arange(len(hertz))[::-1])
    gains = 10.0 ** (rng.uniform(-most, most, len(hertz)) / 20.0)
    taps = signal.firwin2(255, hertz, gains, fs=rate)
    return signal.oaconvolve(x, taps[None], mode="same", axes=-1)


def saturate(x: Signal, drive: float) -> Signal:
    """Distort as an overdriven amplifier, to within [-1, 1].

    Args:
        drive: gain before the distortion, relative to the signal's level: 0.3 is barely audible,
            10 is fuzz.
    """
    return np.tanh(drive * x / (np.std(x) + 1e-9))


def _level_db(x: Signal, rate: int, seconds: float) -> Signal:
    """Return the level of all channels together over a moving window, `(time,)` in dB."""
    power = ndimage.uniform_filter1d(np.mean(x**2, axis=0), max(1, round(seconds * rate)))
    return 10.0 * np.log10(np.maximum(power, 1e-10))


def compress(
    x: Signal, rate: int, ratio: float, below_peak: float, seconds: float = 0.05
) -> Signal:
    """Return the gain of a compressor `(time,)`, to be multiplied with the signal.

    Args:
        x: the signal whose level is watched.
        ratio: dB of input per dB of output above the threshold, >= 1.
        below_peak: the threshold, in dB below the loudest passage.
        seconds: window of the level.
    """
    level = _level_db(x, rate, seconds)
    over = np.maximum(level - (level.max() - below_peak), 0.0)
    return 10.0 ** (-over * (1.0 - 1.0 / ratio) / 20.0)


def echo(x: Signal, rate: int, seconds: float, feedback: float, level: float) -> Signal:
    """Add repetitions every `seconds`, each `feedback` times the last, on alternating sides."""
    delayed, out = level * x, x.copy()
    shift = max(1, round(seconds * rate))
    for turn in range(1, 6):
        n = turn * shift
        if n >= x.shape[-1]:
            break
        side = np.array([[1.0], [0.5]]) if turn % 2 else np.array([[0.5], [1.0]])
        out[:, n:] += side[: len(x)] * delayed[:, :-n]
        delayed = feedback * delayed
    return out


def shift_formants(x: Signal, ratio: float) -> Signal:
    """Move the spectral envelope of `(channels, time)` by `ratio` and keep the pitch.

    Above 1 a singer sounds smaller (higher formants), below 1 larger. The envelope of each frame
    is its spectrum's real cepstrum up to 30 coefficients; the frame is multiplied by the moved
    envelope and divided by its own.
    """
    hop = FRAME // 4
    window = signal.windows.hann(FRAME, sym=False)
    _, _, spectra = signal.stft(x, window=window, nperseg=FRAME, noverlap=FRAME - hop)
    log = np.log(np.abs(spectra) + 1e-7)
    cepstrum = np.fft.irfft(log, axis=-2)
    cepstrum[..., 30 : FRAME - 29, :] = 0.0
    envelope = np.fft.rfft(cepstrum, axis=-2).real
    bins = np.arange(envelope.shape[-2])
    moved = ndimage.map_coordinates(
        np.moveaxis(envelope, -2, 0).reshape(len(bins), -1),
        np.stack(np.meshgrid(bins / ratio, np.arange(envelope[..., 0, :].size), indexing="ij")),
        order=1,
        mode="nearest",
    ).reshape(len(bins), *envelope[..., 0, :].shape)
    gain = np.exp(np.clip(np.moveaxis(moved, 0, -2) - envelope, -3.0, 3.0))
    _, out = signal.istft(spectra * gain, window=window, nperseg=FRAME, noverlap=FRAME - hop)
    out = out[..., : x.shape[-1]]
    return np.pad(out, [(0, 0), (0, x.shape[-1] - out.shape[-1])])
