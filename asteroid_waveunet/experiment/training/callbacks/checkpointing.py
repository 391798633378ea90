"""Write checkpoints from which training resumes bit for bit."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from asteroid_waveunet.experiment.training import checkpoint_io, distributed
from asteroid_waveunet.experiment.training.callbacks.early_stopping import TwoRoundEarlyStopping
from asteroid_waveunet.experiment.training.callbacks.finite_loss import FiniteLoss
from asteroid_waveunet.experiment.training.checkpoint_io import AtomicCheckpointIO
from asteroid_waveunet.experiment.training.signals import (
    InterruptedBySignal,
    StopSignals,
    requeue_slurm_job,
)
from asteroid_waveunet.file_utils import remove_leftovers, replacing

__all__ = ["Checkpointing"]


class Checkpointing(Checkpoint):
    """Write `last.ckpt`, to resume from, and `best.ckpt`, the best by validation loss.

    The last one is written after every validation and, within an epoch, `minutes` after the
    previous one. A kill costs at most these minutes, or the validation it interrupts.

    Within an epoch, checkpoints are written between two steps, after all of a step is done,
    including its logs. The weights and Lightning's step counts then agree, and a resumed training
    ends with the same weights bit for bit where arithmetic is deterministic (float32 on a CPU).

    Args:
        folder: of both files.
        files: Lightning's writer.
        early_stopping: knows if the last epoch is the best.
        losses: must be finite before anything is written.
        stop_signals: checked between steps.
        minutes: of training between two checkpoints within an epoch; 0 for one at every step.
    """

    def __init__(
        self,
        folder: Path,
        files: AtomicCheckpointIO,
        early_stopping: TwoRoundEarlyStopping,
        losses: FiniteLoss,
        stop_signals: StopSignals,
        minutes: float,
    ) -> None:
        self.last, self.best = folder / "last.ckpt", folder / "best.ckpt"
        self.files = files
        self.early_stopping = early_stopping
        self.losses = losses
        self.stop_signals = stop_signals
        self.minutes = minutes
        self._written_at = time.monotonic()
        self._random_state: dict[str, Any] | None = None

    @property
    def state_key(self) -> str:
        return "Checkpoints"  # the name in existing checkpoints

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._written_at = time.monotonic()
        self.stop_signals.install()
        if self._random_state is not None:
            checkpoint_io.set_random_state(self._random_state)
        rank_zero_only(remove_leftovers)(self.last.parent)
        if self.early_stopping.improved:  # killed between writing last.ckpt and linking best.ckpt
            self._keep_as_best(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # The first step of an epoch follows that epoch's checkpoint. Accumulated gradients are
        # not saved: no checkpoint is written between accumulated batches.
        if batch_idx == 0 or batch_idx % trainer.accumulate_grad_batches:
            return
        due = time.monotonic() - self._written_at >= 60 * self.minutes
        # -1: nothing to do; 0: save; else the signal to stop at.
        action = self.stop_signals.received or -int(not due)
        failed, action = distributed.all_reduce_max(int(self.losses.failed), action)
        if failed:
            self.losses.fail()
        if action >= 0:
            self._save(trainer)
        if action > 0:
            self._stop(trainer, action, f"training is saved after step {trainer.global_step}")

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        # Several processes have different numbers of batches and can only agree at the end.
        if self.stop_signals.received and not distributed.is_initialized():
            self._stop(trainer, self.stop_signals.received, "this validation will be repeated")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save(trainer)
        if self.early_stopping.improved:
            self._keep_as_best(trainer)
        (received,) = distributed.all_reduce_max(self.stop_signals.received)
        if received:
            self._stop(trainer, received, f"training is saved after step {trainer.global_step}")

    def _save(self, trainer: pl.Trainer) -> None:
        self.losses.check_pending()
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(self.last, weights_only=False)
        (failed,) = distributed.all_reduce_max(int(self.files.failure is not None))
        if failed:
            raise self.files.failure or OSError(
                f"{self.last} cannot be written; see the message of rank 0."
            )
        self._written_at = time.monotonic()

    @rank_zero_only
    def _link_best(self) -> None:
        with replacing(self.best) as partial:
            try:
                os.link(self.last, partial)
            except OSError:  # a file system without links
                shutil.copyfile(self.last, partial)

    def _keep_as_best(self, trainer: pl.Trainer) -> None:
        self._link_best()
        trainer.strategy.barrier("best checkpoint")

    def _stop(self, trainer: pl.Trainer, number: int, details: str) -> None:
        if number not in (signal.SIGINT, signal.SIGTERM) and trainer.is_global_zero:
            details += f"; {requeue_slurm_job()}"
        raise InterruptedBySignal(number, details)

    def state_dict(self) -> dict[str, Any]:
        return {"random": checkpoint_io.random_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._random_state = state_dict["random"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Uncount the batch that Lightning is about to begin: it is not done yet."""
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for counts in (progress["total"], progress["current"]):
            counts.update(dict.fromkeys(counts, counts["completed"]))
        n_batches = self.early_stopping.batches.steps
        progress["is_last_batch"] = progress["current"]["completed"] >= n_batches
