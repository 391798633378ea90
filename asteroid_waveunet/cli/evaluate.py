"""`waveunet evaluate`: scores of a model, or of a folder of estimates, on a data set."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asteroid_waveunet.cli.common import PRECISIONS, check_writable, load, printable

if TYPE_CHECKING:
    from asteroid_waveunet.experiment.data.track import Track
    from asteroid_waveunet.experiment.evaluation.estimators import Estimator
    from asteroid_waveunet.models.base import SourceModel

__all__ = ["add_options", "evaluate"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the description and options of the command."""
    parser.description = (
        "Scores with museval (BSS Eval v4, windows of 1 s) on songs in MUSDB18's "
        "layout, beside the mixture and the ideal ratio mask. Writes a json a song in museval's "
        "format, a table (scores.md) and a page to look at and listen to (report/index.html) into "
        "OUT. Songs that are scored already are skipped, so that a run that was stopped goes on."
    )
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-m", "--model", help="folder, file, Hub name (user/model), URL or preset")
    what.add_argument(
        "-e", "--estimates", metavar="DIR", help="with [SUBSET/]SONG/SOURCE.wav or flac, ..."
    )
    add("-d", "--data", required=True, metavar="DIR", help="in MUSDB18's layout, stems or wav")
    add("-o", "--output", default="scores", metavar="OUT", help="folder (default: %(default)s)")
    add("--subset", choices=("test", "train"), default="test", help="(default: %(default)s)")
    add(
        "--targets",
        nargs="+",
        metavar="NAME",
        help="to score together, such as vocals accompaniment (default: all sources there are)",
    )
    add("--fast", action="store_true", help="SDR alone, the same figures without museval")
    add("--jobs", type=int, metavar="N", help="songs at once (default: as many as cores)")
    add(
        "--memory",
        type=float,
        metavar="GB",
        help="that scoring may take: fewer songs at once (default: 4/5 of what is free)",
    )
    add(
        "--save-estimates",
        type=Path,
        metavar="DIR",
        help="keep what is scored as SUBSET/SONG/SOURCE.wav",
    )
    add("--no-report", action="store_true", help="no page")
    add("--device", help="cpu, cuda, cuda:1, mps ... (default: cuda if there is one, or cpu)")
    add("--precision", choices=PRECISIONS, default="fp32", help="(default: %(default)s)")
    add("--shifts", type=int, default=1, metavar="N", help="average N shifted passes (default: 1)")
    add("--mixture-consistency", action="store_true", help="make estimates sum to the song")
    parser.set_defaults(command=evaluate)


def evaluate(options: argparse.Namespace) -> int:
    """`waveunet evaluate`."""
    from asteroid_waveunet.experiment.data import musdb
    from asteroid_waveunet.experiment.evaluation import evaluate
    from asteroid_waveunet.experiment.report import evaluation_page
    from asteroid_waveunet.experiment.report import page as report_page

    _check_numbers(options)
    out = Path(options.output).expanduser()
    check_writable(out)
    report_page.check_place(out / "report")
    tracks = musdb.tracks(Path(options.data).expanduser(), options.subset)
    if options.save_estimates:
        _check_inputs_stay(options)
        check_writable(options.save_estimates)
    estimator, sources, name = _estimator(options, tracks)
    targets = _targets(options.targets, sources, tracks[0].stems)
    estimator = _narrowed(estimator, targets)
    data = f"{options.subset} of {_ending(options.data, 1)}"
    found = evaluate.evaluate(
        tracks,
        estimator,
        targets,
        out,
        title=f"{_ending(options.model or options.estimates, 2)} on {data}",
        fingerprint=f"{name} on {data}",
        name="estimates" if options.estimates else "model",
        fast=options.fast,
        save=options.save_estimates,
        jobs=options.jobs,
        memory=options.memory,
    )
    print(printable(found.as_text()))
    if not options.no_report:
        command = shlex.join(["waveunet", *options.arguments])
        page = evaluation_page.write_page(found, tracks, estimator, out / "report", command=command)
        print(printable(page))
    if found.failures:
        print(printable(found.failure_message), file=sys.stderr)
    return 1 if found.failures else 0


def _ending(path: str, n: int) -> str:
    """The last names of a path; what is none, such as a Hub name, stays."""
    there = Path(path).expanduser()
    return "/".join(there.resolve().parts[-n:]) if there.exists() else path


