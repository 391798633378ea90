"""Metrics of one track: museval's (BSS Eval v4), or its SDR only, which is much faster.

museval cuts a track into windows of 1 s and computes SDR, SIR, ISR and SAR in dB for each target
in each window. Its projections, and the windows it leaves out, depend on all targets that are
scored together. This set of targets is the protocol. It is stored with the scores, and scores of
different protocols are never mixed.

A window without a score is NaN: for all targets if any reference or any estimate is silent, and
for one target if its estimate equals its reference (museval gives +inf, NaN in its files, or some
300 dB by rounding). museval refuses whole tracks with a silent target. Here:
- a silent reference makes every window of the track NaN, as it would each single window;
- an estimate that is silent throughout gets the SDR only, 0 dB for zeros, in every window that
  the other targets have a score of. The other targets' scores do not depend on it.
Like museval, "silent" means that the channels sum to zero at every sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from asteroid_waveunet.experiment.data.ffmpeg import find_ffmpeg
from asteroid_waveunet.experiment.evaluation.aggregation import METRICS

__all__ = ["Audio", "Scores", "protocol_name", "score_track", "window_sdr"]

Audio = torch.Tensor | np.ndarray
Scores = dict[str, Any]  # of one track: museval's JSON format with the additions of `score_track`

# museval's order of the targets, in which it solves its linear systems: rounding depends on it.
ORDER = ("drums", "bass", "other", "vocals", "accompaniment")


def window_sdr(references: Audio, estimates: Audio, sample_rate: int) -> np.ndarray:
    """Return museval's SDR of each window, hundreds of times faster than all of its metrics.

        SDR = 10 log10(sum s^2 / sum (s - e)^2)        sums over a window's samples and channels

    Windows are one second long; a shorter last window is left out unless it is the only one.
    A perfect window is +inf. A window in which any reference or any estimate is silent (the
    channels sum to zero at every sample, museval's rule) is NaN for all sources.

    Args:
        references, estimates: `(n_src, channels, time)`.
        sample_rate: in Hz.
    Returns:
        `(n_src, n_windows)` float64, in dB.
    Raises:
        ValueError: if the shapes differ, are not three-dimensional, or are empty.

    >>> s = np.ones((1, 2, 16))
    >>> window_sdr(s, 0.9 * s, sample_rate=8).round(6)
    array([[20., 20.]])
    """
    s, e = as_array(references), as_array(estimates)
    if s.shape != e.shape or s.ndim != 3 or not s.size:
        raise ValueError(
            f"references {s.shape} and estimates {e.shape} must have the same shape"
            " (n_src, channels, time)"
        )
    result = np.full((len(s), _n_windows(s, sample_rate)), np.nan)
    for t in range(result.shape[-1]):
        s_t, e_t = (_window(x, t, sample_rate).astype(np.float64) for x in (s, e))
        if not (_silent(s_t).any() or _silent(e_t).any()):
            result[:, t] = _sdr_of_window(s_t, e_t)
    return result


def score_track(
    references: Mapping[str, Audio],
    estimates: Mapping[str, Audio],
    sample_rate: int,
    name: str,
    fast: bool = False,
) -> Scores:
    """Return museval's scores of one track in its JSON format, NaN for windows without a score.

    Args:
        references: target -> `(channels, time)`; two targets or more.
        estimates: of the same targets, with the same length. Mono estimates of a stereo track
            are copied to both channels, as in the paper.
        sample_rate: in Hz.
        name: name of the track, for messages and for "track" in the result.
        fast: compute the SDR only, by `window_sdr`; the other metrics are NaN.
    Returns:
        `{"targets": [{"name", "frames": [{"time", "duration", "metrics": {"SDR", "SIR", "ISR",
        "SAR"}}]}], "museval_version"}`, targets in the order of the references, unrounded. Added
        are "track", "protocol" (the targets scored together) and "unscored": target -> reason
        ("silent_reference", "silent_estimate", "perfect") -> number of windows, and
        "silent_throughout", 1 if the whole estimate is silent.
    Raises:
        ValueError: if targets are missing or fewer than two, lengths differ, an estimate has more
            channels than its reference, or samples are NaN or infinite.
    """
    ref, est = _checked(references, estimates, name)
    scores, unscored = _score_windows(ref, est, sample_rate, [*references], fast)
    return {
        "track": name,
        "protocol": list(references),
        **_as_json(list(references), scores),
        "unscored": {
            target: {reason: int(windows[i]) for reason, windows in unscored.items()}
            for i, target in enumerate(references)
        },
    }


def _score_windows(
    ref: np.ndarray, est: np.ndarray, sample_rate: int, targets: Sequence[str], fast: bool
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the scores `(4, n_src, n_windows)` and, for each reason, the windows without one."""
    silent = _silent(est)
    # museval refuses silent estimates. Except for the windows left out, no target's score depends
    # on another target's estimate, so the reference replaces a silent one; its score is discarded.
    audible = np.where(silent[:, None, None], ref, est) if silent.any() else est
    if _silent(ref).any():
        scores = np.full((len(METRICS), len(ref), _n_windows(ref, sample_rate)), np.nan)
    else:
        scores = (_sdr_only if fast else _by_museval)(ref, audible, sample_rate, targets)
        sdr = _by_window(_sdr_of_window, sample_rate, ref[silent], est[silent])
        scores[0, silent] = np.where(np.isnan(scores[0, silent]), np.nan, sdr)
        scores[1:, silent] = np.nan
    perfect = _by_window(lambda r, e: (r == e).all(axis=(1, 2)), sample_rate, ref, est)
    scores[:, perfect | np.isinf(scores[0])] = np.nan
    unscored = {
        "silent_reference": _by_window(_silent, sample_rate, ref).sum(axis=1),
        "silent_estimate": _by_window(_silent, sample_rate, est).sum(axis=1) * ~silent,
        "silent_throughout": silent,
        "perfect": perfect.sum(axis=1),
    }
    return scores, unscored


PROTOCOLS = {
    frozenset(("accompaniment", "vocals")): "two-source",
    frozenset(("bass", "drums", "other", "vocals")): "four-source",
}


def protocol_name(targets: Sequence[str]) -> str:
    """Return the name of a set of targets that are scored together.

    >>> protocol_name(["vocals", "accompaniment"])
    'two-source (vocals, accompaniment)'
    """
    name = PROTOCOLS.get(frozenset(targets), f"{len(targets)}-source")
    return f"{name} ({', '.join(targets)})"


def _by_museval(
    ref: np.ndarray, est: np.ndarray, sample_rate: int, targets: Sequence[str]
) -> np.ndarray:
    """Score `(n_src, channels, time)`: `(4, n_src, n_windows)` in the order of `METRICS`."""
    rank = {target: i for i, target in enumerate(ORDER)}
    order = sorted(range(len(ref)), key=lambda i: rank.get(targets[i], len(ORDER)))
    sdr, isr, sir, sar = museval().evaluate(
        ref[order].transpose(0, 2, 1),
        est[order].transpose(0, 2, 1),
        win=sample_rate,
        hop=sample_rate,
    )
    scores = np.stack([sdr, sir, isr, sar])
    return scores[:, np.argsort(order)]


def _sdr_only(
    ref: np.ndarray, est: np.ndarray, sample_rate: int, targets: Sequence[str]
) -> np.ndarray:
    sdr = window_sdr(ref, est, sample_rate)
    return np.stack([sdr] + [np.full_like(sdr, np.nan)] * (len(METRICS) - 1))


def _as_json(targets: Sequence[str], scores: np.ndarray) -> Scores:
    """Return museval's format, unrounded: its own writer rounds to 5 decimals."""
    return {
        "targets": [
            {
                "name": target,
                "frames": [
                    {
                        "time": float(t),
                        "duration": 1.0,
                        "metrics": dict(zip(METRICS, scores[:, i, t].tolist(), strict=True)),
                    }
                    for t in range(scores.shape[-1])
                ],
            }
            for i, target in enumerate(targets)
        ],
        "museval_version": version("museval"),
    }


def museval() -> Any:
    """Import museval, which needs ffmpeg in the PATH."""
    find_ffmpeg()
    # museval 0.4.1 catches np.linalg.linalg.LinAlgError, which numpy 2.4 has removed.
    vars(np.linalg).setdefault("linalg", np.linalg)
    import museval

    return museval


def as_array(samples: Audio) -> np.ndarray:
    """Convert samples to a numpy array; bfloat16 and float16 become float32."""
    if isinstance(samples, torch.Tensor):
        samples = samples.detach().cpu()
        samples = samples.float() if samples.dtype in (torch.bfloat16, torch.float16) else samples
        return samples.numpy()
    return np.asarray(samples)


def _n_windows(samples: np.ndarray, sample_rate: int) -> int:
    return max(samples.shape[-1] // sample_rate, 1)


def _window(samples: np.ndarray, t: int, sample_rate: int) -> np.ndarray:
    return samples[..., t * sample_rate : (t + 1) * sample_rate]


def _energies(samples: np.ndarray) -> np.ndarray:
    return np.einsum("sct,sct->s", samples, samples)


def _sdr_of_window(reference: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return 10 * np.log10(_energies(reference) / _energies(reference - estimate))


def _silent(sources: np.ndarray) -> np.ndarray:
    """Apply museval's rule of silence, `(n_src, channels, time)` -> bool `(n_src,)`."""
    return (sources.sum(axis=1) == 0).all(axis=-1)


def _by_window(
    function: Callable[..., np.ndarray], sample_rate: int, *samples: np.ndarray
) -> np.ndarray:
    """Apply a function of `(n_src, channels, 1 s)` to each window: `(n_src, n_windows)`."""
    windows = range(_n_windows(samples[0], sample_rate))
    results = [function(*(_window(x, t, sample_rate) for x in samples)) for t in windows]
    return np.stack(results, axis=1)


def _checked(
    references: Mapping[str, Audio], estimates: Mapping[str, Audio], name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Check references and estimates and stack them: `(n_src, channels, time)` float64."""
    if len(references) < 2:
        raise ValueError(
            f"{name}: museval needs two targets or more, got {list(references)}; score a single"
            " source together with the rest of the mixture"
        )
    if set(references) != set(estimates):
        raise ValueError(
            f"{name}: references are {', '.join(references)} but estimates"
            f" {', '.join(estimates) or 'none'}; every target needs both"
        )
    ref = [np.atleast_2d(as_array(references[target])) for target in references]
    est = [np.atleast_2d(as_array(estimates[target])) for target in references]
    for target, r, e in zip(references, ref, est, strict=True):
        if (
            r.shape != ref[0].shape
            or e.shape[0] not in (1, r.shape[0])
            or e.shape[1:] != r.shape[1:]
        ):
            raise ValueError(
                f"{name}: the estimate of {target} has (channels, time) {e.shape} and its reference"
                f" {r.shape}; expected {ref[0].shape} for both, or 1 channel for the estimate"
            )
        for kind, samples in (("reference", r), ("estimate", e)):
            if not np.isfinite(samples).all():
                raise ValueError(f"{name}: the {kind} of {target} has NaN or infinite samples")
    copied = [np.broadcast_to(e, r.shape) for r, e in zip(ref, est, strict=True)]
    return np.stack(ref).astype(np.float64), np.stack(copied).astype(np.float64)
