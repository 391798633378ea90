"""The data stages of a recipe (0 obtain, 1 prepare) and the command line that all stages share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from asteroid_waveunet.audio.folders import left_out_below
from asteroid_waveunet.experiment.config import Configuration, load
from asteroid_waveunet.experiment.data import errata, musdb, obtain, splits
from asteroid_waveunet.experiment.data import prepare as preparation
from asteroid_waveunet.experiment.data.corpora import CORPORA
from asteroid_waveunet.experiment.data.prepared_store import Prepared
from asteroid_waveunet.experiment.data.track import Track, group_stems, stems_in_last_source
from asteroid_waveunet.experiment.experiment_dir import ExperimentDir
from asteroid_waveunet.experiment.recorded_tracks import check_same_tracks
from asteroid_waveunet.experiment.settings import GENERATED, Data
from asteroid_waveunet.experiment.training.signals import InterruptedBySignal

__all__ = [
    "argument_parser",
    "check_data",
    "data_notes",
    "exit_on_error",
    "obtain_data",
    "prepare_data",
    "report_details",
    "run",
    "scored_tracks",
    "scores_follow",
    "training_tracks",
]


def check_data(
    configuration: Configuration,
    experiment: ExperimentDir,
    accept_license: bool = False,
    scores: bool = True,
) -> None:
    """Check that the data sets exist and have the stems needed, or that stage 0 can obtain them.

    Args:
        scores: the run goes on to scoring, which needs test tracks.
    Raises:
        PermissionError: if a download's licence has to be accepted first.
        FileNotFoundError: if a data set has to be placed by hand; the message says where.
        ValueError: if a data set has no tracks, tracks lack stems, a source has no stem, no
            training or validation tracks remain, or two data sets share a song.
    """
    data = configuration.data
    corpora = [CORPORA[name] for name in data.names if name in CORPORA]
    for corpus in corpora:
        obtain.check_obtainable(corpus, experiment.data_dir, accept_license)
    generated = set(GENERATED).intersection(data.names)
    if not generated and all(obtain.exists(c, experiment.data_dir) for c in corpora):
        _check_layout(configuration, experiment, scores)


def _check_layout(configuration: Configuration, experiment: ExperimentDir, scores: bool) -> None:
    """Check the folders of data on disk.

    Raises:
        FileNotFoundError, ValueError: as `check_data`.
    """
    data, sources = configuration.data, configuration.audio_format.sources
    root, *others = experiment.folders(data)
    corpus = CORPORA.get(data.dataset)
    subsets = tuple(corpus.tracks) if corpus else musdb.SUBSETS
    scores = scores and configuration.evaluation.subset == "test"
    if not scores and not (root / "test").is_dir():
        subsets = ("train",)
    elif "test" in subsets and (root / "train").is_dir() and not (root / "test").is_dir():
        raise FileNotFoundError(
            f"There is no 'test' folder in {root}, whose songs stage 3 scores. Add one, or train "
            "without scoring: --stop-stage 2."
        )
    found = {s: musdb.tracks(root, s, **data.tolerance) for s in subsets}
    names = {subset: [track.name for track in tracks] for subset, tracks in found.items()}
    if data.valid_data is None:
        splits.split(names["train"], data.valid, configuration.training.seed)
    else:
        separate = musdb.tracks(experiment.validation(data), "train", **data.tolerance)
        splits.split([t.name for t in separate], data.valid, configuration.training.seed)
    # Group the stems of both subsets: all tracks need the same ones.
    groups = group_stems(sources, musdb.tracks(root, **data.tolerance)[0].stems)
    songs = {splits.song_of(name) for subset in names.values() for name in subset}
    for folder in others:
        added = musdb.tracks(folder, "train", **data.tolerance)
        _check_same_groups(root, groups, folder, sources, added[0].stems)
        added_songs = {splits.song_of(track.name) for track in added}
        shared = sorted(songs & added_songs)
        if shared:
            raise ValueError(
                f"{', '.join(shared[:3])} is in {folder} and in another data set; data sets used "
                "together must hold different songs, or the model would be trained on songs that "
                "test it."
            )
        songs |= added_songs


def _check_same_groups(
    root: Path, groups: Any, folder: Path, sources: Sequence[str], stems: Any
) -> None:
    """Raise ValueError unless an extra data set has the same groups of stems as the first."""
    try:
        found = group_stems(sources, stems)
    except ValueError as error:
        raise ValueError(f"{folder} cannot be an extra data set: {error}") from error
    if [*found] != [*groups]:
        raise ValueError(
            f"{folder} has the groups of stems {', '.join(found)}, but {root} has "
            f"{', '.join(groups)}; data sets used together need the same."
        )


def obtain_data(
    configuration: Configuration,
    experiment: ExperimentDir,
    accept_license: bool = False,
    scores: bool = True,
) -> list[Path]:
    """Generate, or download and unpack, the known data sets; return the folders of all.

    Args:
        scores: as in `check_data`.
    Raises:
        FileNotFoundError, ValueError: as `check_data`, or if a test track cannot be used.
        OSError: as `data.obtain.obtain`.
    """
    data = configuration.data
    roots = experiment.folders(data)
    for name, root in zip(data.names, roots, strict=True):
        if name in GENERATED:
            _generate(name, root, data)
        elif name in CORPORA:
            corpus = CORPORA[name]
            obtain.obtain(corpus, experiment.data_dir, accept_license, data.keep_archive)
    _check_layout(configuration, experiment, scores)
    channels = configuration.audio_format.channels
    for track in musdb.tracks(roots[0], **data.tolerance):
        if track.subset == "test":  # stage 1 reads the training tracks completely
            track.check(channels)
    return roots


def _generate(name: str, root: Path, data: Data) -> None:
    """Generate the songs of `demo` or `free`; existing songs are kept."""
    if name == "demo":
        from asteroid_waveunet.experiment.demo_songs import generate as demo

        demo.generate(
            root,
            data.demo_train_songs,
            data.demo_test_songs,
            data.demo_seconds,
            data.demo_sample_rate,
        )
        return
    from asteroid_waveunet.experiment.free_songs import generate as free

    assert data.soundfont is not None  # checked by the settings
    free.generate(
        root,
        free.Sources(Path(data.soundfont), tuple(map(Path, data.voices))),
        data.free_train_songs,
        data.free_test_songs,
        data.free_seconds,
        data.free_sample_rate,
    )


def scores_follow() -> bool:
    """Return True unless the recipe's script says that it ends before stage 3."""
    return int(os.environ.get("STOP_STAGE", "4")) >= 3


