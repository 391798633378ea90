"""What every stage of a recipe does: find its experiment, and end plainly when it cannot go on."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import demo_songs, musdb, preparation, splits
from .configuration import Configuration, Data, load
from .store import Prepared

__all__ = ["Places", "about", "check_data", "obtain", "plainly", "prepare", "run"]

MUSDB18_FILES = {
    "musdb18": "musdb18.zip (4.7 GB) from https://zenodo.org/records/1117372",
    "musdb18hq": "musdb18hq.zip (22.7 GB) from https://zenodo.org/records/3338373",
}


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
        """Tells the trained model, on the data set that it is tested on, from every other.

        Raises:
            FileNotFoundError: if there is no trained model yet.
        """
        if not self.best_model.is_file():
            raise FileNotFoundError(f"There is no {self.best_model}; run stage 2 (train) first.")
        digest = hashlib.sha256(self.best_model.read_bytes()).hexdigest()[:16]
        return f"{digest} on {self.dataset(configuration.data).name}"

    @property
    def curves(self) -> Path:
        """Lightning's table of losses and scores, epoch by epoch."""
        return self.exp_dir / "logs" / "csv" / "metrics.csv"

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
        if data.dataset == "demo":
            size = f"{data.demo_train_songs}+{data.demo_test_songs}x{data.demo_seconds:g}s"
            return self.data_dir / f"demo_{size}_{data.demo_sample_rate}Hz"
        if data.dataset in MUSDB18_FILES:
            return self.data_dir / data.dataset
        return Path(data.dataset)

    def prepared(self, configuration: Configuration) -> Path:
        """The decoded training tracks, one folder for each data set and shape of model."""
        model = configuration.make_model()
        root = self.dataset(configuration.data).resolve()
        shape = f"{'-'.join(model.sources)}_{model.sample_rate:g}Hz_{model.in_channels}ch"
        path_hash = hashlib.sha256(str(root).encode()).hexdigest()[:8]
        return self.data_dir / "prepared" / f"{root.name}_{path_hash}_{shape}"


def check_data(configuration: Configuration, places: Places) -> None:
    """A data set that is not generated has to be there, with all the stems that are asked for.

    Raises:
        FileNotFoundError: if it is not there; says what to place where.
        ValueError: if it holds no tracks, or tracks lack stems, or a source has none, or nothing
            is left to train on or to validate.
    """
    data = configuration.data
    root = places.dataset(data)
    if data.dataset in MUSDB18_FILES and not root.is_dir():
        raise FileNotFoundError(
            f"There is no {root}. Download {MUSDB18_FILES[data.dataset]}, unpack it there, so that "
            f"{root}/train and {root}/test exist, and run this again; or give another folder in "
            "that layout with --data DIR."
        )
    if data.dataset != "demo":
        names = {s: [track.name for track in musdb.tracks(root, s)] for s in musdb.SUBSETS}
        splits.split(names["train"], data.valid, configuration.training.seed)
        stems = musdb.tracks(root)[0].stems  # both subsets at once: all need the same stems
        musdb.group_stems(configuration.make_model().sources, stems)


def obtain(configuration: Configuration, places: Places) -> Path:
    """The data set's folder; the demonstration songs are generated first.

    Raises:
        FileNotFoundError, ValueError: as `check_data`, or if a test track cannot be used.
    """
    data = configuration.data
    root = places.dataset(data)
    if data.dataset == "demo":
        demo_songs.generate(
            root,
            data.demo_train_songs,
            data.demo_test_songs,
            data.demo_seconds,
            data.demo_sample_rate,
        )
    check_data(configuration, places)
    model = configuration.make_model()
    for track in musdb.tracks(root, "test"):  # those to train on are read whole in stage 1
        track.check(model.in_channels)
    return root


def prepare(configuration: Configuration, places: Places, progress: bool = True) -> list[Prepared]:
    """The training tracks, decoded for the configuration's model; see `preparation.prepare`."""
    model = configuration.make_model()
    return preparation.prepare(
        places.dataset(configuration.data),
        places.prepared(configuration),
        model.sources,
        int(model.sample_rate),
        model.in_channels,
        progress,
    )


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
    """Does it; what a user can cause becomes a message on stderr and status 1, 130 for Ctrl-C."""
    try:
        action()
    except (ValueError, OSError) as reason:
        print(f"error: {reason}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
