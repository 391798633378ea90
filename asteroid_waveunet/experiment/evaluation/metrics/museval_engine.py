"""museval itself: the reference of what the other engine computes, and the slow way to it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

__all__ = ["evaluate", "museval", "name"]

# museval's order of the targets, in which it solves its linear systems: rounding depends on it.
ORDER = ("drums", "bass", "other", "vocals", "accompaniment")


def museval() -> Any:
    """Import museval, which needs ffmpeg in the PATH."""
    from asteroid_waveunet.experiment.data.ffmpeg import find_ffmpeg

    find_ffmpeg()
    # museval 0.4.1 catches np.linalg.linalg.LinAlgError, which numpy 2.4 has removed.
    vars(np.linalg).setdefault("linalg", np.linalg)
    import museval

    return museval


def name() -> str:
    """Return the name and version for scores made by museval."""
    return f"museval {version('museval')}"


def evaluate(
    ref: np.ndarray, est: np.ndarray, sample_rate: int, targets: Sequence[str]
) -> np.ndarray:
    """Score `(n_src, channels, time)`: SDR, SIR, ISR and SAR, `(4, n_src, n_windows)`."""
    rank = {target: i for i, target in enumerate(ORDER)}
    order = sorted(range(len(ref)), key=lambda i: rank.get(targets[i], len(ORDER)))
    sdr, isr, sir, sar = museval().evaluate(
        ref[order].transpose(0, 2, 1),
        est[order].transpose(0, 2, 1),
        win=sample_rate,
        hop=sample_rate,
    )
    return np.stack([sdr, sir, isr, sar])[:, np.argsort(order)]
