"""Cut segments from memory-mapped tracks, change speed, tempo and pitch, and mix, on the CPU.

At the paper's sizes a segment reads 2.4 MB and writes 1.7 MB, 0.25 ms at memory speed. NumPy's
conversion and sum take two passes over the samples, twice as long; hence one compiled loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numba
import numpy as np
import soxr

from asteroid_waveunet.experiment.segments.random_plans import Plan

__all__ = ["Mixer", "crop", "stretch"]


@dataclass(frozen=True)
class Mixer:
    """Make the segments of a plan.

    Attributes:
        tracks: int16 `(groups, channels, time)`, of one preparation.
        left_context: samples of mixture before the first target.
        sample_rate: in Hz.
        owners: index of each group's target, ascending; the mixture alone has those beyond.
    """

    tracks: Sequence[np.ndarray]
    left_context: int
    sample_rate: int
    owners: Sequence[int]

    def make(self, plan: Plan, i: int, mixture: np.ndarray, targets: np.ndarray) -> None:
        """Write segment i to mixture `(channels, input)`, targets `(n_src, channels, output)`."""
        positions = [*zip(plan.tracks[i], plan.starts[i] - self.left_context, strict=True)]
        amounts, length = plan.amounts, mixture.shape[-1]
        tempo, pitch, speeds = amounts.tempos[i], amounts.pitches[i], amounts.speeds[i]
        if tempo != 1 or pitch != 0 or (speeds != 1).any():
            groups = [
                self._changed(self.tracks[track][k], start, length, speeds[k], tempo, pitch)
                for k, (track, start) in enumerate(positions)
            ]
            starts = np.zeros(len(groups), np.int64)
        else:
            groups, starts = self._located(positions, length)
        gains = amounts.gains[i].astype(np.float32)
        mix(
            tuple(groups),
            starts,
            gains,
            amounts.swaps[i],
            np.asarray(self.owners),
            self.left_context,
            mixture,
            targets,
        )

    def _located(
        self, positions: Sequence[tuple[int, int]], length: int
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Return each group's samples `(channels, time)` and the segment's start in them."""
        groups = [self.tracks[track][k] for k, (track, _) in enumerate(positions)]
        starts = np.array([start for _, start in positions])
        lengths = np.array([group.shape[-1] for group in groups])
        if (starts >= 0).all() and (starts + length <= lengths).all():
            return groups, starts
        padded = [crop(g, s, length) for g, s in zip(groups, starts, strict=True)]
        for samples in padded:
            samples.flags.writeable = False  # as mapped arrays: numba compiles once per type
        return padded, np.zeros_like(starts)

    def _changed(
        self,
        group: np.ndarray,
        start: int,
        length: int,
        speed: float,
        tempo: float,
        pitch: float,
    ) -> np.ndarray:
        """Return a group's segment, resampled and stretched; the first target stays in place."""
        factor = speed * tempo
        extra_context = round(self.left_context * (factor - 1))
        samples = crop(group, start - extra_context, round(length * factor)).astype(np.float32)
        if speed != 1:
            samples = soxr.resample(samples.T, speed, 1).T
        if tempo != 1 or pitch != 0:
            samples = stretch(samples, self.sample_rate, tempo, pitch)
        return crop(samples, 0, length)


def stretch(samples: np.ndarray, sample_rate: int, tempo: float, pitch: float) -> np.ndarray:
    """Change tempo and pitch independently, with Signalsmith Stretch. Deterministic.

    Args:
        samples: `(channels, time)` float32.
        sample_rate: in Hz.
        tempo: speed factor, > 0.
        pitch: shift in semitones.
    Returns:
        `(channels, round(time / tempo))` float32; sample n moves to n / tempo.
    """
    from python_stretch import Signalsmith

    stretcher = Signalsmith.Stretch(0)  # the seed of its random phases
    stretcher.preset(len(samples), sample_rate)
    stretcher.setTimeFactor(tempo)
    stretcher.setTransposeSemitones(pitch)
    return np.asarray(stretcher.process(np.ascontiguousarray(samples)))


def crop(samples: np.ndarray, start: int, length: int) -> np.ndarray:
    """Return a copy of `samples[..., start : start + length]`, zero outside of the samples.

    >>> crop(np.array([1, 2, 3]), -1, 5).tolist()
    [0, 1, 2, 3, 0]
    """
    cropped = np.zeros((*samples.shape[:-1], length), samples.dtype)
    first, last = max(start, 0), min(start + length, samples.shape[-1])
    if first < last:
        cropped[..., first - start : last - start] = samples[..., first:last]
    return cropped


def compiled(function: Callable) -> Callable:
    """Compile a function with Numba, and keep its machine code for the next processes.

    Compiling takes 1 s of the processor. Without a folder to write to, it is compiled every time.
    """
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache is writable
        return numba.njit(nogil=True)(function)


@compiled
def mix(groups, starts, gains, swaps, owners, left_context, mixture, targets):
    """Write the sum of all scaled groups, and those of each target.

    Args:
        groups: a tuple of `(channels, time)`, each containing the whole segment.
        starts: position of the segment in each group.
        gains, swaps: of each group.
        owners: index of each group's target, ascending.
        left_context: mixture samples before the first target.
        mixture: `(channels, input)`, overwritten.
        targets: `(n_src, channels, output)`, overwritten.
    """
    n_groups, (channels, length), output = len(groups), mixture.shape, targets.shape[-1]
    for c in range(channels):
        # Reading several streams at once is fastest, so groups are added four at a time. If
        # fewer are left, the last group fills up with a gain of zero.
        for k in range(0, n_groups, 4):
            k1 = min(k + 1, n_groups - 1)
            k2 = min(k + 2, n_groups - 1)
            k3 = min(k + 3, n_groups - 1)
            add(
                mixture[c],
                k > 0,
                row(groups[k], swaps[k], c, starts[k], length),
                row(groups[k1], swaps[k1], c, starts[k1], length),
                row(groups[k2], swaps[k2], c, starts[k2], length),
                row(groups[k3], swaps[k3], c, starts[k3], length),
                gains[k],
                gains[k1] if k1 > k else np.float32(0),
                gains[k2] if k2 > k1 else np.float32(0),
                gains[k3] if k3 > k2 else np.float32(0),
            )
    for k in range(n_groups):
        owner, first = owners[k], k == 0 or owners[k] != owners[k - 1]
        if owner < len(targets):
            for c in range(channels):
                stem = row(groups[k], swaps[k], c, starts[k] + left_context, output)
                add_one(targets[owner, c], not first, stem, gains[k])


@numba.njit(nogil=True, inline="always")
def row(group, swap, c, start, length):
    return group[len(group) - 1 - c if swap else c, start : start + length]


@numba.njit(nogil=True, inline="always")
def add_one(out, accumulate, stem, gain):
    if accumulate:
        for i in range(len(out)):
            out[i] += gain * stem[i]
    else:
        for i in range(len(out)):
            out[i] = gain * stem[i]


@numba.njit(nogil=True, inline="always")
def add(out, accumulate, a, b, c, d, gain_a, gain_b, gain_c, gain_d):
    if accumulate:
        for i in range(len(out)):
            out[i] += gain_a * a[i] + gain_b * b[i] + gain_c * c[i] + gain_d * d[i]
    else:
        for i in range(len(out)):
            out[i] = gain_a * a[i] + gain_b * b[i] + gain_c * c[i] + gain_d * d[i]
