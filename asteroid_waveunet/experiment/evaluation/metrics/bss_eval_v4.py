"""BSS Eval v4: SDR, ISR, SIR and SAR of each window, as museval 0.4.1 computes them.

The notation, for a window of one source: s is the reference, e the estimate, d = e - s the error.
P_all projects a signal on all references of the track delayed by 0 ... 511 samples, P_own on those
of the source itself. Their filters belong to the whole track; a window's projections are made of
that window's samples alone and end 511 samples after it. museval splits

    e = s + e_spat + e_interf + e_artif      e_spat = P_own(e) - s,  e_interf = P_all(e) - P_own(e)

and takes ratios of energies, sums over samples and channels:

    SDR = |s|^2 / |d|^2                      SIR = |P_own(e)|^2 / |e_interf|^2
    ISR = |s|^2 / |e_spat|^2                 SAR = |P_all(e)|^2 / |e_artif|^2

For a good estimate museval subtracts signals that are nearly equal, and so would the quadratic
forms in the filters with a window's correlation matrices, whose terms cancel. But s is a filtered
reference itself (one tap), so P(s) = s and P(e) = s + P(d): with a = P_all(d) and b = P_own(d),

    e_spat = b    e_interf = a - b    e_artif = d - a    P_own(e) = s + b    P_all(e) = s + a

The filters of d are solved for directly, and every error is as exact, relative to d, as the
filters are. Energies are then sums of squares, where nothing cancels. One factorisation serves
all sources, and one spectrum of each reference all filters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from asteroid_waveunet.experiment.evaluation.metrics.distortion_filters import (
    TAPS,
    correlations,
    filters_of_all,
    filters_of_each,
)
from asteroid_waveunet.experiment.evaluation.metrics.windows import (
    Audio,
    Windows,
    checked_pair,
    silent,
)

__all__ = ["BSSEval", "bss_eval"]

PIECE = 7680  # samples that are filtered at a time, about
PIECES_AT_ONCE = 8


class BSSEval(NamedTuple):
    """Metrics in dB, each `(n_src, n_windows)` float64."""

    sdr: np.ndarray
    isr: np.ndarray
    sir: np.ndarray
    sar: np.ndarray


def bss_eval(
    references: Audio,
    estimates: Audio,
    sample_rate: int,
    window: float = 1.0,
    hop: float = 1.0,
    *,
    device: str | torch.device = "cpu",
) -> BSSEval:
    """Return museval's SDR, ISR, SIR and SAR of each window.

    The values are those of `museval.evaluate` to 1e-6 dB, as far as museval itself is exact. Where
    references nearly depend on each other, such as decoded music without high frequencies, it
    differs by up to 2e-4 dB, from its own values for another order of sources, too. A perfect
    estimate gets +inf, a single source the SIR +inf. A window in which any reference or any
    estimate is silent (the channels sum to zero at every sample, museval's rule) is NaN for all
    sources; if one is silent throughout, which museval refuses, all windows are.

    Args:
        references, estimates: `(n_src, channels, time)`, of any real type; computed in float64.
        sample_rate: in Hz.
        window, hop: in seconds. `math.inf` makes one window of the whole track. A shorter last
            window is left out unless it is the only one. Where they are no whole number of samples,
            museval's rule holds: a window's first and last positions are rounded down.
        device: computes, such as "cuda". The samples may lie elsewhere; they are copied in blocks.
    Returns:
        `(sdr, isr, sir, sar)`, each `(n_src, n_windows)` float64 in dB.
    Raises:
        ValueError: if the shapes differ, are not three-dimensional, or are empty; if samples are
            no real numbers, NaN, infinite, or so large that their energy is; if window or hop are
            shorter than a sample; if the device cannot be used.

    >>> noise = np.random.default_rng(0).normal(size=(2, 1, 4000))
    >>> sdr, isr, sir, sar = bss_eval(noise, noise + 0.1 * noise[::-1], sample_rate=2000)
    >>> sir.round(-1)
    array([[20., 20.],
           [20., 20.]])
    """
    track = _Track(*checked_pair(references, estimates), _usable(device))
    windows = Windows.from_seconds(track.length, sample_rate, window, hop)
    scores = np.full((4, track.n_src, len(windows)), np.nan)
    scored = [t for t, part in enumerate(windows) if track.audible(part)]
    if scored:
        scores[..., scored] = _decibels(_energies(track, [windows[t] for t in scored]))
    return BSSEval(*scores)


def _usable(device: str | torch.device) -> torch.device:
    """Return a device that computes in float64.

    Raises:
        ValueError: if this machine has no such device.
    """
    try:
        probe = torch.zeros(1, dtype=torch.float64, device=device)
        probe.item()
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(f"device={device!r} cannot compute in float64 here: {reason}") from error
    return probe.device


def _decibels(energies: np.ndarray) -> np.ndarray:
    """Return the four metrics from the seven energies of `_piece_energies`."""
    s, d, spat, interf, artif, own, every = energies
    with np.errstate(divide="ignore", invalid="ignore"):
        pairs = ((s, d), (s, spat), (own, interf), (every, artif))
        ratios = [np.where(low == 0, np.inf, 10 * np.log10(high / low)) for high, low in pairs]
    return np.stack(ratios)


def _energies(track: _Track, windows: Sequence[slice]) -> np.ndarray:
    """Return the energies of windows: `(7, n_src, n_windows)`.

    The projections of a window are made in pieces by overlap-save, so that spectra stay in the
    processor's cache and no length of track or window raises the memory.
    """
    length = max(w.stop - w.start for w in windows) + TAPS - 1  # of a window's projections
    step = -(-length // -(-length // PIECE))
    n_fft = _fast_length(step + TAPS - 1)
    step = n_fft - TAPS + 1
    lags = correlations(track.block, track.length)
    if not torch.isfinite(lags).all():
        raise ValueError("references or estimates are so large that their energy is infinite")
    of_all = torch.fft.rfft(filters_of_all(lags), n_fft)
    of_own = torch.fft.rfft(filters_of_each(lags, track.channels), n_fft)
    pieces = [
        (t, part, part.start + offset - TAPS + 1)
        for t, part in enumerate(windows)
        for offset in range(0, length, step)
    ]
    result = np.zeros((7, track.n_src, len(windows)))
    for i in range(0, len(pieces), PIECES_AT_ONCE):
        batch = pieces[i : i + PIECES_AT_ONCE]
        x, d = track.pieces([(part, start) for _, part, start in batch], n_fft)
        found = _piece_energies(x, d, of_all, of_own).cpu().numpy()
        for (t, _, _), of_piece in zip(batch, np.moveaxis(found, -1, 0), strict=True):
            result[..., t] += of_piece
    return result


def _fast_length(length: int) -> int:
    """Return the next product of powers of 2, 3 and 5, as SciPy does, whose import takes longer."""
    rest = length
    for prime in (2, 3, 5):
        while rest % prime == 0:
            rest //= prime
    return length if rest == 1 else _fast_length(length + 1)


def _piece_energies(x: Tensor, d: Tensor, of_all: Tensor, of_own: Tensor) -> Tensor:
    """Return the energies of pieces `(n_src, channels, n_pieces, n_fft)`: `(7, n_src, n_pieces)`.

    They are those of s, d, e_spat, e_interf, e_artif, P_own(e) and P_all(e).
    """
    n_fft = x.shape[-1]
    spectra = torch.fft.rfft(x)
    result = x.new_empty(7, len(x), x.shape[2])
    for j in range(len(x)):
        rows = slice(j * x.shape[1], (j + 1) * x.shape[1])
        a = torch.fft.irfft(_filtered(of_all[rows], spectra.flatten(0, 1)), n_fft)
        b = a if len(x) == 1 else torch.fft.irfft(_filtered(of_own[rows], spectra[j]), n_fft)
        s_j, d_j, a, b = (y[..., TAPS - 1 :] for y in (x[j], d[j], a, b))
        for k, signal in enumerate((s_j, d_j, b, a - b, d_j - a, s_j + b, s_j + a)):
            result[k, j] = torch.linalg.vector_norm(signal, dim=(0, 2)).square()
    return result


def _filtered(filters: Tensor, spectra: Tensor) -> Tensor:
    """Sum the filtered inputs: `(outputs, inputs, n)`, `(inputs, pieces, n)` -> outputs."""
    outputs = []
    for each in filters:
        total = each[0] * spectra[0]
        for response, spectrum in zip(each[1:], spectra[1:], strict=True):
            total.addcmul_(response.expand_as(spectrum), spectrum)
        outputs.append(total)
    return torch.stack(outputs)


class _Track:
    """Samples `(n_src, channels, time)`, copied to the device in blocks of float64."""

    def __init__(self, references: np.ndarray, estimates: np.ndarray, device: torch.device) -> None:
        self.references, self.estimates, self.device = references, estimates, device
        self.n_src, self.channels, self.length = references.shape

    def block(self, start: int, stop: int) -> Tensor:
        """Return references, then errors: `(2 R, stop - start)`, zeros after the end."""
        return self.pieces([(slice(0, self.length), start)], stop - start).flatten(0, 2)[:, 0]

    def pieces(self, starts: Sequence[tuple[slice, int]], length: int) -> Tensor:
        """Return references and errors `(2, n_src, channels, n_pieces, length)`.

        Args:
            starts: of each piece, the window outside which it is zero, and its first sample.
        """
        both = np.zeros((2, self.n_src, self.channels, len(starts), length))
        for i, (window, start) in enumerate(starts):
            part = slice(max(start, window.start), min(start + length, window.stop))
            inside = slice(part.start - start, part.stop - start)
            both[0, :, :, i, inside] = self.references[..., part]
            both[1, :, :, i, inside] = self.estimates[..., part]
        if not np.isfinite(both.sum()):
            raise ValueError("references or estimates have NaN or infinite samples")
        both[1] -= both[0]
        return torch.from_numpy(both).to(self.device)

    def audible(self, part: slice) -> bool:
        """Return True if no reference and no estimate is silent, by museval's rule."""
        samples = (self.references[..., part], self.estimates[..., part])
        return not any(silent(x).any() for x in samples)
