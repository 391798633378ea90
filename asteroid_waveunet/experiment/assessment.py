"""A model, or a folder of estimates, on a data set: scores, baselines, a table, a page."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import replacing
from .aggregation import LEGEND, Summary, finite, remarks, summarise, table
from .comparison import load
from .estimates import Estimator, IdealRatioMask, Mixture, Parts, for_targets
from .evaluation import Scores, as_array, protocol_name
from .report import Excerpt, Report, excerpt, representatives
from .scoring import CLAIM, System, Track, evaluate

__all__ = [
    "BASELINES",
    "Assessment",
    "assess",
    "excerpts",
    "is_newer",
    "read",
    "report",
    "scored_at",
]

# Scored beside a model by their SDR; silence has 0 dB, wherever there is a score.
BASELINES: dict[str, Estimator] = {"mixture": Mixture(), "ideal ratio mask": IdealRatioMask()}

SUMMARY, TABLE = "summary.json", "scores.md"


@dataclass(frozen=True)
class Assessment:
    """Scores of estimates, and of the baselines on the same tracks.

    Attributes:
        name: of the system, in the table.
        targets: what was scored together.
        fast: whether there are SDRs only.
        scores: of each track, as from `score_track`.
        baselines: name -> scores of each track, SDR only.
    """

    name: str
    targets: tuple[str, ...]
    fast: bool
    scores: Sequence[Scores]
    baselines: Mapping[str, Sequence[Scores]]

    @property
    def protocol(self) -> str:
        """One line that says what the figures are."""
        together = self.scores[0]["protocol"]
        how = "SDR of BSS Eval v4" if self.fast else "museval, BSS Eval v4"
        return f"{how}, windows of 1 s, {protocol_name(together)}, {len(self.scores)} track(s)"

    @property
    def summaries(self) -> dict[str, Summary]:
        """System -> `summarise`d scores."""
        systems = {self.name: self.scores, **self.baselines}
        return {name: summarise(scores) for name, scores in systems.items()}

    @property
    def remarks(self) -> list[str]:
        return remarks(self.scores)

    def as_text(self) -> str:
        """The figures for people, in Markdown."""
        said = "".join(f"- {remark}\n" for remark in self.remarks)
        return f"{self.protocol}.\n\n{table(self.summaries)}\n{LEGEND}\n" + (said and f"\n{said}")


def assess(
    tracks: Sequence[Track],
    estimator: Estimator,
    targets: Sequence[str],
    out: str | os.PathLike,
    *,
    fingerprint: str,
    name: str = "model",
    fast: bool = False,
    save: Path | None = None,
    **how: Any,
) -> Assessment:
    """Scores estimates and the baselines; leaves `summary.json` and `scores.md` in `out`.

    Goes on where a run that was killed left off: a json a track in `out/<subset>`, those of the
    baselines in `out/baselines/<name>/<subset>`.

    Args:
        tracks, targets, fingerprint: see `scoring.evaluate`.
        estimator, out, fast, save: see `scoring.System`.
        name: of the system, in the table.
        how: `jobs`, `memory`, `progress` of `scoring.evaluate`.
    Raises:
        ValueError: as `scoring.evaluate`.
    """
    out = Path(out)
    systems = {name: System(estimator, out, fast, save)} | {
        title: System(baseline, out / "baselines" / title, fast=True)
        for title, baseline in BASELINES.items()
    }
    scores = evaluate(tracks, systems, targets, fingerprint=fingerprint, **how)
    found = Assessment(name, tuple(targets), fast, scores.pop(name), scores)
    result = {
        "fingerprint": fingerprint,
        "protocol": found.protocol,
        "tracks": len(found.scores),
        "systems": {title: finite(summary) for title, summary in found.summaries.items()},
        "remarks": found.remarks,
    }
    with replacing(out / SUMMARY) as partial:
        partial.write_text(json.dumps(result, indent=1))
    with replacing(out / TABLE) as partial:
        partial.write_text(found.as_text())
    return found


def read(out: str | os.PathLike, fingerprint: str) -> Assessment:
    """What `assess` left in a folder, of test tracks.

    Raises:
        FileNotFoundError: if it left nothing yet.
        ValueError: if these are the scores of another model or data set, or not of all tracks.
    """
    out = Path(out)
    if not (out / SUMMARY).is_file():
        raise FileNotFoundError(f"There is no {out / SUMMARY}; score the model first (stage 3).")
    result = json.loads((out / SUMMARY).read_text())
    if result["fingerprint"] != fingerprint:
        raise ValueError(
            f"{out} holds the scores of another model or data set; delete it, and score again "
            "(stage 3)."
        )
    claim = json.loads((out / CLAIM).read_text())
    name, *baselines = result["systems"]
    folders = {name: out} | {title: out / "baselines" / title for title in baselines}
    scores = {title: [*load(folder / "test").values()] for title, folder in folders.items()}
    missing = [title for title, tracks in scores.items() if len(tracks) != result["tracks"]]
    if missing:
        raise ValueError(
            f"{out} lacks scores of some of its {result['tracks']} tracks ({', '.join(missing)}); "
            "score them (stage 3)."
        )
    fast = claim["metrics"] == "SDR"
    return Assessment(name, tuple(claim["targets"]), fast, scores.pop(name), scores)


def is_newer(page: Path, out: Path) -> bool:
    """Whether a page was written after every track's scores in `out`."""
    return page.is_file() and scored_at(out) <= page.stat().st_mtime


def scored_at(out: Path) -> float:
    """When the newest of the tracks' scores in `out` was written, in seconds since 1970."""
    return max((file.stat().st_mtime for file in out.glob("*/**/*.json")), default=0.0)


def excerpts(
    found: Assessment, tracks: Sequence[Track], estimator: Estimator
) -> dict[str, Excerpt]:
    """Pieces of the best, the median and the worst track, separated once more.

    Args:
        tracks, estimator: what was scored.
    """
    by_name = {track.name: track for track in tracks}
    return {
        label: _excerpt(by_name[name], estimator, found.targets)
        for label, name in representatives(found.scores).items()
    }


def report(found: Assessment, **more: Any) -> Report:
    """A page of the figures.

    Args:
        more: `title`, `command`, `excerpts` and so on, of `Report`.
    """
    return Report(
        protocol=found.protocol,
        scores=found.scores,
        baselines=found.baselines,
        notes=found.remarks,
        **more,
    )


def _excerpt(track: Track, estimator: Estimator, targets: Sequence[str]) -> Excerpt:
    mixture, groups, rate = track.mixture_and_groups(targets)
    estimates = for_targets(estimator(track, Parts(mixture, groups, rate)), targets)
    return excerpt(
        track.name,
        mixture.numpy(),
        {target: groups[target].numpy() for target in targets},
        {target: as_array(samples) for target, samples in estimates.items()},
        rate,
    )
