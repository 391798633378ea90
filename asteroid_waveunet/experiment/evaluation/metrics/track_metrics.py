"""Metrics of one track: BSS Eval v4 by our engine or by museval, or the SDR only.

A track is cut into windows of 1 s; SDR, SIR, ISR and SAR in dB are computed for each target in
each window. Their projections, and the windows that are left out, depend on all targets that are
scored together. This set of targets is the protocol. It is stored with the scores, and scores of
different protocols are never mixed. The engines give the same scores, and say which made them.

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
from typing import Any

import numpy as np

from asteroid_waveunet._version import __version__
from asteroid_waveunet.experiment.evaluation.aggregation import METRICS
from asteroid_waveunet.experiment.evaluation.metrics import museval_engine
from asteroid_waveunet.experiment.evaluation.metrics.bss_eval_v4 import bss_eval
from asteroid_waveunet.experiment.evaluation.metrics.windows import (
    Audio,
    as_array,
    by_window,
    sdr_of_window,
    silent,
    window_sdr,
)

__all__ = ["Scores", "protocol_name", "score_track"]

Scores = dict[str, Any]  # of one track: museval's JSON format with the additions of `score_track`


def score_track(
    references: Mapping[str, Audio],
    estimates: Mapping[str, Audio],
    sample_rate: int,
    name: str,
    fast: bool = False,
    engine: str = "bss_eval",
) -> Scores:
    """Return the scores of one track in museval's JSON format, NaN for windows without a score.

    Args:
        references: target -> `(channels, time)`; two targets or more.
        estimates: of the same targets, with the same length. Mono estimates of a stereo track
            are copied to both channels, as in the paper.
        sample_rate: in Hz.
        name: name of the track, for messages and for "track" in the result.
        fast: compute the SDR only, by `window_sdr`; the other metrics are NaN.
        engine: computes all metrics: "bss_eval", this package's; or "museval" itself.
    Returns:
        `{"targets": [{"name", "frames": [{"time", "duration", "metrics": {"SDR", "SIR", "ISR",
        "SAR"}}]}], "engine"}`, targets in the order of the references, unrounded. "engine" names
        what computed them, with its version. Added are "track", "protocol" (the targets scored
        together) and "unscored": target -> reason ("silent_reference", "silent_estimate",
        "perfect") -> number of windows, and "silent_throughout", 1 if the whole estimate is silent.
    Raises:
        ValueError: if targets are missing or fewer than two, lengths differ, an estimate has more
            channels than its reference, or samples are NaN or infinite.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine={engine!r} is unknown; expected one of {', '.join(ENGINES)}")
    ref, est = _checked(references, estimates, name)
    compute, engine_name = (_sdr_only, _bss_eval_name) if fast else ENGINES[engine]
    scores, unscored = _score_windows(
        ref, est, sample_rate, lambda r, e: compute(r, e, sample_rate, [*references])
    )
    return {
        "track": name,
        "protocol": list(references),
        **_as_json(list(references), scores),
        "engine": engine_name(),
        "unscored": {
            target: {reason: int(windows[i]) for reason, windows in unscored.items()}
            for i, target in enumerate(references)
        },
    }


def _score_windows(
    ref: np.ndarray,
    est: np.ndarray,
    sample_rate: int,
    compute: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the scores `(4, n_src, n_windows)` and, for each reason, the windows without one."""
    mute = silent(est)
    # museval refuses silent estimates. Except for the windows left out, no target's score depends
    # on another target's estimate, so the reference replaces a silent one; its score is discarded.
    audible = np.where(mute[:, None, None], ref, est) if mute.any() else est
    if silent(ref).any():
        scores = _sdr_only(ref, audible, sample_rate)
    else:
        scores = compute(ref, audible)
        sdr = by_window(sdr_of_window, sample_rate, ref[mute], est[mute])
        scores[0, mute] = np.where(np.isnan(scores[0, mute]), np.nan, sdr)
        scores[1:, mute] = np.nan
    perfect = by_window(lambda r, e: (r == e).all(axis=(1, 2)), sample_rate, ref, est)
    scores[:, perfect | np.isinf(scores[0])] = np.nan
    unscored = {
        "silent_reference": by_window(silent, sample_rate, ref).sum(axis=1),
        "silent_estimate": by_window(silent, sample_rate, est).sum(axis=1) * ~mute,
        "silent_throughout": mute,
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


def _by_bss_eval(
    ref: np.ndarray, est: np.ndarray, sample_rate: int, targets: Sequence[str]
) -> np.ndarray:
    """Score `(n_src, channels, time)`: `(4, n_src, n_windows)` in the order of `METRICS`."""
    sdr, isr, sir, sar = bss_eval(ref, est, sample_rate)
    return np.stack([sdr, sir, isr, sar])


def _bss_eval_name() -> str:
    return f"asteroid-waveunet {__version__}"


ENGINES = {
    "bss_eval": (_by_bss_eval, _bss_eval_name),
    "museval": (museval_engine.evaluate, museval_engine.name),
}


def _sdr_only(
    ref: np.ndarray, est: np.ndarray, sample_rate: int, targets: Sequence[str] = ()
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
    }


def _checked(
    references: Mapping[str, Audio], estimates: Mapping[str, Audio], name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Check references and estimates and stack them: `(n_src, channels, time)`."""
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
    return np.stack(ref), np.stack(copied)
