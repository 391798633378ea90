"""The folders and files of an experiment."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asteroid_waveunet import file_locks
from asteroid_waveunet.experiment.config import AudioFormat, Configuration
from asteroid_waveunet.experiment.data.corpora import CORPORA
from asteroid_waveunet.experiment.settings import GENERATED, Data

__all__ = ["ExperimentDir"]


@dataclass(frozen=True)
class ExperimentDir:
    """An experiment's folder, and the data folder that experiments share.

    Attributes:
        exp_dir: configuration, checkpoints, scores, report and published folder; made absolute.
        data_dir: data sets and their decoded tracks; made absolute.
    """

    exp_dir: Path
    data_dir: Path

    def __post_init__(self) -> None:
        for name in ("exp_dir", "data_dir"):
            object.__setattr__(self, name, getattr(self, name).resolve())

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the experiment while a stage works on it.

        Raises:
            AlreadyLocked: if another process does. The processes of one distributed training do
                not exclude one another: only their first one locks.
        """
        if file_locks.is_first_process():
            with file_locks.locked(self.exp_dir, wait=False):
                yield
        else:
            yield

    @property
    def conf(self) -> Path:
        return self.exp_dir / "conf.yml"

    @property
    def checkpoints(self) -> Path:
        return self.exp_dir / "checkpoints"

    @property
    def best_model(self) -> Path:
        return self.exp_dir / "best_model.pth"

    @property
    def curves(self) -> Path:
        """Lightning's table of losses and scores by epoch."""
        return self.exp_dir / "logs" / "csv" / "metrics.csv"

    @property
    def music(self) -> Path:
        """Names and checksums of the training and validation tracks."""
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

    def fingerprint(self, configuration: Configuration) -> str:
        """Identify the trained model, its test data and the way it is scored.

        Raises:
            FileNotFoundError: if there is no trained model yet.
        """
        if not self.best_model.is_file():
            raise FileNotFoundError(f"There is no {self.best_model}; run stage 2 (train) first.")
        digest = hashlib.sha256(self.best_model.read_bytes()).hexdigest()[:16]
        data = self.dataset(configuration.data).name
        return ", ".join([f"{digest} on {data}", *configuration.scoring_notes])

    def dataset(self, data: Data) -> Path:
        """Return the folder of the data set, in MUSDB18's layout."""
        return self._folder(data.dataset, data)

    def validation(self, data: Data) -> Path:
        """Return the folder of the data set that provides the validation tracks."""
        return self._folder(data.valid_data or data.dataset, data)

    def roots(self, data: Data) -> list[Path]:
        """Return the folders of `dataset` and of each `extra` data set."""
        return [self._folder(name, data) for name in (data.dataset, *data.extra)]

    def folders(self, data: Data) -> list[Path]:
        """Return the folders of all data sets, in the order of `data.names`."""
        return [self._folder(name, data) for name in data.names]

    def _folder(self, name: str, data: Data) -> Path:
        if name in GENERATED:
            train, test, seconds, rate = (
                getattr(data, f"{name}_{setting}")
                for setting in ("train_songs", "test_songs", "seconds", "sample_rate")
            )
            sources = "_".join(Path(path).stem for path in (data.soundfont or "", *data.voices))
            suffix = f"_{sources}" if name == "free" else ""
            return self.data_dir / f"{name}_{train}+{test}x{seconds:g}s_{rate}Hz{suffix}"
        return self.data_dir / name if name in CORPORA else Path(name)

    def prepared(
        self, root: Path, audio: AudioFormat, lengths: str = "error", by_stem: bool = False
    ) -> Path:
        """Return the folder of a data set's decoded training tracks in this audio format.

        Args:
            lengths: treatment of stems of different lengths; each has a folder of its own.
            by_stem: of stems, instead of the model's sources.
        """
        root = root.resolve()
        suffix = f"{'-'.join(audio.sources)}_{audio.sample_rate}Hz_{audio.channels}ch"
        suffix += "" if lengths == "error" else f"_{lengths}"
        suffix += "_stems" if by_stem else ""
        path_hash = hashlib.sha256(os.fsencode(root)).hexdigest()[:8]
        return self.data_dir / "prepared" / f"{root.name}_{path_hash}_{suffix}"
