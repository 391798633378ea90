"""`waveunet evaluate`: scores of a model, or of a folder of estimates, on a data set."""

from __future__ import annotations

import argparse
import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model import WaveUNet
from ..refinement import check_shifts
from ..track import PRECISIONS
from .shared import check_writable, load

if TYPE_CHECKING:
    from ..experiment.estimates import Estimator
    from ..experiment.musdb import Track

__all__ = ["add", "evaluate"]


def add(commands: Any) -> None:
    """Adds the command to those of `waveunet`."""
    parser = commands.add_parser(
        "evaluate",
        help="score a model, or a folder of estimates",
        description="Scores with museval (BSS Eval v4, windows of 1 s) on songs in MUSDB18's "
        "layout, beside the mixture and the ideal ratio mask. Writes a json a song in museval's "
        "format, a table (scores.md) and a page to look at and listen to (report/index.html) into "
        "OUT. Songs that are scored already are skipped, so that a run that was stopped goes on.",
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
    from ..experiment import assessment, musdb, report

    _check(options)
    tracks = musdb.tracks(options.data, options.subset)
    estimator, sources, name = _estimator(options, tracks)
    targets = _targets(options.targets, sources, tracks)
    out = Path(options.output).expanduser()
    check_writable(out)
    found = assessment.assess(
        tracks,
        estimator,
        targets,
        out,
        fingerprint=f"{name} on {options.subset} of {Path(options.data).resolve().name}",
        name="estimates" if options.estimates else "model",
        fast=options.fast,
        save=options.save_estimates,
        jobs=options.jobs,
        memory=options.memory,
    )
    print(found.as_text())
    page = out / "report" / report.PAGE
    if not options.no_report and not assessment.is_newer(page, out):
        contents = assessment.report(
            found,
            tracks,
            estimator,
            title=f"{_title(options)} on {Path(options.data).resolve().name}",
            command=shlex.join(["waveunet", *options.arguments]),
        )
        report.write(contents, page.parent)
    if not options.no_report:
        print(page)
    return 0


def _title(options: argparse.Namespace) -> str:
    """What is scored, without the folders it lies in."""
    return "/".join(Path(options.model or options.estimates).parts[-2:])


def _check(options: argparse.Namespace) -> None:
    """
    Raises:
        ValueError: for a number that is out of its range.
    """
    if options.jobs is not None and options.jobs < 1:
        raise ValueError(f"--jobs is {options.jobs}; expected at least 1.")
    if options.memory is not None and not options.memory > 0:
        raise ValueError(f"--memory is {options.memory}; expected a number of GB above 0.")


def _estimator(
    options: argparse.Namespace, tracks: Sequence[Track]
) -> tuple[Estimator, tuple[str, ...], str]:
    """What gives the estimates, of which sources, and what tells it from all others."""
    from ..experiment.estimates import Folder, Separator

    if options.estimates:
        folder = Folder.of(Path(options.estimates).expanduser(), tracks)
        return folder, folder.sources, str(folder.root.resolve())
    model = load(options.model, options.device).eval()
    check_shifts(options.shifts, model)
    how = dict(
        precision=options.precision,
        shifts=options.shifts,
        mixture_consistency=options.mixture_consistency,
    )
    settings = " ".join(f"{name}={value}" for name, value in how.items())
    return Separator.of(model, **how), model.sources, f"{_digest(model)} {settings}"


def _digest(model: WaveUNet) -> str:
    """Tells a model from others, however its file was written."""
    digest = hashlib.sha256(repr(model.get_model_args()).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _targets(
    asked: Sequence[str] | None, sources: Sequence[str], tracks: Sequence[Track]
) -> tuple[str, ...]:
    """What is scored together: what was asked for, or all sources that the data has.

    Raises:
        ValueError: if that is ambiguous, or the data has no such source.
    """
    from ..experiment import musdb
    from ..experiment.estimates import parts_of

    stems = tracks[0].stems
    if asked:
        musdb.group_stems(asked, stems)
        parts_of(asked, sources)
        return tuple(asked)
    known = [source for source in sources if _is_in(source, stems)]
    unknown = [source for source in sources if source not in known]
    if not known:
        raise ValueError(
            f"There are estimates of {', '.join(sources)}, and the data has {', '.join(stems)}; "
            "nothing can be scored."
        )
    try:
        musdb.group_stems(known, stems)
    except ValueError as reason:
        raise ValueError(
            f"There are estimates of {', '.join(known)}, which overlap. Say which to score "
            "together: --targets vocals accompaniment, or --targets bass drums other vocals."
        ) from reason
    if unknown:
        print(f"Not scored, since the data has no such stem: {', '.join(unknown)}.")
    return tuple(known)


def _is_in(source: str, stems: Sequence[str]) -> bool:
    from ..experiment import musdb

    try:
        return bool(musdb.stems_of(source, stems))
    except ValueError:
        return False
