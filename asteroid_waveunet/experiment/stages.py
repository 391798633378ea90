"""What every stage of a recipe does: find its experiment, and end plainly when it cannot go on."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from asteroid_waveunet.experiment.config import Configuration, Data, load
from asteroid_waveunet.experiment.data import errata, musdb, splits
from asteroid_waveunet.experiment.data import obtain as obtaining
from asteroid_waveunet.experiment.data import prepare as preparation
from asteroid_waveunet.experiment.data.prepared_store import Prepared
from asteroid_waveunet.experiment.data.track import group_stems
from asteroid_waveunet.experiment.training.signals import Interrupted
from asteroid_waveunet.file_utils import replacing
from asteroid_waveunet.models.base import SourceModel

__all__ = [
    "Places",
    "about",
    "check_data",
    "notes",
    "obtain",
    "plainly",
    "prepare",
    "run",
    "training_tracks",
]


@dataclass(frozen=True)
class Places:
    """Where an experiment's files are.

    Attributes:
        exp_dir: of this experiment: its configuration, checkpoints, scores, published folder.
        data_dir: of all experiments: data sets, and what is decoded of them.
    """

    exp_dir: Path
    data_dir: Path

    @classmethod
    def of(cls, exp_dir: Path, data_dir: Path) -> Places:
        """The same places, wherever the command was started."""
        return cls(exp_dir.resolve(), data_dir.resolve())

    @staticmethod
    def parser(description: str | None) -> argparse.ArgumentParser:
        """A command line that names the two folders."""
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--exp_dir", type=Path, required=True)
        parser.add_argument("--data_dir", type=Path, required=True)
        return parser

    @property
    def conf(self) -> Path:
        return self.exp_dir / "conf.yml"

    @property
    def checkpoints(self) -> Path:
        return self.exp_dir / "checkpoints"

    @property
    def best_model(self) -> Path:
        return self.exp_dir / "best_model.pth"

    def fingerprint(self, configuration: Configuration) -> str:
        """Tells the trained model, on the data set that it is tested on, and how, from others.

        Raises:
            FileNotFoundError: if there is no trained model yet.
        """
        if not self.best_model.is_file():
            raise FileNotFoundError(f"There is no {self.best_model}; run stage 2 (train) first.")
        digest = hashlib.sha256(self.best_model.read_bytes()).hexdigest()[:16]
        data = self.dataset(configuration.data).name
        return ", ".join([f"{digest} on {data}", *configuration.unusual_scoring])

    @property
    def curves(self) -> Path:
        """Lightning's table of losses and scores, epoch by epoch."""
        return self.exp_dir / "logs" / "csv" / "metrics.csv"

    @property
    def music(self) -> Path:
        """Which tracks are trained on and which validate, with their checksums."""
        return self.exp_dir / "music.json"

    @property
    def scores(self) -> Path:
        return self.exp_dir / "scores"

    @property
    def report(self) -> Path:
        return self.exp_dir / "report"

    @property
    def published(self) -> Path:
        return self.exp_dir / "published"

    def dataset(self, data: Data) -> Path:
        """The data set's folder, in MUSDB18's layout."""
        return self._folder(data.dataset, data)

    def roots(self, data: Data) -> list[Path]:
        """All data sets' folders: the first is trained on and tested with, the others add songs."""
        return [self._folder(name, data) for name in (data.dataset, *data.extra)]

    def _folder(self, name: str, data: Data) -> Path:
        if name == "demo":
            size = f"{data.demo_train_songs}+{data.demo_test_songs}x{data.demo_seconds:g}s"
            return self.data_dir / f"demo_{size}_{data.demo_sample_rate}Hz"
        return self.data_dir / name if name in obtaining.CORPORA else Path(name)

    def prepared(self, root: Path, model: SourceModel) -> Path:
        """Decoded training tracks, one folder for each data set and shape of model."""
        root = root.resolve()
        shape = f"{'-'.join(model.sources)}_{model.sample_rate:g}Hz_{model.in_channels}ch"
        path_hash = hashlib.sha256(str(root).encode()).hexdigest()[:8]
        return self.data_dir / "prepared" / f"{root.name}_{path_hash}_{shape}"


