"""SDR of the validation tracks, computed window by window from their segments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from asteroid_waveunet.experiment.evaluation.metrics.windows import as_array, window_sdr
from asteroid_waveunet.experiment.segments.dataset import Segments
from asteroid_waveunet.experiment.training import distributed

__all__ = ["ValidationSDR"]


class ValidationSDR:
    """Median SDR over all windows of all tracks, computed during training as in evaluation.

    Differences from evaluation: tracks have the model's sample rate and channels; estimates are
    joined segments, as in the reference implementation; audio outside the model's sources is not a
    reference, so its silence excludes no window.

    Args:
        segments: validation segments in order (`random=False`).
        indices: segments of this process, whole tracks in order; all if None. `medians` are those
            of all processes.

        tracks     |------- track 0 -------|--- track 1 ---| ...
        segments   |-----|-----|-----|-----|-----|-----|...         a track's last one is padded
        windows    |--|--|--|--|--|--|--|--|--|--|--|--|...         1 s each, none across tracks
    """

    def __init__(self, segments: Segments, indices: Sequence[int] | None = None) -> None:
        self.segments = segments
        self.indices = range(len(segments)) if indices is None else indices
        self.reset()

    def reset(self) -> None:
        """Return to the first segment."""
        self._next = 0
        self._partial_window = np.empty((2, 0))  # references and estimates
        self._scores: list[np.ndarray] = []

    def update(self, references: Tensor, estimates: Tensor) -> None:
        """Score the next segments: `(batch, n_src, channels, time)` or `(batch, n_src, time)`."""
        for pair in zip(as_array(references), as_array(estimates), strict=True):
            number, start = self.segments.locate(self.indices[self._next])
            self._next += 1
            track = self.segments.tracks[number]
            new = np.stack(pair).reshape(2, track.n_src, track.channels, -1)
            new = new[..., : track.length - start]
            samples = new if start == 0 else np.concatenate([self._partial_window, new], axis=-1)
            # A track's last window is dropped if it is shorter, unless it is the only one.
            whole = samples.shape[-1] // track.sample_rate * track.sample_rate
            if track.length < track.sample_rate and start + new.shape[-1] == track.length:
                whole = samples.shape[-1]
            if whole:
                self._scores.append(
                    window_sdr(samples[0, ..., :whole], samples[1, ..., :whole], track.sample_rate)
                )
            self._partial_window = samples[..., whole:]

    def medians(self) -> np.ndarray:
        """Return `(n_src,)` in dB, NaN for a source without any score."""
        n_src = self.segments.tracks[0].n_src
        scores = np.concatenate(
            [np.empty((n_src, 0)), *distributed.all_gather(self._scores)], axis=1
        )
        scored = [sdr[~np.isnan(sdr)] for sdr in scores]
        return np.array([np.median(sdr) if len(sdr) else np.nan for sdr in scored])
