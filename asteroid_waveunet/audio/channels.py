"""Mix surround sound down to stereo."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator

import numpy as np

from asteroid_waveunet.audio.reader import Reader

__all__ = ["mixed_down"]

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