def check_data(configuration: Configuration, places: Places, accept_license: bool = False) -> None:
    """The data sets are there, with all the stems that are asked for, or stage 0 can bring them.

    Raises:
        PermissionError: if one is to be downloaded, and its terms are not accepted.
        FileNotFoundError: if one is not there and has to be placed; says what to place where.
        ValueError: if it holds no tracks, or tracks lack stems, or a source has none, or nothing
            is left to train on or to validate; or a song is in two of them.
    """
    data = configuration.data
    known = [obtaining.CORPORA[n] for n in (data.dataset, *data.extra) if n in obtaining.CORPORA]
    for corpus in known:
        obtaining.check_obtainable(corpus, places.data_dir, accept_license)
    is_made = "demo" in (data.dataset, *data.extra)
    if not is_made and all(obtaining.is_there(corpus, places.data_dir) for corpus in known):
        _check_layout(configuration, *places.roots(data))


def _check_layout(configuration: Configuration, root: Path, *extra: Path) -> None:
    """
    Raises:
        FileNotFoundError, ValueError: as `check_data`.
    """
    data, sources = configuration.data, configuration.make_model().sources
    corpus = obtaining.CORPORA.get(data.dataset)
    subsets = corpus.tracks if corpus else musdb.SUBSETS
    names = {s: [track.name for track in musdb.tracks(root, s)] for s in subsets}
    splits.split(names["train"], data.valid, configuration.training.seed)
    # Both subsets at once: all need the same stems.
    groups = group_stems(sources, musdb.tracks(root)[0].stems)
    known = {splits.song_of(name) for subset in names.values() for name in subset}
    for other in extra:
        tracks = musdb.tracks(other, "train")
        try:
            others = group_stems(sources, tracks[0].stems)
        except ValueError as reason:
            raise ValueError(f"{other} cannot be trained on as well: {reason}") from reason
        if [*others] != [*groups]:
            raise ValueError(
                f"{other} has the parts {', '.join(others)}, and {root} {', '.join(groups)}; "
                "expected the same, to be trained on together."
            )
        songs = {splits.song_of(track.name) for track in tracks}
        twice = sorted(known & songs)
        if twice:
            raise ValueError(
                f"{', '.join(twice[:3])} is in {other} and in another data set; what is trained "
                "on as well must be other songs, or it would be trained on what it is tested with."
            )
        known |= songs


def obtain(
    configuration: Configuration, places: Places, accept_license: bool = False
) -> list[Path]:
    """The data sets' folders; what has a name is generated, or downloaded and unpacked, first.

    Raises:
        FileNotFoundError, ValueError: as `check_data`, or if a test track cannot be used.
        OSError: as `data.obtain.obtain`.
    """
    data = configuration.data
    roots = places.roots(data)
    for name, root in zip((data.dataset, *data.extra), roots, strict=True):
        if name == "demo":
            from asteroid_waveunet.experiment.demo_songs import generate

            generate.generate(
                root,
                data.demo_train_songs,
                data.demo_test_songs,
                data.demo_seconds,
                data.demo_sample_rate,
            )
        elif name in obtaining.CORPORA:
            corpus = obtaining.CORPORA[name]
            obtaining.obtain(corpus, places.data_dir, accept_license, data.keep_archive)
    _check_layout(configuration, *roots)
    model = configuration.make_model()
    for track in musdb.tracks(roots[0]):
        if track.subset == "test":  # those to train on are read whole in stage 1
            track.check(model.in_channels)
    return roots


def notes(configuration: Configuration, places: Places) -> list[str]:
    """What is to be known of the songs that are there."""
    data = configuration.data
    corpus = obtaining.CORPORA.get(data.dataset)
    remarks = [corpus.remark] if corpus and corpus.remark else []
    names = [track.name for root in places.roots(data) for track in musdb.tracks(root)]
    return [*remarks, *errata.notes(names)]


