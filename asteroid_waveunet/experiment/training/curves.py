"""The table of losses and scores, which a training that goes on continues."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.loggers.logger import rank_zero_experiment

from asteroid_waveunet.file_utils import replacing

__all__ = ["Curves"]


class Curves(CSVLogger):
    """Lightning's `metrics.csv`, but rows from before stay where training goes on.

    Those of the checkpoint's step and after are taken out: these steps are done again.

    Args:
        folder: of the logs; the table is `folder/csv/metrics.csv`.
        step: the first that will be logged, 0 for a new training.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        super().__init__(folder, name="", version="csv")
        self.first = step

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            keys = _keep_before(Path(self.log_dir) / "metrics.csv", self.first)
            self._experiment = _Continued(log_dir=self.log_dir)
            self._experiment.metrics_keys = keys
        return self._experiment


class _Continued(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        """Where Lightning deletes what is there."""


def _keep_before(path: Path, step: int) -> list[str]:
    """Takes later rows out of a table, and what a kill cut off; the names of its columns."""
    if not path.is_file():
        return []
    with open(path, newline="", errors="replace") as file:
        lines = [line for line in file if line.endswith("\n")]
    reader = csv.DictReader(lines)
    keys = list(reader.fieldnames or [])
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
    with replacing(path) as partial, open(partial, "w", newline="") as file:
        writer = csv.DictWriter(file, keys)
        writer.writeheader()
        writer.writerows(rows)
    return keys
