"""How long training goes on: early stopping, and the paper's second round."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.rank_zero import rank_zero_info

from asteroid_waveunet.experiment.segments.batch_sampler import ResumableBatchSampler
from asteroid_waveunet.experiment.settings import Training
from asteroid_waveunet.experiment.training.callbacks import checkpointing
from asteroid_waveunet.experiment.training.callbacks.ema import Averaging

__all__ = ["Rounds"]


class Rounds(pl.Callback):
    """Ends a round after `patience` epochs without a better validation loss; begins the next.

    The paper trains in two (section 4.1): after the first, batches are doubled, the step size is
    1e-5, and patience begins anew; the best of both rounds wins. As in its code (Training.py,
    `optimise` and `train`), an epoch keeps its number of steps, so that it sees twice the
    segments, Adam keeps its moments, and the first round's best loss is the one to beat. There
    the second round goes on from the first one's last weights, here from its best.

    Attributes:
        improved: whether the epoch that was validated last is the best so far.
        best: its loss, None as long as there is no finite one.
    """

    def __init__(
        self, batches: ResumableBatchSampler, settings: Training, best_checkpoint: Path
    ) -> None:
        self.batches = batches
        self.settings = settings
        self.best_checkpoint = best_checkpoint
        self.second: int | None = None  # the epoch with which the second round began
        self.best: float | None = None
        self.improved = False
        self.waited = 0
        self.judged = -1  # the last epoch that was validated
        self.place = (0, 0)  # the epoch, and its steps that are done

    @property
    def over(self) -> bool:
        """Whether patience has come to its end in the last round."""
        waiting = self.waited > 0 and self.waited >= self.settings.patience
        return waiting and not (self.settings.fine_tunes and self.second is None)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = self.over  # killed when all was done but to write the model
        if self.second is not None:
            self._set_step_size(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.batches.seek(trainer.current_epoch)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, n: int
    ) -> None:
        self.improved = False
        self.place = (trainer.current_epoch, n + 1)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # An older Lightning that goes on from an epoch's end validates that epoch again.
        if self.judged == trainer.current_epoch:
            return
        self.judged = trainer.current_epoch
        loss = float(trainer.callback_metrics["val_loss"])
        self.improved = math.isfinite(loss) and (self.best is None or loss < self.best)
        if self.improved:
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.over:
            trainer.should_stop = True
            rank_zero_info(f"No better validation loss in {self.waited} epochs: training is done.")
        elif self.waited >= self.settings.patience:
            self._fine_tune(trainer, pl_module)

    def _fine_tune(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Back to the best weights, and on from there with larger batches and smaller steps."""
        if self.best is None:
            raise ValueError(checkpointing.DIVERGED)
        best = checkpointing.read(self.best_checkpoint)
        pl_module.load_state_dict(best["state_dict"])
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Averaging):
                callback.restart(pl_module)
        (optimizer,) = trainer.optimizers
        optimizer.load_state_dict(best["optimizer_states"][0])
        self._set_step_size(trainer)
        self.waited = 0
        self._double_from(trainer.current_epoch + 1)
        rank_zero_info(
            f"No better validation loss in {self.settings.patience} epochs: on from the best, with "
            f"batches of {self.batches.batch_size} and a step size of "
            f"{self.settings.fine_tuning_lr:g}."
        )

    def _set_step_size(self, trainer: pl.Trainer) -> None:
        """To the second round's, of which a warm-up that is not over yet takes its share."""
        lr, share = self.settings.fine_tuning_lr, 1.0
        for config in trainer.lr_scheduler_configs:
            schedule: Any = config.scheduler  # a warm-up's: it sets base_lrs times a share
            schedule.base_lrs = [lr for _ in schedule.base_lrs]
            share = schedule.lr_lambdas[0](schedule.last_epoch)
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr * share

    def _double_from(self, epoch: int) -> None:
        self.second = epoch
        self.batches.resize(epoch, 2 * self.settings.batch_size)

    def state_dict(self) -> dict[str, Any]:
        names = ("second", "best", "improved", "waited", "judged")
        return {**{name: getattr(self, name) for name in names}, "place": list(self.place)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)
        epoch, step = self.place
        if self.second is not None:
            self._double_from(self.second)
        self.batches.seek(epoch, step)
