"""Checks of samples, and conversion of channel counts."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator

import numpy as np
from torch import Tensor

from asteroid_waveunet.audio.reader import Reader

__all__ = ["check_floating", "check_samples", "mixed_down", "to_channels"]


def check_floating(samples: Tensor, name: str = "the mixture") -> Tensor:
    """Return the samples if their dtype is floating point.

    Raises:
        ValueError: for integers: PCM values would be read as samples far beyond full scale.
    """
    if not samples.is_floating_point():
        raise ValueError(
            f"{name} has dtype {samples.dtype}; expected floats at full scale 1.0, such as "
            "pcm / 32768 for 16-bit samples."
        )
    return samples


def check_samples(samples: Tensor, name: str = "the mixture") -> Tensor:
    """Return `(..., channels, time)` samples if they are finite floats.

    Raises:
        ValueError: if there are none, or some are NaN or infinite (the message counts and
            locates them).
    """
    if samples.numel() == 0:
        raise ValueError(f"{name} is empty: shape {tuple(samples.shape)}.")
    check_floating(samples, name)
    finite = samples.isfinite()
    if not finite.all():
        bad = (~finite).nonzero()
        raise ValueError(
            f"{name} has {len(bad)} NaN or infinite samples of {samples.numel()}, the first at "
            f"{tuple(bad[0].tolist())} of {tuple(samples.shape)}. Repair it first: the estimates "
            "around them would be NaN too."
        )
    return samples


def to_channels(samples: Tensor, channels: int) -> Tensor:
    """Convert `(..., channels, time)` to mono by averaging, or from mono by repeating.

    Raises:
        ValueError: for a conversion between two channel counts above one.
    """
    n_channels = samples.shape[-2]
    if n_channels == channels:
        return samples
    if n_channels == 1:
        return samples.expand(*samples.shape[:-2], channels, samples.shape[-1])
    if channels == 1:
        return samples.mean(dim=-2, keepdim=True)
    raise ValueError(
        f"Cannot convert {n_channels} channels to {channels}: only mono is repeated, and only a "
        f"mix to mono is averaged. Mix the audio to {channels} or 1 channel(s) first."
    )


# Channel count -> left and right share of each channel before normalisation, by ITU-R BS.775, in
# the order of wav and FFmpeg: front left and right, centre, low frequencies (left out), back.
HALF = 0.5**0.5
FRONT = [(1, 0), (0, 1)]
CENTRE, BACK, LOW = [(HALF, HALF)], [(HALF, 0), (0, HALF)], [(0, 0)]
SHARES = {
    3: FRONT + CENTRE,
    4: FRONT + BACK,
    5: FRONT + CENTRE + BACK,
    6: FRONT + CENTRE + LOW + BACK,
    7: FRONT + CENTRE + LOW + [(0.5, 0.5)] + BACK,
    8: FRONT + CENTRE + LOW + BACK + BACK,
}


def mixed_down(file: Reader) -> Reader:
    """Return a reader of a file's channels mixed down to stereo; says so with a warning.

    The shares of each side sum to 1, so the mix cannot exceed full scale. Channels of unknown
    arrangement (9 and more) are averaged.
    """
    equal = [(1.0, 1.0)] * file.channels
    shares = np.array(SHARES.get(file.channels, equal), np.float32)
    matrix = shares / shares.sum(axis=0)

    def read(length: int) -> Iterator[np.ndarray]:
        for frames in file.read(length):
            yield frames @ matrix

    warnings.warn(
        f"{file.name}: its {file.channels} channels are mixed down to 2, as many as the model has; "
        "channels='each' (--channels each) separates each of them.",
        stacklevel=2,
    )
    return dataclasses.replace(file, channels=2, read=read)
