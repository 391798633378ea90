"""Tempo and pitch of cut music, each without the other, by Signalsmith Stretch."""

from __future__ import annotations

import numpy as np

__all__ = ["stretch"]


def stretch(samples: np.ndarray, sample_rate: int, tempo: float, pitch: float) -> np.ndarray:
    """Music at another tempo and pitch, the same each time it is asked for.

    Args:
        samples: `(channels, time)` float32.
        sample_rate: in Hz.
        tempo: how many times as fast, > 0: `round(time / tempo)` samples come of it, and what
            was at sample n is at n / tempo.
        pitch: by how many semitones higher.
    """
    from python_stretch import Signalsmith

    stretcher = Signalsmith.Stretch(0)  # seeded: its phases are random
    stretcher.preset(len(samples), sample_rate)
    stretcher.setTimeFactor(tempo)
    stretcher.setTransposeSemitones(pitch)
    return np.asarray(stretcher.process(np.ascontiguousarray(samples)))
