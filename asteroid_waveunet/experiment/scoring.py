"""Scores of a data set: every track once, in processes of their own, within a bound on memory."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from tqdm import tqdm

from .. import audio
from ..files import replacing
from .estimates import Estimator, Folder, Given, Parts, Separator, for_targets, with_rest
from .evaluation import Scores, as_array, score_track
from .musdb import REST, Extent
from .processes import Submit, in_processes

__all__ = ["CLAIM", "System", "evaluate", "gigabytes"]

CLAIM = "evaluation.json"


class Track(Protocol):
    """What is asked of a track; `musdb.Track` is one."""

    @property
    def name(self) -> str: ...

    @property
    def subset(self) -> str: ...

    def extent(self) -> Extent: ...

    def mixture_and_groups(
        self, sources: Sequence[str]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], int]: ...


@dataclass(frozen=True)
class System:
    """What is scored, and where that is written.

    Attributes:
        estimator: what gives the estimates. A `Separator` runs in the calling process.
        out: a folder for the scores, `out/<subset>/<track>.json`.
        fast: SDR alone, without museval, the same to 1e-9 dB.
        save: a folder for the estimates, `save/<subset>/<track>/<target>.wav` in 32-bit floats.
    """

    estimator: Estimator
    out: Path
    fast: bool = False
    save: Path | None = None

    def file(self, track: Track) -> Path:
        """Where a track's scores are."""
        return self.out / track.subset / f"{track.name}.json"

    def wavs(self, track: Track, targets: Sequence[str]) -> dict[str, Path]:
        """Where a track's estimates are to be kept."""
        if self.save is None:
            return {}
        folder = self.save / track.subset / track.name
        return {target: folder / f"{target}.wav" for target in targets}

    def is_done(self, track: Track, targets: Sequence[str]) -> bool:
        """Whether a track has scores, made of the estimates that are there now."""
        file = self.file(track)
        if not all(path.is_file() for path in [file, *self.wavs(track, targets).values()]):
            return False
        made = file.stat().st_mtime
        return not isinstance(self.estimator, Folder) or self.estimator.changed(track) < made


def evaluate(
    tracks: Sequence[Track],
    systems: Mapping[str, System],
    targets: Sequence[str],
    *,
    fingerprint: str = "",
    jobs: int | None = None,
    memory: float | None = None,
    progress: bool = True,
) -> dict[str, list[Scores]]:
    """Scores every track of every system; a json is written as each track is done.

    Can be killed and run again: tracks that have their files are not redone. museval's own tools
    read the folders, too (`museval.EvalStore().add_eval_dir(out)`).

    Args:
        tracks: as from `musdb.tracks(root, "test")`.
        systems: name -> what is scored. A track is read once for all of them.
        targets: what is scored together. One alone is scored beside the rest of the mixture (the
            mixture minus its estimate, against the other stems); only its own scores are kept.
        fingerprint: anything that tells these systems, and this data, from others.
        jobs, memory: of the scoring processes; see `in_processes` and `gigabytes`.
        progress: whether to show a bar.
    Returns:
        Name -> scores as from `score_track`, in the tracks' order.
    Raises:
        ValueError: if a folder holds other scores; and in the end, if there were tracks that could
            not be scored, with the reasons. All others are done by then.
    """
    targets = tuple(targets)
    for system in systems.values():
        _claim(system, {"fingerprint": fingerprint, "targets": list(targets)})
    undone = {
        track: [name for name, system in systems.items() if not system.is_done(track, targets)]
        for track in tracks
    }
    todo = [track for track in tracks if undone[track]]

    def start(submit: Submit, track: Track) -> Future:
        mine = {name: _at_hand(track, systems[name], targets) for name in undone[track]}
        return submit(_score, track, mine, targets)

    def need(track: Track) -> float:
        fast = all(systems[name].fast for name in undone[track])
        return gigabytes(track.extent(), max(len(targets), 2), fast)

    failures = {}
    bar = functools.partial(tqdm, desc="scoring", unit="track", disable=not progress)
    with contextlib.closing(in_processes(todo, start, need, jobs, memory)) as work:
        for track, outcome in bar(work, total=len(tracks), initial=len(tracks) - len(todo)):
            if isinstance(outcome, BaseException):
                failures[track.name] = outcome
                continue
            for name, scores in outcome.items():
                with replacing(systems[name].file(track)) as draft:
                    draft.write_text(json.dumps(scores, indent=1))
    _report(failures, len(tracks))
    return {
        name: [json.loads(system.file(track).read_text()) for track in tracks]
        for name, system in systems.items()
    }