def data_notes(configuration: Configuration, experiment: ExperimentDir) -> list[str]:
    """Return remarks on the data set and known errors of its songs."""
    data = configuration.data
    corpus = CORPORA.get(data.dataset)
    remarks = [corpus.remark] if corpus and corpus.remark else []
    roots = experiment.roots(data)
    found = [track for root in roots for track in musdb.tracks(root, **data.tolerance)]
    if configuration.output == "difference":
        remarks += stems_in_last_source(configuration.audio_format.sources, found[0].stems)
    used = {file for track in found for file in track.files()}
    unused = [left_out_below(root / subset, used) for root in roots for subset in musdb.SUBSETS]
    remarks += [*musdb.notes(found), *errata.notes(track.name for track in found)]
    return [*remarks, *filter(None, unused)]


def prepare_data(
    configuration: Configuration, experiment: ExperimentDir, progress: bool = True
) -> list[Prepared]:
    """Decode the training tracks of all data sets for the model; see `data.prepare.prepare`."""
    data = configuration.data
    return [
        track
        for root in experiment.folders(data)
        for track in _prepare(configuration, experiment, root, progress, data.verify)
    ]


def _prepare(
    configuration: Configuration,
    experiment: ExperimentDir,
    root: Path,
    progress: bool = False,
    verify: bool = False,
) -> list[Prepared]:
    data, audio = configuration.data, configuration.audio_format
    by_stem = configuration.training.remix_stems > 0
    return preparation.prepare(
        root,
        experiment.prepared(root, audio, data.lengths, by_stem),
        audio.sources,
        audio.sample_rate,
        audio.channels,
        progress,
        verify,
        **data.tolerance,
        by_stem=by_stem,
    )