def _check_numbers(options: argparse.Namespace) -> None:
    """
    Raises:
        ValueError: for a number that is out of its range.
    """
    if options.jobs is not None and options.jobs < 1:
        raise ValueError(f"--jobs is {options.jobs}; expected at least 1.")
    if options.memory is not None and not options.memory > 0:
        raise ValueError(f"--memory is {options.memory}; expected a number of GB above 0.")


def _check_inputs_stay(options: argparse.Namespace) -> None:
    """
    Raises:
        ValueError: if estimates would take the place of the songs, or of those that are scored.
    """
    save = options.save_estimates.resolve()
    for folder in filter(None, (options.data, options.estimates)):
        if save.is_relative_to(Path(folder).expanduser().resolve()):
            raise ValueError(
                f"--save-estimates {options.save_estimates} lies in {folder}, whose files would be "
                "replaced; name another folder."
            )


def _estimator(
    options: argparse.Namespace, tracks: Sequence[Track]
) -> tuple[Estimator, tuple[str, ...], str]:
    """What gives the estimates, of which sources, and what tells it from all others."""
    from asteroid_waveunet.experiment.evaluation.estimators import Folder
    from asteroid_waveunet.experiment.evaluation.separator import Separator
    from asteroid_waveunet.streaming.options import SeparationOptions, check_shifts

    if options.estimates:
        folder = Folder.find(Path(options.estimates).expanduser(), tracks)
        return folder, folder.sources, str(folder.root.resolve())
    model = load(options.model, options.device).eval()
    check_shifts(options.shifts, model.geometry)
    how = SeparationOptions(options.precision, options.shifts, options.mixture_consistency)
    settings = " ".join(
        f"{name}={getattr(how, name)}" for name in ("precision", "shifts", "mixture_consistency")
    )
    return Separator.from_model(model, how), model.sources, f"{_digest(model)} {settings}"


def _narrowed(estimator: Estimator, targets: Sequence[str]) -> Estimator:
    """Reads of a folder what is needed: a file that one song has too many fails no other."""
    from asteroid_waveunet.experiment.evaluation.estimators import Folder, sources_of_targets

    if not isinstance(estimator, Folder):
        return estimator
    needed = sources_of_targets(targets, estimator.sources).values()
    return dataclasses.replace(estimator, sources=tuple(name for names in needed for name in names))


def _digest(model: SourceModel) -> str:
    """Tells a model from others, however its file was written."""
    digest = hashlib.sha256(repr(model.get_model_args()).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _targets(
    asked: Sequence[str] | None, sources: Sequence[str], stems: Sequence[str]
) -> tuple[str, ...]:
    """What is scored together: what was asked for, or all sources that the data has.

    Raises:
        ValueError: if that is ambiguous, the data has no such source, or only that one.
    """
    from asteroid_waveunet.experiment.data.track import group_stems
    from asteroid_waveunet.experiment.evaluation.estimators import sources_of_targets
    from asteroid_waveunet.experiment.evaluation.track_scoring import complement_of

    targets = tuple(asked) if asked else _all_known(sources, stems)
    group_stems(targets, stems)
    sources_of_targets(targets, sources)
    if len(targets) == 1:
        complement_of(targets, stems)
    return targets


def _all_known(sources: Sequence[str], stems: Sequence[str]) -> tuple[str, ...]:
    """All sources that the data has, if they can be scored together.

    Raises:
        ValueError: if there are none, or they overlap.
    """
    from asteroid_waveunet.experiment.data.track import group_stems

    known = [source for source in sources if _is_in(source, stems)]
    unknown = [source for source in sources if source not in known]
    if not known:
        raise ValueError(
            f"There are estimates of {', '.join(sources)}, and the data has {', '.join(stems)}; "
            "nothing can be scored."
        )
    try:
        group_stems(known, stems)
    except ValueError as reason:
        raise ValueError(
            f"There are estimates of {', '.join(known)}, which overlap. Say which to score "
            "together: --targets vocals accompaniment, or --targets bass drums other vocals."
        ) from reason
    if unknown:
        print(printable(f"Not scored, since the data has no such stem: {', '.join(unknown)}."))
    return tuple(known)


def _is_in(source: str, stems: Sequence[str]) -> bool:
    from asteroid_waveunet.experiment.data.track import stems_of

    try:
        return bool(stems_of(source, stems))
    except ValueError:
        return False
