"""Paired comparison of two sets of scores, track by track.

Tracks differ far more than systems do: with 50 tracks, a median alone is known to about 1 dB. So
each track is compared with itself, and the confidence interval is that of the difference. Pairs
share the window, the track, the target and the protocol.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asteroid_waveunet.experiment.data.musdb import SUBSETS
from asteroid_waveunet.experiment.evaluation.aggregation import windows
from asteroid_waveunet.experiment.evaluation.formatting import count, markdown, number
from asteroid_waveunet.experiment.evaluation.metrics.track_metrics import protocol_name
from asteroid_waveunet.file_utils import nfc

__all__ = ["Comparison", "compare", "load", "table", "unmatched"]

RESAMPLES = 10000
LEVEL = 0.95
ROUNDING = 1e-6  # dB; museval's files have 5 decimals

Target = tuple[tuple[str, ...], str]  # (sorted targets scored together, one of them)


@dataclass(frozen=True)
class Comparison:
    """Two systems' figures of one target, on the tracks and windows scored in both.

    Attributes:
        protocol: the targets that were scored together.
        target: one of them.
        n_tracks, n_windows: tracks and windows scored in both.
        n_nan: windows of the shared tracks without a score in one or both.
        pooled, by_track: each system's median over all windows, and median of the tracks' medians.
        pooled_difference, by_track_difference: second minus first in dB, with the ends of the 95 %
            bootstrap interval.
        n_better: tracks with a higher median in the second.
    """

    protocol: tuple[str, ...]
    target: str
    n_tracks: int
    n_windows: int
    n_nan: int
    pooled: tuple[float, float]
    by_track: tuple[float, float]
    pooled_difference: tuple[float, float, float]
    by_track_difference: tuple[float, float, float]
    n_better: int


def load(folder: str | os.PathLike) -> dict[str, dict[str, Any]]:
    """Read a folder of scores, one JSON file per track in museval's format: track -> scores.

    The files are in `folder/test`, `folder/train` or `folder` itself: the output of `waveunet
    evaluate` or museval, or a submission to SiSEC 2018.

    Raises:
        FileNotFoundError: if there are no scores.
        ValueError: if a file has another format, or both subsets have scores.
    """
    root = Path(folder)
    subsets = [files for name in SUBSETS if (files := sorted((root / name).glob("[!.]*.json")))]
    if len(subsets) > 1:
        raise ValueError(
            f"{root} holds scores of {' and '.join(SUBSETS)}; name one of its folders."
        )
    files = subsets[0] if subsets else sorted(root.glob("[!.]*.json"))
    read = {file.name.removesuffix(".json"): _read(file) for file in files}
    scores = {name: found for name, found in read.items() if found is not None}
    if len({*map(nfc, scores)}) == len(scores):  # so that other systems' names match
        scores = {nfc(name): found for name, found in scores.items()}
    if not scores:
        raise FileNotFoundError(
            f"There are no scores in {root}; expected a JSON file per track, in museval's format, "
            f"in {root}/test or {root} itself."
        )
    return scores


def _read(file: Path) -> dict[str, Any] | None:
    """Read the scores of a file; None if it is a JSON file of another kind."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if "targets" not in content:
            return None
        for target in content["targets"]:
            windows(target, "SDR")
            str(target["name"])
        if not content["targets"]:
            raise ValueError("no targets")
        return content
    except (ValueError, KeyError, TypeError) as reason:
        raise ValueError(f"{file} is not in museval's format ({reason!r}).") from reason


def targets_of(scores: Mapping[str, Any]) -> dict[Target, Mapping[str, Any]]:
    """Return the targets of one track, keyed by protocol and name.

    `museval.eval_mus_track` writes four sources and the accompaniment to one file; its vocals are
    those of the two-source protocol.

    >>> file = {"targets": [{"name": n} for n in ("drums", "bass", "vocals", "accompaniment")]}
    >>> for protocol, target in targets_of(file): print(target, "of", ", ".join(protocol))
    drums of bass, drums, vocals
    bass of bass, drums, vocals
    vocals of accompaniment, vocals
    accompaniment of accompaniment, vocals
    """
    named = {target["name"]: target for target in scores["targets"]}
    pair = ("accompaniment", "vocals")
    together = tuple(sorted(scores.get("protocol", named)))
    if "protocol" in scores or not set(pair) < set(named):
        return {(together, name): target for name, target in named.items()}
    others = tuple(name for name in together if name != "accompaniment")
    return {(pair if name in pair else others, name): t for name, t in named.items()}


def compare(
    first: Mapping[str, Mapping[str, Any]],
    second: Mapping[str, Mapping[str, Any]],
    metric: str = "SDR",
    seed: int = 0,
) -> list[Comparison]:
    """Compare two systems' scores from `load`, in pairs.

    The intervals are percentiles of 10 000 bootstrap samples of tracks, which keep the two
    systems' scores of a track together.

    Raises:
        ValueError: if they share no track, or no target of the same protocol.
    """
    names = [name for name in first if name in second]
    if not names:
        raise ValueError(
            f"The two have no track in common: the first has {_some(first)}, the second "
            f"{_some(second)}."
        )
    pairs = {name: (targets_of(first[name]), targets_of(second[name])) for name in names}
    shared = _shared_targets(pairs)
    if not shared:
        raise ValueError(
            "The two were scored with different protocols: "
            + "; ".join(_protocols(side, pairs) for side in (0, 1))
            + ". Scores of different protocols cannot be compared."
        )
    return [_compare_target(key, pairs, metric, seed) for key in shared]


