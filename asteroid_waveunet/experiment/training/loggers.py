"""Lightning's loggers by name, set up to continue after a resume, with audio and images.

Lightning is imported only when a logger is made: settings can name loggers without it.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import os
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asteroid_waveunet.file_utils import replacing

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

__all__ = ["LOGGERS", "MediaWriter", "check", "make", "media_writers"]

PROJECT = "asteroid-waveunet"  # on Weights & Biases, unless WANDB_PROJECT is set


def make(names: Collection[str], exp_dir: str | os.PathLike, step: int = 0) -> list[Logger]:
    """Return Lightning's loggers by name, writing under `exp_dir/logs`.

    `csv` is always included: the report reads metrics.csv.

    Args:
        names: from `LOGGERS`.
        exp_dir: the experiment's folder; its name is the run's on Weights & Biases.
        step: optimizer steps already done. A killed run may have logged later steps, which will be
            logged again: csv and TensorBoard discard the first, Weights & Biases shows both.
    Raises:
        ValueError: as `check`.
    """
    check(names)
    logs = Path(exp_dir).resolve() / "logs"
    return [LOGGERS[name](logs, step) for name in LOGGERS if name in {*names, "csv"}]


def check(names: Collection[str]) -> None:
    """Check that the packages of the named loggers are installed.

    Raises:
        ValueError: if wandb is named but not installed.
    """
    if "wandb" in names and importlib.util.find_spec("wandb") is None:
        raise ValueError(
            "The logger wandb needs a package that is not installed: pip install wandb. The "
            "loggers tensorboard and csv work without it."
        )


def _tensorboard(logs: Path, step: int) -> Logger:
    """Write events to `logs/tensorboard`; of steps logged twice TensorBoard shows the last."""
    from pytorch_lightning.loggers import TensorBoardLogger

    return TensorBoardLogger(logs, name="", version="tensorboard", purge_step=step)


def _wandb(logs: Path, step: int) -> Logger:
    """Log to Weights & Biases, or to `logs/wandb` for `wandb sync` if WANDB_MODE=offline.

    The run's id is stored in a file: a resumed training continues the same run.
    """
    from pytorch_lightning.loggers import WandbLogger
    from pytorch_lightning.utilities.rank_zero import rank_zero_only

    file = logs / "wandb_id"
    if not (step and file.is_file()):
        rank_zero_only(_write_id)(file)  # only the first process logs
    return WandbLogger(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=logs.parent.name,
        save_dir=logs,
        id=file.read_text(encoding="utf-8") if file.is_file() else None,
    )


def _write_id(file: Path) -> None:
    with replacing(file) as partial:
        partial.write_text(uuid.uuid4().hex[:8], encoding="utf-8")


# --- CSV -------------------------------------------------------------------------------------


def _csv(logs: Path, step: int) -> Logger:
    """Write `logs/csv/metrics.csv`; rows of `step` and later are removed, they are logged again."""
    from pytorch_lightning.loggers import CSVLogger
    from pytorch_lightning.loggers.csv_logs import ExperimentWriter
    from pytorch_lightning.loggers.logger import rank_zero_experiment

    class AppendingWriter(ExperimentWriter):
        def _check_log_dir_exists(self) -> None:
            """Keep the existing table, which Lightning would delete."""

    class AppendingLogger(CSVLogger):
        @property
        @rank_zero_experiment
        def experiment(self) -> Any:
            if self._experiment is None:
                columns = _remove_rows_from(Path(self.log_dir) / "metrics.csv", step)
                self._experiment = AppendingWriter(log_dir=self.log_dir)
                self._experiment.metrics_keys = columns
            return self._experiment

    return AppendingLogger(logs, name="", version="csv")


def _remove_rows_from(path: Path, step: int) -> list[str]:
    """Remove rows of `step` and later, and truncated rows, from a table; return its columns."""
    if not path.is_file():
        return []
    with open(path, encoding="utf-8", newline="", errors="replace") as file:
        lines = [line for line in file if line.endswith("\n")]
    reader = csv.DictReader(lines)
    columns = list(reader.fieldnames or [])
    rows = [
        row
        for row in reader
        if None not in row
        and None not in row.values()  # as many cells as columns
        and row.get("step", "").isdecimal()
        and int(row["step"]) < step
    ]
    if not rows:
        path.unlink()
        return []
    with replacing(path) as partial, open(partial, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return columns


LOGGERS: dict[str, Callable[[Path, int], Logger]] = {
    # Asteroid's System gives its hp_metric to the first.
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "csv": _csv,
}


# --- audio and images ------------------------------------------------------------------------


@dataclass(frozen=True)
class MediaWriter:
    """Functions that write audio and images to one logger.

    Attributes:
        add_audio: called with tag, samples `(channels, time)` at full scale 1.0, sample rate in Hz
            and optimizer step.
        add_image: called with tag, uint8 pixels `(height, width, 3)` and optimizer step.
    """

    add_audio: Callable[[str, np.ndarray, int, int], None]
    add_image: Callable[[str, np.ndarray, int], None]


def media_writers(loggers: Sequence[Logger]) -> list[MediaWriter]:
    """Return a writer for each logger that supports media; CSV does not."""
    from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger

    kinds: dict[type, Callable[[Any], MediaWriter]] = {
        TensorBoardLogger: _tensorboard_media,
        WandbLogger: _wandb_media,
    }
    return [
        make_writer(logger)
        for logger in loggers
        for kind, make_writer in kinds.items()
        if isinstance(logger, kind)
    ]


def _tensorboard_media(logger: Any) -> MediaWriter:
    """Write audio as a protocol buffer: PyTorch's SummaryWriter supports mono only."""
    import soundfile

    def add_audio(tag: str, samples: np.ndarray, sample_rate: int, step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        channels, n_samples = samples.shape
        file = io.BytesIO()
        soundfile.write(file, samples.T.clip(-1, 1), sample_rate, "PCM_16", format="WAV")
        audio = Summary.Audio(
            sample_rate=sample_rate,
            num_channels=channels,
            length_frames=n_samples,
            encoded_audio_string=file.getvalue(),
            content_type="audio/wav",
        )
        summary = Summary(value=[Summary.Value(tag=tag, audio=audio)])
        logger.experiment.file_writer.add_summary(summary, step)

    def add_image(tag: str, pixels: np.ndarray, step: int) -> None:
        logger.experiment.add_image(tag, pixels, step, dataformats="HWC")

    return MediaWriter(add_audio, add_image)


def _wandb_media(logger: Any) -> MediaWriter:
    def add_audio(tag: str, samples: np.ndarray, sample_rate: int, step: int) -> None:
        logger.log_audio(tag, [samples.T.clip(-1, 1)], step, sample_rate=[sample_rate])

    def add_image(tag: str, pixels: np.ndarray, step: int) -> None:
        logger.log_image(tag, [pixels], step)

    return MediaWriter(add_audio, add_image)