def training_tracks(
    configuration: Configuration, experiment: ExperimentDir
) -> tuple[list[Prepared], list[Prepared]]:
    """Return the prepared training and validation tracks; `extra` tracks are for training only.

    Tracks of `valid_data` are for validation only.

    A training that has begun resumes only with the same tracks. With others, songs that it has
    been trained on could become validation tracks.

    Raises:
        FileNotFoundError, ValueError: as `prepare_data` and `splits.split`; or if training has
            begun with other tracks.
    """
    data = configuration.data
    own, *extra = (_prepare(configuration, experiment, root) for root in experiment.roots(data))
    separate = data.valid_data is not None
    validation = experiment.validation(data)
    source = _prepare(configuration, experiment, validation) if separate else own
    names = splits.split([t.name for t in source], data.valid, configuration.training.seed)
    valid = [track for track in source if track.name in names[1]]
    train = [track for track in own if separate or track.name in names[0]]
    train += [track for tracks in extra for track in tracks]
    check_same_tracks(experiment, {"train on": train, "validate": valid})
    return train, valid


def scored_tracks(configuration: Configuration, experiment: ExperimentDir) -> Sequence[Track]:
    """Return the tracks that stage 3 scores: the test tracks, or the validation tracks.

    Raises:
        FileNotFoundError, ValueError: as `musdb.tracks` and `splits.split`.
    """
    data = configuration.data
    if configuration.evaluation.subset == "test":
        return musdb.tracks(experiment.dataset(data), "test", **data.tolerance)
    root = experiment.validation(data)
    tracks = musdb.tracks(root, "train", **data.tolerance)
    _, names = splits.split([t.name for t in tracks], data.valid, configuration.training.seed)
    return [track for track in tracks if track.name in names]


def report_details(configuration: Configuration, experiment: ExperimentDir) -> dict[str, Any]:
    """Return the fields of a `Report` that describe an experiment: `command` and so on."""
    return {
        "command": f"bash recipes/musdb18/run.sh --conf conf.yml --tag {experiment.exp_dir.name}",
        "configuration": configuration.as_yaml(),
        "curves": experiment.curves if experiment.curves.is_file() else None,
    }


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options --exp_dir and --data_dir."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--exp_dir", type=Path, required=True)
    parser.add_argument("--data_dir", type=Path, required=True)
    return parser


def run(
    main: Callable[[Configuration, ExperimentDir], None], arguments: Sequence[str] | None = None
) -> None:
    """Run a stage, `main(configuration, experiment)`, for the command line's experiment."""
    options = argument_parser(main.__doc__).parse_args(arguments)
    experiment = ExperimentDir(options.exp_dir, options.data_dir)

    def run_alone() -> None:
        configuration = load(experiment.conf)
        with experiment.locked():
            main(configuration, experiment)

    exit_on_error(run_alone)


def exit_on_error(action: Callable[[], None]) -> None:
    """Run `action`; print user errors to stderr and exit with a status code.

    The status is 1 for an error; 128 plus the signal's number for a signal: 130 for Ctrl-C, 143
    for SIGTERM.
    """
    try:
        action()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which need not be imported
            raise
        first_line = str(error).strip().split("\n")[0]
        print(
            f"error: the GPU is out of memory ({first_line}). Lower --batch_size and raise "
            "--accumulate, or use --store memory or --precision bf16-mixed.",
            file=sys.stderr,
        )
        sys.exit(1)
    except InterruptedBySignal as error:
        print(error, file=sys.stderr)
        sys.exit(error.status)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to resume", file=sys.stderr)
        sys.exit(130)
