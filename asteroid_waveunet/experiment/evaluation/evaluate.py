"""A model, or a folder of estimates, on a data set: scores, baselines, a table, a page."""

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
    count,
    finite,
    remarks,
    summarise,
    table,
)
from asteroid_waveunet.experiment.evaluation.bss_eval import Scores, protocol_name
from asteroid_waveunet.experiment.evaluation.estimators import (
    Estimator,
    IdealRatioMask,
    Mixture,
)
from asteroid_waveunet.experiment.evaluation.paired_comparison import load
from asteroid_waveunet.experiment.evaluation.score_store import System
from asteroid_waveunet.experiment.evaluation.scoring import evaluate
from asteroid_waveunet.file_utils import replacing

__all__ = ["BASELINES", "Assessment", "assess", "read", "scored_at"]

# Scored beside a model by their SDR; silence has 0 dB, wherever there is a score.
BASELINES: dict[str, Estimator] = {"mixture": Mixture(), "ideal ratio mask": IdealRatioMask()}

SUMMARY, TABLE = "summary.json", "scores.md"


@dataclass(frozen=True)
class Assessment:
    """Scores of estimates, and of the baselines on the same tracks.

    Attributes:
        title: what was scored, on what.
        fingerprint: tells it from all others.
        name: of the system, in the table.
        targets: what was scored together.
        fast: whether there are SDRs only.
        scores: of each track, as from `score_track`.
        baselines: name -> scores of each track, SDR only.
        failures: track -> why it has no scores.
    """

    title: str
    fingerprint: str
    name: str
    targets: tuple[str, ...]
    fast: bool
    scores: Sequence[Scores]
    baselines: Mapping[str, Sequence[Scores]]
    failures: Mapping[str, str]

    @property
    def protocol(self) -> str:
        """One line that says what the figures are."""
        together = self.scores[0]["protocol"]
        how = "SDR of BSS Eval v4" if self.fast else "museval, BSS Eval v4"
        tracks = count(len(self.scores), "track")
        return f"{how}, windows of 1 s, {protocol_name(together)}, {tracks}"

    @property
    def summaries(self) -> dict[str, Summary]:
        """System -> `summarise`d scores."""
        systems = {self.name: self.scores, **self.baselines}
        return {name: summarise(scores) for name, scores in systems.items()}

    @property
    def remarks(self) -> list[str]:
        """What a reader of the figures should know."""
        lost = [f"not scored: {name}: {reason}" for name, reason in self.failures.items()]
        return [*lost, *remarks(self.scores)]

    @property
    def complaint(self) -> str:
        """Which tracks could not be scored, and why; empty if all were."""
        n_tracks = len(self.scores) + len(self.failures)
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in self.failures.items())
        return reasons and (
            f"{len(self.failures)} of {count(n_tracks, 'track')} could not be scored, and the "
            f"figures are of the others; the same command does only these again:{reasons}"
        )

    def as_text(self) -> str:
        """The figures for people, in Markdown."""
        said = "".join(f"- {remark}\n" for remark in self.remarks)
        figures = f"{table(self.summaries)}\n{LEGEND}\n"
        return f"{self.title}: {self.protocol}.\n\n{figures}" + (said and f"\n{said}")

    def as_json(self) -> str:
        """The figures for programs."""
        result = {
            "title": self.title,
            "fingerprint": self.fingerprint,
            "protocol": self.protocol,
            "targets": list(self.targets),
            "fast": self.fast,
            "tracks": len(self.scores),
            "systems": {name: finite(summary) for name, summary in self.summaries.items()},
            "remarks": self.remarks,
            "failures": dict(self.failures),
        }
        return json.dumps(result, indent=1)

    @property
    def digest(self) -> str:
        """Tells these scores, window by window, from others."""
        content = [self.as_json(), self.scores, self.baselines, version("asteroid-waveunet")]
        return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def assess(
    tracks: Sequence[Track],
    estimator: Estimator,
    targets: Sequence[str],
    out: str | os.PathLike,
    *,
    title: str,
    fingerprint: str,
    name: str = "model",
    fast: bool = False,
    save: Path | None = None,
    **how: Any,
) -> Assessment:
    """Scores estimates and the baselines; leaves `summary.json` and `scores.md` in `out`.

    Goes on where a run that was killed left off: a json a track in `out/<subset>`, those of the
    baselines in `out/baselines/<name>/<subset>`. Tracks that fail are in `failures`.

    Args:
        tracks, targets: see `scoring.evaluate`.
        estimator, out, fast, save: see `System`.
        title, fingerprint, name: see `Assessment`.
        how: `jobs`, `memory`, `progress` of `scoring.evaluate`.
    Raises:
        ValueError: as `scoring.evaluate`, or if no track could be scored.
    """
    out = Path(out)
    systems = {name: System(estimator, out, fast, save)} | {
        baseline: System(its_own, out / "baselines" / baseline, fast=True)
        for baseline, its_own in BASELINES.items()
    }
    found = evaluate(tracks, systems, targets, fingerprint=fingerprint, **how)
    scores = dict(found.scores)
    if not scores[name]:
        reasons = "".join(f"\n  {track}: {reason}" for track, reason in found.failures.items())
        raise ValueError(f"None of {count(len(tracks), 'track')} could be scored:{reasons}")
    result = Assessment(
        title, fingerprint, name, tuple(targets), fast, scores.pop(name), scores, found.failures
    )
    for file, text in ((SUMMARY, result.as_json()), (TABLE, result.as_text())):
        with replacing(out / file) as partial:
            partial.write_text(text, encoding="utf-8")
    return result


def read(out: str | os.PathLike, fingerprint: str) -> Assessment:
    """What `assess` left in a folder, of test tracks.

    Raises:
        FileNotFoundError: if it left nothing yet.
        ValueError: if these are the scores of another model or data set, of estimates that were
            made otherwise, or not of all tracks.
    """
    out = Path(out)
    if not (out / SUMMARY).is_file():
        raise FileNotFoundError(f"There is no {out / SUMMARY}; score the model first (stage 3).")
    result = json.loads((out / SUMMARY).read_text(encoding="utf-8"))
    if result["fingerprint"] != fingerprint:
        raise ValueError(
            f"{out} holds the scores of another model or data set, or of estimates that were made "
            f"otherwise ({result['fingerprint']}, not {fingerprint}); delete it, and score again "
            "(stage 3)."
        )
    name, *baselines = result["systems"]
    folders = {name: out} | {title: out / "baselines" / title for title in baselines}
    scores = {title: [*load(folder / "test").values()] for title, folder in folders.items()}
    lacking = [title for title, tracks in scores.items() if len(tracks) != result["tracks"]]
    if lacking or result["failures"]:
        lost = ", ".join([*result["failures"], *lacking])
        raise ValueError(
            f"{out} lacks scores of some of its {result['tracks']} tracks ({lost}); run stage 3 "
            "(evaluate) again."
        )
    return Assessment(
        result["title"],
        fingerprint,
        name,
        tuple(result["targets"]),
        result["fast"],
        scores.pop(name),
        scores,
        {},
    )


def scored_at(out: Path) -> float:
    """When the newest of the tracks' scores in `out` was written, in seconds since 1970."""
    return max((file.stat().st_mtime for file in out.glob("*/**/*.json")), default=0.0)
