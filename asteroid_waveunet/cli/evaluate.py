"""`waveunet evaluate`: score a model or a folder of estimates on a data set."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asteroid_waveunet.cli.choices import ENGINES, LENGTHS, MISSING_STEMS, SUBSETS
from asteroid_waveunet.cli.common import (
    MODEL_HELP,
    add_cluster_options,
    add_separation_options,
    check_writable,
    separation_options,
)
from asteroid_waveunet.file_utils import expanded

if TYPE_CHECKING:
    from asteroid_waveunet.experiment.data.track import Track
    from asteroid_waveunet.experiment.evaluation.cluster_pool import Cluster
    from asteroid_waveunet.experiment.evaluation.estimators import Estimator
    from asteroid_waveunet.models.base import SourceModel

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.description = (
        "Score by BSS Eval v4 (museval's metrics, windows of 1 s) on songs in MUSDB18's layout, "
        "next to the mixture and the ideal ratio mask. Write one json per song in museval's "
        "format, a table (scores.md) and a page to listen to (report/index.html) to OUT. Scored "
        "songs are skipped, so the same command resumes an interrupted run."
    )
    add = parser.add_argument
    estimates = parser.add_mutually_exclusive_group(required=True)
    estimates.add_argument("-m", "--model", help=MODEL_HELP)
    estimates.add_argument(
        "-e", "--estimates", metavar="DIR", help="folder with [SUBSET/]SONG/SOURCE.wav or flac, ..."
    )
    add("-o", "--output", default="scores", metavar="OUT", help="folder (default: %(default)s)")
    _add_data_options(parser)
    add(
        "--targets",
        nargs="+",
        metavar="NAME",
        help="sources to score together, such as vocals accompaniment (default: all)",
    )
    add("--fast", action="store_true", help="SDR only: the same values")
    add(
        "--engine",
        choices=ENGINES,
        default=ENGINES[0],
        help="museval itself gives the same scores up to rounding, slowly (default: %(default)s)",
    )
    add("--jobs", type=int, metavar="N", help="songs at once (default: number of cores)")
    add(
        "--memory",
        type=float,
        metavar="GB",
        help="limit for scoring; fewer songs at once (default: 4/5 of the free memory)",
    )
    add(
        "--save-estimates",
        type=Path,
        metavar="DIR",
        help="keep the estimates as SUBSET/SONG/SOURCE.wav",
    )
    add("--no-report", action="store_true", help="write no page")
    add_separation_options(parser)
    add_cluster_options(add)


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the songs to score."""
    add = parser.add_argument
    add("-d", "--data", required=True, metavar="DIR", help="in MUSDB18's layout, stems or wav")
    add("--subset", choices=SUBSETS, default="test", help="(default: %(default)s)")
    add(
        "--missing-stems",
        choices=MISSING_STEMS,
        default="error",
        help="stems that other songs have: refused, or taken for silence (default: %(default)s)",
    )
    add(
        "--lengths",
        choices=LENGTHS,
        default="error",
        help="stems of a song that differ in length: refused, padded with silence, or cut to the "
        "shortest (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Score, print the table, write the page."""
    _check_numbers(options)
    from asteroid_waveunet.experiment.data import musdb
    from asteroid_waveunet.experiment.evaluation.evaluate import evaluate
    from asteroid_waveunet.experiment.report import evaluation_page
    from asteroid_waveunet.experiment.report import page as report_page

    out = expanded(options.output)
    check_writable(out)
    report_page.check_place(out / "report")
    tolerance = {name: getattr(options, name) for name in ("missing_stems", "lengths")}
    tracks = musdb.tracks(expanded(options.data), options.subset, **tolerance)
    for note in musdb.notes(tracks):
        print(f"note: {note}", file=sys.stderr)
    if options.save_estimates:
        _check_inputs_stay(options)
        check_writable(options.save_estimates)
    estimator, sources, name = _estimator(options, tracks)
    targets = _targets(options.targets, sources, tracks[0].stems)
    estimator = _restricted(estimator, targets)
    data = f"{options.subset} of {_path_ending(options.data, 1)}"
    data += "".join(f", {name}: {how}" for name, how in tolerance.items() if how != "error")
    found = evaluate(
        tracks,
        estimator,
        targets,
        out,
        title=f"{_path_ending(options.model or options.estimates, 2)} on {data}",
        fingerprint=f"{name} on {data}",
        name="estimates" if options.estimates else "model",
        fast=options.fast,
        engine=options.engine,
        save=options.save_estimates,
        jobs=options.jobs,
        memory=options.memory,
        cluster=_cluster(options),
    )
    print(found.as_text())
    if not options.no_report:
        command = shlex.join(["waveunet", *options.arguments])
        page = evaluation_page.write_page(found, tracks, estimator, out / "report", command=command)
        print(page)
    if found.failures:
        print(found.failure_message, file=sys.stderr)
    return 1 if found.failures else 0


def _cluster(options: argparse.Namespace) -> Cluster | None:
    from asteroid_waveunet.experiment.evaluation.cluster_pool import Cluster

    cpus, gpus = options.cpus_per_worker, options.gpus_per_worker
    if options.cluster is None:
        if cpus is not None or gpus is not None:
            raise ValueError("--cpus-per-worker and --gpus-per-worker need --cluster.")
        return None
    if options.jobs is not None or options.memory is not None:
        raise ValueError("--jobs and --memory are for one machine; a cluster fills its own.")
    return Cluster(options.cluster, 1 if cpus is None else cpus, gpus)


def _path_ending(path: str, n: int) -> str:
    """Return the last n names of a path; other names, such as a Hub name, unchanged."""
    there = expanded(path)
    return "/".join(there.resolve().parts[-n:]) if there.exists() else path


def _check_numbers(options: argparse.Namespace) -> None:
    """Check the ranges of numbers.

    Raises:
        ValueError: if a number is out of range.
    """
    if options.jobs is not None and options.jobs < 1:
        raise ValueError(f"--jobs is {options.jobs}; expected at least 1.")
    if options.memory is not None and not options.memory > 0:
        raise ValueError(f"--memory is {options.memory}; expected a number of GB above 0.")


def _check_inputs_stay(options: argparse.Namespace) -> None:
    """Check that saved estimates replace no input.

    Raises:
        ValueError: if they would replace the songs or the estimates to score.
    """
    save = options.save_estimates.resolve()
    for folder in filter(None, (options.data, options.estimates)):
        if save.is_relative_to(expanded(folder).resolve()):
            raise ValueError(
                f"--save-estimates {options.save_estimates} lies in {folder} and would replace its "
                "files; choose another folder."
            )


def _estimator(
    options: argparse.Namespace, tracks: Sequence[Track]
) -> tuple[Estimator, tuple[str, ...], str]:
    """Return the estimator, its sources, and a name that identifies it."""
    from asteroid_waveunet.experiment.evaluation.estimators import Folder
    from asteroid_waveunet.experiment.evaluation.separator import Separator
    from asteroid_waveunet.models.by_name import load_model

    if options.estimates:
        folder = Folder.find(expanded(options.estimates), tracks, options.lengths)
        return folder, folder.sources, str(folder.root.resolve())
    device = "cpu" if options.cluster else options.device  # the tasks choose theirs
    model = load_model(options.model, device).eval()
    how = separation_options(options, model)
    settings = " ".join(
        f"{name}={getattr(how, name)}" for name in ("precision", "shifts", "mixture_consistency")
    )
    return Separator.from_model(model, how), model.sources, f"{_digest(model)} {settings}"


def _restricted(estimator: Estimator, targets: Sequence[str]) -> Estimator:
    """Read only the needed files of a folder; surplus files are ignored."""
    from asteroid_waveunet.experiment.evaluation.estimators import Folder, sources_of_targets

    if not isinstance(estimator, Folder):
        return estimator
    needed = sources_of_targets(targets, estimator.sources).values()
    return dataclasses.replace(estimator, sources=tuple(name for names in needed for name in names))


def _digest(model: SourceModel) -> str:
    """Hash a model's arguments and weights, independent of its file format."""
    digest = hashlib.sha256(repr(model.get_model_args()).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _targets(
    requested: Sequence[str] | None, sources: Sequence[str], stems: Sequence[str]
) -> tuple[str, ...]:
    """Return the targets to score together: those requested, or all sources in the data.

    Raises:
        ValueError: if the choice is ambiguous, or the data lacks a source or its complement.
    """
    from asteroid_waveunet.experiment.data.track import group_stems
    from asteroid_waveunet.experiment.evaluation.estimators import sources_of_targets
    from asteroid_waveunet.experiment.evaluation.track_scoring import complement_of

    targets = tuple(requested) if requested else _all_known(sources, stems)
    group_stems(targets, stems)
    sources_of_targets(targets, sources)
    if len(targets) == 1:
        complement_of(targets, stems)
    return targets


def _all_known(sources: Sequence[str], stems: Sequence[str]) -> tuple[str, ...]:
    """Return all sources in the data, if they can be scored together.

    Raises:
        ValueError: if there are none, or they overlap.
    """
    from asteroid_waveunet.experiment.data.track import group_stems

    known = [source for source in sources if _is_in(source, stems)]
    unknown = [source for source in sources if source not in known]
    if not known:
        raise ValueError(
            f"The estimates are of {', '.join(sources)} and the data has {', '.join(stems)}; no "
            "source is in both."
        )
    try:
        group_stems(known, stems)
    except ValueError as reason:
        raise ValueError(
            f"The estimates of {', '.join(known)} overlap. Choose which to score together: "
            " --targets vocals accompaniment, or --targets bass drums other vocals."
        ) from reason
    if unknown:
        print(f"Not scored, because the data lacks these stems: {', '.join(unknown)}.")
    return tuple(known)


def _is_in(source: str, stems: Sequence[str]) -> bool:
    from asteroid_waveunet.experiment.data.track import stems_of

    try:
        return bool(stems_of(source, stems))
    except ValueError:
        return False
