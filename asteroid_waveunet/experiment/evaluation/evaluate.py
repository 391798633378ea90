"""Evaluation of a model or a folder of estimates on a data set, with baselines and a table."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from asteroid_waveunet.experiment.data.track import Track
from asteroid_waveunet.experiment.evaluation.aggregation import (
    LEGEND,
    Summary,
    nan_to_none,
    remarks,
    summarise,
    table,
)
from asteroid_waveunet.experiment.evaluation.estimators import (
    Estimator,
    IdealRatioMask,
    Mixture,
)
from asteroid_waveunet.experiment.evaluation.formatting import count
from asteroid_waveunet.experiment.evaluation.metrics.track_metrics import Scores, protocol_name
from asteroid_waveunet.experiment.evaluation.paired_comparison import load
from asteroid_waveunet.experiment.evaluation.score_store import ScoreStore
from asteroid_waveunet.experiment.evaluation.scoring import score_tracks
from asteroid_waveunet.file_utils import replacing

__all__ = ["BASELINES", "Evaluation", "evaluate", "read", "scored_at"]

# Scored by their SDR only. Silence would have 0 dB in every window with a score.
BASELINES: dict[str, Estimator] = {"mixture": Mixture(), "ideal ratio mask": IdealRatioMask()}

SUMMARY, TABLE = "summary.json", "scores.md"


@dataclass(frozen=True)
class Evaluation:
    """Scores of estimates, and of the baselines on the same tracks.

    Attributes:
        title: names the estimates and the data.
        fingerprint: identifies the estimates and the data.
        name: name of the estimates in the table.
        targets: scored together.
        fast: the scores are the SDR only.
        scores: scores of each track from `score_track`.
        baselines: name -> scores of each track, SDR only.
        failures: track without scores -> reason.
        subset: "test" or "train", of all tracks.
    """

    title: str
    fingerprint: str
    name: str
    targets: tuple[str, ...]
    fast: bool
    scores: Sequence[Scores]
    baselines: Mapping[str, Sequence[Scores]]
    failures: Mapping[str, str]
    subset: str = "test"

    @property
    def protocol(self) -> str:
        """Metric, window length, targets and number of tracks in one line."""
        targets = self.scores[0]["protocol"]
        metric = "SDR of BSS Eval v4" if self.fast else "BSS Eval v4"
        tracks = count(len(self.scores), "track")
        return f"{metric}, windows of 1 s, {protocol_name(targets)}, {tracks}"

    @property
    def engines(self) -> list[str]:
        """Names of the engines that computed the scores; a run may resume with another one."""
        earlier = "museval"  # before there was another engine
        return sorted({scores.get("engine", earlier) for scores in self.scores})

    @property
    def summaries(self) -> dict[str, Summary]:
        """Name of the estimates or of a baseline -> result of `summarise`."""
        systems = {self.name: self.scores, **self.baselines}
        return {name: summarise(scores) for name, scores in systems.items()}

    @property
    def remarks(self) -> list[str]:
        """Remarks on the scores: failed tracks, windows without a score, faulty tracks."""
        failed = [f"not scored: {name}: {reason}" for name, reason in self.failures.items()]
        return [*failed, *remarks(self.scores)]

    @property
    def failure_message(self) -> str:
        """The failed tracks with their reasons; empty if there are none."""
        n_tracks = len(self.scores) + len(self.failures)
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in self.failures.items())
        return reasons and (
            f"{len(self.failures)} of {count(n_tracks, 'track')} could not be scored; the "
            f"figures leave them out. Run the same command again to retry them:{reasons}"
        )

    def as_text(self) -> str:
        """Return the figures and the remarks in Markdown."""
        remarks = "".join(f"- {remark}\n" for remark in self.remarks)
        figures = f"{table(self.summaries)}\n{LEGEND}\n"
        return f"{self.title}: {self.protocol}.\n\n{figures}" + (remarks and f"\n{remarks}")

    def as_json(self) -> str:
        """Return the figures in JSON."""
        result = {
            "title": self.title,
            "fingerprint": self.fingerprint,
            "protocol": self.protocol,
            "targets": list(self.targets),
            "fast": self.fast,
            "engines": self.engines,
            "subset": self.subset,
            "tracks": len(self.scores),
            "systems": {name: nan_to_none(summary) for name, summary in self.summaries.items()},
            "remarks": self.remarks,
            "failures": dict(self.failures),
        }
        return json.dumps(result, indent=1)

    @property
    def digest(self) -> str:
        """A digest of the scores of all windows."""
        content = [self.as_json(), self.scores, self.baselines, version("asteroid-waveunet")]
        return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def evaluate(
    tracks: Sequence[Track],
    estimator: Estimator,
    targets: Sequence[str],
    out: str | os.PathLike,
    *,
    title: str,
    fingerprint: str,
    name: str = "model",
    fast: bool = False,
    engine: str = "bss_eval",
    save: Path | None = None,
    **options: Any,
) -> Evaluation:
    """Score estimates and the baselines; write `summary.json` and `scores.md` to `out`.

    An interrupted run resumes: each track has a JSON file in `out/<subset>`, and those of the
    baselines are in `out/baselines/<name>/<subset>`. Tracks that fail are in `failures`.

    Args:
        tracks, targets: see `scoring.score_tracks`.
        estimator, out, fast, engine, save: see `ScoreStore`.
        title, fingerprint, name: see `Evaluation`.
        options: `jobs`, `memory`, `progress`, `cluster` of `scoring.score_tracks`.
    Raises:
        ValueError: for the reasons of `scoring.score_tracks`, or if no track could be scored.
    """
    out = Path(out)
    stores = {name: ScoreStore(estimator, out, fast, save, engine)} | {
        baseline: ScoreStore(oracle, out / "baselines" / baseline, fast=True)
        for baseline, oracle in BASELINES.items()
    }
    scored = score_tracks(tracks, stores, targets, fingerprint=fingerprint, **options)
    scores = dict(scored.scores)
    if not scores[name]:
        reasons = "".join(f"\n  {track}: {reason}" for track, reason in scored.failures.items())
        raise ValueError(f"None of {count(len(tracks), 'track')} could be scored:{reasons}")
    result = Evaluation(
        title,
        fingerprint,
        name,
        tuple(targets),
        fast,
        scores.pop(name),
        scores,
        scored.failures,
        tracks[0].subset,
    )
    for file, text in ((SUMMARY, result.as_json()), (TABLE, result.as_text())):
        with replacing(out / file) as partial:
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")
    return result


def read(out: str | os.PathLike, fingerprint: str) -> Evaluation:
    """Read the evaluation of test tracks in a folder, written by `evaluate`.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if its fingerprint differs, or scores of some tracks are missing.
    """
    out = Path(out)
    if not (out / SUMMARY).is_file():
        raise FileNotFoundError(f"There is no {out / SUMMARY}; score the model first (stage 3).")
    result = json.loads((out / SUMMARY).read_text(encoding="utf-8"))
    if result["fingerprint"] != fingerprint:
        raise ValueError(
            f"{out} holds scores of another model, data set or way of separating "
            f"({result['fingerprint']}, not {fingerprint}); delete it, and score again (stage 3)."
        )
    name, *baselines = result["systems"]
    folders = {name: out} | {title: out / "baselines" / title for title in baselines}
    subset = result.get("subset", "test")  # earlier versions scored no other
    scores = {title: [*load(folder / subset).values()] for title, folder in folders.items()}
    incomplete = [title for title, tracks in scores.items() if len(tracks) != result["tracks"]]
    if incomplete or result["failures"]:
        missing = ", ".join([*result["failures"], *incomplete])
        raise ValueError(
            f"{out} lacks scores of some of its {result['tracks']} tracks ({missing}); run stage 3 "
            "(evaluate) again."
        )
    return Evaluation(
        result["title"],
        fingerprint,
        name,
        tuple(result["targets"]),
        result["fast"],
        scores.pop(name),
        scores,
        {},
        subset,
    )


def scored_at(out: Path) -> float:
    """Return the time of the newest track's scores in `out`, in seconds since 1970."""
    return max((file.stat().st_mtime for file in out.glob("*/**/*.json")), default=0.0)
