"""SDR of the validation tracks, window by window, while they pass by in segments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from asteroid_waveunet.experiment.evaluation.bss_eval import as_array, window_sdr
from asteroid_waveunet.experiment.segments.dataset import Segments
from asteroid_waveunet.experiment.training import distributed

__all__ = ["ValidationSDR"]


class ValidationSDR:
    """The medians over all windows of all tracks, as evaluation has them, during training.

    What differs from evaluation: tracks are at the model's rate and channels; estimates are those
    of the segments, joined as the reference joins them; and what is in no source of the model is
    not among the references, so that its silence costs no window.

    Args:
        segments: that are walked through in order (`random=False`).
        walk: which of them this process sees, whole tracks in order; all of them if None. Where
            several processes share them, `medians` are those of all.

        tracks     |------- track 0 -------|--- track 1 ---| ...
        segments   |-----|-----|-----|-----|-----|-----|...         the last of a track is padded
        windows    |--|--|--|--|--|--|--|--|--|--|--|--|...         1 s each, none across tracks
    """

    def __init__(self, segments: Segments, walk: Sequence[int] | None = None) -> None:
        self.segments = segments
        self.walk = range(len(segments)) if walk is None else walk
        self.restart()

    def restart(self) -> None:
        """Back to the first segment."""
        self._next = 0
        self._held = np.empty((2, 0))  # references and estimates that make no whole window yet
        self._found: list[np.ndarray] = []

    def feed(self, references: Tensor, estimates: Tensor) -> None:
        """The next segments: `(batch, n_src, channels, time)`, or `(batch, n_src, time)`, twice."""
        for pair in zip(as_array(references), as_array(estimates), strict=True):
            number, start = self.segments.locate(self.walk[self._next])
            self._next += 1
            track = self.segments.tracks[number]
            new = np.stack(pair).reshape(2, track.n_src, track.channels, -1)
            new = new[..., : track.length - start]
            held = new if start == 0 else np.concatenate([self._held, new], axis=-1)
            # A track's last window is left out if it is shorter, unless it is the only one.
            whole = held.shape[-1] // track.sample_rate * track.sample_rate
            if track.length < track.sample_rate and start + new.shape[-1] == track.length:
                whole = held.shape[-1]
            if whole:
                self._found.append(
                    window_sdr(held[0, ..., :whole], held[1, ..., :whole], track.sample_rate)
                )
            self._held = held[..., whole:]

    def medians(self) -> np.ndarray:
        """`(n_src,)` in dB, NaN where no window has a score."""
        n_src = self.segments.tracks[0].n_src
        found = np.concatenate([np.empty((n_src, 0)), *distributed.gathered(self._found)], axis=1)
        scored = [sdr[~np.isnan(sdr)] for sdr in found]
        return np.array([np.median(sdr) if len(sdr) else np.nan for sdr in scored])