def gigabytes(extent: Extent, n_targets: int, fast: bool = False) -> float:
    """What a process takes at most to score a track, in GB (1e9 bytes).

    museval holds copies of all samples, spectra of the whole track, its length rounded up to a
    power of two, and matrices of (512 taps x targets x channels)^2. How many of each was fitted
    to measured peaks, and rounded up; `bench/evaluate.py` sets the result beside new ones.
    """
    signals = n_targets * extent.channels
    samples = 8e-9 * signals * extent.frames
    if fast:
        return 0.4 + 4 * samples
    spectrum = 16e-9 * 2 ** int(np.ceil(np.log2(extent.frames + TAPS - 1)))
    matrix = 8e-9 * (TAPS * signals) ** 2
    return 0.4 + 5.5 * samples + (0.65 * signals + 6.5) * spectrum + 5 * matrix


TAPS = 512


# --- one track -------------------------------------------------------------------------------


def _at_hand(track: Track, system: System, targets: Sequence[str]) -> System:
    """What a scoring process needs: the separation is done before."""
    if not isinstance(system.estimator, Separator):
        return system
    mixture, _, rate = track.mixture_and_groups(targets)
    estimates = system.estimator(track, Parts(mixture, {}, rate))
    given = Given({source: as_array(samples) for source, samples in estimates.items()})
    return replace(system, estimator=given)


def _score(
    track: Track, systems: Mapping[str, System], targets: tuple[str, ...]
) -> dict[str, Scores]:
    """Reads a track, takes each system's estimates and scores them."""
    mixture, groups, rate = track.mixture_and_groups(targets)
    parts = Parts(mixture, groups, rate)
    references = {target: groups[target] for target in targets}
    # museval needs two. What is left beside the vocals is what is called their accompaniment.
    beside = "accompaniment" if targets == ("vocals",) else REST
    if len(targets) == 1 and REST in groups:
        references[beside] = groups[REST]
    result = {}
    for name, system in systems.items():
        estimates = for_targets(system.estimator(track, parts), targets)
        for target, path in system.wavs(track, targets).items():
            audio.write(path, torch.as_tensor(estimates[target]).float(), rate)
        if len(references) > len(targets):
            estimates = with_rest(estimates, beside, mixture)
        scores = score_track(references, estimates, rate, track.name, system.fast)
        kept = [target for target in scores["targets"] if target["name"] in targets]
        result[name] = {**scores, "targets": kept}
    return result


def _report(failures: Mapping[str, BaseException], n_tracks: int) -> None:
    """
    Raises:
        ValueError: if there are failures, with the tracks' names and the reasons.
    """
    if failures:
        reasons = "\n".join(f"  {name}: {_reason(error)}" for name, error in failures.items())
        raise ValueError(
            f"{len(failures)} of {n_tracks} tracks could not be scored (the others are done, and "
            f"another run does only these):\n{reasons}"
        ) from next(iter(failures.values()))


def _reason(failure: BaseException) -> str:
    if isinstance(failure, BrokenProcessPool):
        return (
            "its scoring process died. Was it out of memory (it takes the more the longer the"
            ' track is), or does the calling script lack its `if __name__ == "__main__":`?'
        )
    return str(failure) if isinstance(failure, (ValueError, OSError)) else repr(failure)


def _claim(system: System, claim: dict[str, object]) -> None:
    """Notes in the folder whose scores it holds, or refuses it if they are another's."""
    claim = {**claim, "metrics": "SDR" if system.fast else "all"}
    out, file = system.out, system.out / CLAIM
    if file.is_file():
        earlier = json.loads(file.read_text())
    elif any(out.glob("*/*.json")):
        earlier = {}
    else:
        with replacing(file) as partial:
            partial.write_text(json.dumps(claim))
        return
    differing = [
        f"{key} {earlier.get(key)!r}, not {value!r}"
        for key, value in claim.items()
        if earlier.get(key) != value
    ]
    if differing:
        raise ValueError(
            f"{out} holds scores of another model or data set ({'; '.join(differing)})."
            " Give another folder, or delete this one to score anew"
        )