def prepare(configuration: Configuration, places: Places, progress: bool = True) -> list[Prepared]:
    """The training tracks of all data sets, decoded for the model; see `preparation.prepare`."""
    data, model = configuration.data, configuration.make_model()
    return [
        track
        for root in places.roots(data)
        for track in _prepare(root, places, model, progress, data.verify)
    ]


def _prepare(
    root: Path, places: Places, model: SourceModel, progress: bool = False, verify: bool = False
) -> list[Prepared]:
    return preparation.prepare(
        root,
        places.prepared(root, model),
        model.sources,
        int(model.sample_rate),
        model.in_channels,
        progress,
        verify,
    )


def training_tracks(
    configuration: Configuration, places: Places
) -> tuple[list[Prepared], list[Prepared]]:
    """Prepared tracks to train on and to validate; those of `extra` are all to train on.

    A training that has begun goes on with the music that it was begun with, or not at all: with
    other songs some that it has learnt would come to validate it.

    Raises:
        FileNotFoundError, ValueError: as `prepare` and `splits.split`; or if training has begun
            with other music.
    """
    model, data = configuration.make_model(), configuration.data
    own, *extra = (_prepare(root, places, model) for root in places.roots(data))
    names = splits.split([t.name for t in own], data.valid, configuration.training.seed)
    train, valid = ([t for t in own if t.name in side] for side in names)
    train += [track for tracks in extra for track in tracks]
    _settle_music(places, {"train on": train, "validate": valid})
    return train, valid


def _settle_music(places: Places, sides: dict[str, list[Prepared]]) -> None:
    """Notes a training's music where it begins, and compares it where it goes on."""
    music = {side: {track.name: track.sha256 for track in sides[side]} for side in sides}
    if not (places.checkpoints.is_dir() and places.music.is_file()):
        with replacing(places.music) as partial:
            partial.write_text(json.dumps(music, indent=1, ensure_ascii=False))
        return
    begun = json.loads(places.music.read_text())
    differing = [
        f"what to {side} ({', '.join(_differing(now, then))})"
        for side, now in music.items()
        if now != (then := begun[side])
    ]
    if differing:
        raise ValueError(
            f"{places.exp_dir} was begun with other music: {'; '.join(differing)}. Put it back, or "
            "give this experiment its own name with --tag."
        )


def _differing(now: dict[str, str], then: dict[str, str], most: int = 5) -> list[str]:
    """Names of tracks that have come, gone or changed."""
    names = sorted({name for name, _ in now.items() ^ then.items()})
    return [*names[:most], *(["..."] if len(names) > most else [])]


def about(configuration: Configuration, places: Places) -> dict[str, Any]:
    """What a page of scores says of an experiment: `command` and so on, of `Report`."""
    return {
        "command": f"bash recipes/musdb18/run.sh --conf conf.yml --tag {places.exp_dir.name}",
        "configuration": configuration.as_yaml(),
        "curves": places.curves if places.curves.is_file() else None,
    }


def run(main: Callable[[Configuration, Places], None], arguments: Sequence[str] | None = None):
    """Runs a stage: `main(configuration, places)` of the experiment on the command line.

    What a user can cause ends with one plain message and status 1.
    """
    parser = Places.parser(main.__doc__)
    places = Places.of(**vars(parser.parse_args(arguments)))
    plainly(lambda: main(load(places.conf), places))


def plainly(action: Callable[[], None]) -> None:
    """Does it; what a user can cause becomes a message on stderr and a status.

    That is 1, or 128 and the number of the signal that ended it: 130 for Ctrl-C, 143 for SIGTERM.
    """
    try:
        action()
    except (ValueError, OSError) as reason:
        print(f"error: {reason}", file=sys.stderr)
        sys.exit(1)
    except torch.cuda.OutOfMemoryError as reason:
        first = str(reason).strip().split("\n")[0]
        print(
            f"error: there is too little memory on the GPU ({first}). Lower --batch_size, with "
            "--accumulate for as large steps, or give --store memory or --precision bf16-mixed.",
            file=sys.stderr,
        )
        sys.exit(1)
    except Interrupted as reason:
        print(reason, file=sys.stderr)
        sys.exit(reason.status)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
