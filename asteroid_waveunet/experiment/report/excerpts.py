"""Choice of a lively excerpt of a track, and its playback levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Excerpt", "Recording", "common_gain", "excerpt", "recordings"]

MAX_MATCHING_GAIN = 4.0  # 12 dB: nearly silent estimates are not amplified to full level
FULL_SCALE = 0.99
HOP = 0.5  # seconds between the candidates of `excerpt`


@dataclass(frozen=True)
class Excerpt:
    """An excerpt of a track.

    Attributes:
        track: the track's name.
        start: position in the track, in seconds.
        sample_rate: sample rate in Hz.
        mixture: `(channels, time)`, full scale 1.0.
        references, estimates: source -> `(channels, time)`, with the same sources and length;
            an estimate may be mono where its reference is not.
    Raises:
        ValueError: if sources or lengths differ, or samples are NaN or infinite.
    """

    track: str
    start: float
    sample_rate: int
    mixture: np.ndarray
    references: Mapping[str, np.ndarray]
    estimates: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        if not self.references or set(self.references) != set(self.estimates):
            raise ValueError(
                f"{self.track}: references are {', '.join(self.references) or 'none'} but"
                f" estimates {', '.join(self.estimates) or 'none'}; every source needs both"
            )
        for name, samples in self._named():
            if samples.ndim != 2 or samples.shape[1] != self.mixture.shape[-1] or not samples.size:
                raise ValueError(
                    f"{self.track}: {name} has shape {samples.shape}; expected (channels, time),"
                    f" as long as the mixture's {self.mixture.shape}"
                )
            if not np.isfinite(samples).all():
                raise ValueError(f"{self.track}: {name} has NaN or infinite samples")

    def _named(self) -> list[tuple[str, np.ndarray]]:
        return [
            ("the mixture", self.mixture),
            *((f"the reference of {name}", samples) for name, samples in self.references.items()),
            *((f"the estimate of {name}", samples) for name, samples in self.estimates.items()),
        ]

    @property
    def seconds(self) -> float:
        return self.mixture.shape[-1] / self.sample_rate


def excerpt(
    track_name: str,
    mixture: np.ndarray,
    references: Mapping[str, np.ndarray],
    estimates: Mapping[str, np.ndarray],
    sample_rate: int,
    seconds: float = 8.0,
) -> Excerpt:
    """Return the excerpt of a track in which most sources are active.

    The level (RMS) of each source in a candidate is divided by its highest level in any candidate.
    The candidate with the highest minimum of these relative levels is chosen; ties, as when one
    source is always silent, go to the highest mean. Sources silent throughout are ignored.

    Args:
        mixture, references, estimates: the whole track, `(channels, time)` or `(time,)`, as
            arrays or CPU tensors. See `Excerpt`.
        seconds: length of the excerpt; a shorter track is returned whole.
    Raises:
        ValueError: as `Excerpt`.

    >>> silent, plays = np.zeros((1, 80)), np.ones((1, 80))
    >>> a, b = np.hstack([plays, plays, silent]), np.hstack([silent, plays, plays])
    >>> excerpt("song", a + b, {"a": a, "b": b}, {"a": a, "b": b}, 8, seconds=10).start
    10.0
    """
    whole = Excerpt(
        track_name,
        0.0,
        sample_rate,
        _samples(mixture),
        {name: _samples(x) for name, x in references.items()},
        {name: _samples(x) for name, x in estimates.items()},
    )
    length = round(seconds * sample_rate)
    start = _most_active_start([*whole.references.values()], length, round(HOP * sample_rate))

    def cut(samples: np.ndarray) -> np.ndarray:
        return samples[:, start : start + length].copy()  # a copy, which lets the track be freed

    return Excerpt(
        track_name,
        start / sample_rate,
        sample_rate,
        cut(whole.mixture),
        {name: cut(x) for name, x in whole.references.items()},
        {name: cut(x) for name, x in whole.estimates.items()},
    )


def _samples(samples: np.ndarray) -> np.ndarray:
    return np.atleast_2d(np.asarray(samples, dtype=np.float32))


def _most_active_start(sources: Sequence[np.ndarray], length: int, hop: int) -> int:
    """Return the first sample of the excerpt that `excerpt` chooses."""
    starts = np.arange(0, max(sources[0].shape[-1] - length, 0) + 1, hop)
    levels = np.array([_levels(source, starts, length) for source in sources])
    loudest = levels.max(axis=1, keepdims=True)
    relative = (levels / np.where(loudest, loudest, 1))[loudest[:, 0] > 0]
    if not len(relative):
        return 0
    lowest, mean = relative.min(axis=0), relative.mean(axis=0)
    return int(starts[max(range(len(starts)), key=lambda i: (lowest[i], mean[i]))])


def _levels(source: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """Return the RMS of each candidate over all channels, from cumulative sums."""
    energy = np.concatenate([[0.0], np.cumsum((source.astype(np.float64) ** 2).sum(axis=0))])
    ends = np.minimum(starts + length, source.shape[-1])
    return np.sqrt(np.maximum(energy[ends] - energy[starts], 0) / length)


@dataclass(frozen=True)
class Recording:
    """One signal of an excerpt.

    Attributes:
        kind: "mixture", "truth" or "estimate".
        source: name of the source; None for the mixture.
        samples: `(channels, time)`.
        matching: gain that matches an estimate to its reference's level; 1 for the others.
    """

    kind: str
    source: str | None
    samples: np.ndarray
    matching: float = 1.0


def recordings(piece: Excerpt) -> list[Recording]:
    """Return the mixture, then each source's truth and estimate.

    >>> s = np.ones((1, 8), np.float32)
    >>> piece = Excerpt("song", 0.0, 8, s, {"voice": s}, {"voice": s / 2})
    >>> [(r.kind, r.matching) for r in recordings(piece)]
    [('mixture', 1.0), ('truth', 1.0), ('estimate', 2.0)]
    """
    rows = [Recording("mixture", None, piece.mixture)]
    for source, truth in piece.references.items():
        estimate = piece.estimates[source]
        rows.append(Recording("truth", source, truth))
        rows.append(Recording("estimate", source, estimate, _matching_gain(truth, estimate)))
    return rows


def _matching_gain(truth: np.ndarray, estimate: np.ndarray) -> float:
    """Return the ratio of RMS levels, limited to ±12 dB; 1 if either signal is silent."""
    of_truth, of_estimate = (np.sqrt(np.mean(np.square(x, dtype=float))) for x in (truth, estimate))
    if not (of_truth and of_estimate):
        return 1.0
    return float(np.clip(of_truth / of_estimate, 1 / MAX_MATCHING_GAIN, MAX_MATCHING_GAIN))


def common_gain(rows: Sequence[Recording]) -> float:
    """Return one gain, at most 1, at which no recording clips.

    This covers each recording, level-matched or not, and the sum of all estimates.
    """
    estimates = [row for row in rows if row.kind == "estimate"]
    played = [row.samples * max(row.matching, 1.0) for row in rows]
    played.append(np.asarray(sum(row.samples for row in estimates)))
    played.append(np.asarray(sum(row.samples * row.matching for row in estimates)))
    peak = max(float(np.abs(samples).max()) for samples in played)
    return min(1.0, FULL_SCALE / peak) if peak else 1.0