def unmatched(
    first: Mapping[str, Mapping[str, Any]], second: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Describe the tracks and targets that only one of two systems has.

    >>> unmatched({"a": {"targets": []}, "b": {"targets": []}}, {"b": {"targets": []}})
    ['1 track only in the first: a']
    """
    pairs = {
        name: (targets_of(first[name]), targets_of(second[name]))
        for name in first
        if name in second
    }
    shared = _shared_targets(pairs)
    result = []
    for side, name in enumerate(("first", "second")):
        mine, others = ((first, second), (second, first))[side]
        only = {track: None for track in mine if track not in others}
        if only:
            result.append(f"{count(len(only), 'track')} only in the {name}: {_some(only)}")
        extra = {key: None for pair in pairs.values() for key in pair[side] if key not in shared}
        result += [f"only in the {name}: {target} of {protocol_name(p)}" for p, target in extra]
    return result


Pair = tuple[Mapping[Target, Mapping[str, Any]], Mapping[Target, Mapping[str, Any]]]


def _shared_targets(pairs: Mapping[str, Pair]) -> list[Target]:
    """Return the targets that both systems have for every track."""
    sides = [side for pair in pairs.values() for side in pair]
    return [key for key in sides[0] if all(key in side for side in sides)] if sides else []


def _compare_target(key: Target, pairs: Mapping[str, Pair], metric: str, seed: int) -> Comparison:
    tracks, n_nan = [], 0
    for name, (a, b) in pairs.items():
        one, other = _windows(a[key], metric, name), _windows(b[key], metric, name)
        if len(one) != len(other):
            raise ValueError(
                f"{name} has {len(one)} windows in the first and {len(other)} in the second; were "
                "they scored on the same audio?"
            )
        both = np.isfinite(one) & np.isfinite(other)
        n_nan += int((~both).sum())
        if both.any():
            tracks.append(np.stack([one[both], other[both]]))
    if not tracks:
        raise ValueError(
            f"No window has the {metric} of {key[1]} in both; scores with `--fast` are SDR only."
        )
    medians = np.array([np.median(track, axis=1) for track in tracks])  # (n_tracks, 2)
    pooled, by_track = _pooled(tracks), np.median(medians, axis=0)
    resampled = np.random.default_rng(seed).integers(len(tracks), size=(RESAMPLES, len(tracks)))
    pooled_samples = [_pooled([tracks[i] for i in indices]) for indices in resampled]
    return Comparison(
        protocol=key[0],
        target=key[1],
        n_tracks=len(tracks),
        n_windows=sum(track.shape[1] for track in tracks),
        n_nan=n_nan,
        pooled=_pair(pooled),
        by_track=_pair(by_track),
        pooled_difference=_with_interval(pooled, pooled_samples),
        by_track_difference=_with_interval(by_track, np.median(medians[resampled], axis=1)),
        n_better=int((medians[:, 1] - medians[:, 0] > ROUNDING).sum()),
    )


def _windows(target: Mapping[str, Any], metric: str, track: str) -> np.ndarray:
    try:
        return windows(target, metric)
    except KeyError as reason:
        raise ValueError(f"{track} has no {metric} of {target['name']}.") from reason


def _pooled(tracks: Sequence[np.ndarray]) -> np.ndarray:
    return np.median(np.concatenate(tracks, axis=1), axis=1)


def _pair(values: np.ndarray) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _with_interval(found: np.ndarray, drawn: Any) -> tuple[float, float, float]:
    """Return the difference of two figures and the ends of its bootstrap interval."""
    differences = np.diff(np.asarray(drawn), axis=1)
    low, high = np.quantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(found[1] - found[0]), float(low), float(high)


def _some(scores: Mapping[str, Any], most: int = 3) -> str:
    names = sorted(scores)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if names[most:] else "")


def _protocols(side: int, pairs: Mapping[str, Pair]) -> str:
    found = {protocol for pair in pairs.values() for protocol, _ in pair[side]}
    listed = " and ".join(protocol_name(protocol) for protocol in sorted(found))
    return f"the {('first', 'second')[side]} is {listed}"


def table(found: Sequence[Comparison], names: tuple[str, str], metric: str = "SDR") -> str:
    """Return a Markdown table with a row per target, and its legend."""
    headings = ["target", "tracks", "windows", "NaN"]
    for kind in ("pooled", "by track"):
        headings += [f"{name}, {kind}" for name in names] + [f"difference, {kind}"]
    headings.append(f"tracks with {names[1]} higher")
    rows = []
    for one in found:
        cells = [one.target, *map(str, (one.n_tracks, one.n_windows, one.n_nan))]
        for figures, difference in (
            (one.pooled, one.pooled_difference),
            (one.by_track, one.by_track_difference),
        ):
            middle, low, high = difference
            cells += [number(figure) for figure in figures]
            cells.append(f"{middle:+.2f} ({low:+.2f} to {high:+.2f})")
        rows.append([*cells, f"{one.n_better} of {one.n_tracks}"])
    protocols = sorted({protocol_name(one.protocol) for one in found})
    return markdown(headings, rows) + (
        f"\n{metric} in dB, {' and '.join(protocols)}. Pooled: medians over all windows; by track: "
        "medians of the tracks' medians; on windows with a score in both. NaN: windows without a "
        f"score in one or both. Difference: {names[1]} minus {names[0]}, with the 95 % interval of "
        f"{RESAMPLES} bootstrap samples of tracks; if it contains 0, these tracks do not tell "
        "which is better.\n"
    )
