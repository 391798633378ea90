"""Where a training's curves go, by name: Lightning's loggers, set up so that runs can go on.

Lightning is imported when a logger is made: a configuration names loggers without having it.
"""

from __future__ import annotations

import importlib.util
import os
import uuid
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from asteroid_waveunet.file_utils import replacing

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

__all__ = ["LOGGERS", "check", "make"]

PROJECT = "asteroid-waveunet"  # on Weights & Biases, unless WANDB_PROJECT names another


def make(names: Collection[str], exp_dir: str | os.PathLike, step: int = 0) -> list[Logger]:
    """Lightning's loggers by name, under `exp_dir/logs`.

    `csv` is always among them, since the report draws its curves from metrics.csv.

    Args:
        names: of `LOGGERS`.
        exp_dir: the experiment's folder; its name is the run's on Weights & Biases.
        step: optimiser steps that are done, 0 or those of the checkpoint that training goes on
            from. What a run that was killed logged after them comes again: csv and TensorBoard
            take it back, Weights & Biases shows it twice.
    Raises:
        ValueError: as `check`.
    """
    check(names)
    logs = Path(exp_dir).resolve() / "logs"
    return [LOGGERS[name](logs, step) for name in LOGGERS if name in {*names, "csv"}]


def check(names: Collection[str]) -> None:
    """Finds out before the work whether its curves can be logged.

    Raises:
        ValueError: if wandb is asked for and not installed.
    """
    if "wandb" in names and importlib.util.find_spec("wandb") is None:
        raise ValueError(
            "The logger wandb needs a package that is not installed: pip install wandb. What is "
            "there without it is tensorboard and csv."
        )


def _tensorboard(logs: Path, step: int) -> Logger:
    """Events in `logs/tensorboard`; of steps that come again TensorBoard shows the last."""
    from pytorch_lightning.loggers import TensorBoardLogger

    return TensorBoardLogger(logs, name="", version="tensorboard", purge_step=step)


def _wandb(logs: Path, step: int) -> Logger:
    """A run on Weights & Biases; with WANDB_MODE=offline in `logs/wandb`, for `wandb sync`.

    Its id is kept on disk, so that a training that goes on does so in the same run.
    """
    from pytorch_lightning.loggers import WandbLogger
    from pytorch_lightning.utilities.rank_zero import rank_zero_only

    file = logs / "wandb_id"
    if not (step and file.is_file()):
        rank_zero_only(_write_id)(file)  # of several processes the first is the one that logs
    return WandbLogger(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=logs.parent.name,
        save_dir=logs,
        id=file.read_text() if file.is_file() else None,
    )


def _write_id(file: Path) -> None:
    with replacing(file) as partial:
        partial.write_text(uuid.uuid4().hex[:8])


def _csv(logs: Path, step: int) -> Logger:
    """`logs/csv/metrics.csv`, which the report reads."""
    from asteroid_waveunet.experiment.training.curves import Curves

    return Curves(logs, step)


LOGGERS: dict[str, Callable[[Path, int], Logger]] = {
    # The first is the one that Asteroid's System gives its hp_metric to.
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "csv": _csv,
}
