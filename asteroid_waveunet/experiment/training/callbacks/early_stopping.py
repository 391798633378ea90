"""Early stopping, and the paper's second training round."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from asteroid_waveunet.experiment.segments.batch_sampler import ResumableBatchSampler
from asteroid_waveunet.experiment.settings import Training
from asteroid_waveunet.experiment.training import checkpoint_io
from asteroid_waveunet.experiment.training.callbacks.collapse import CollapseGuard
from asteroid_waveunet.experiment.training.callbacks.ema import ExponentialMovingAverage
from asteroid_waveunet.experiment.training.callbacks.progress import print_progress
from asteroid_waveunet.experiment.training.optimizers import RELATIVE_LR

__all__ = ["TwoRoundEarlyStopping"]

# Key in a checkpoint -> attribute.
STATE = {
    "second": "second_round",
    "best": "best",
    "improved": "improved",
    "waited": "epochs_without_improvement",
    "judged": "last_validated",
}


class TwoRoundEarlyStopping(pl.Callback):
    """Stop a round after `patience` epochs without improvement, then start the next round.

    The paper trains in two rounds (section 4.1): after the first, the batch size doubles, the
    learning rate is 1e-5, and patience restarts; the best model of both rounds wins. As in its
    code (Training.py, `optimise` and `train`), an epoch keeps its number of steps, so it has twice
    the segments; Adam keeps its moments; and the second round must beat the first one's best loss.
    There the second round starts from the last weights of the first, here from the best.

    Attributes:
        best: lowest validation loss, None until there is a finite one.
        improved: the last validated epoch is the best so far.
        second_round: first epoch of the second round, None before it.
        last_validated: the last validated epoch, -1 before it.
        position: current epoch and number of its batches done.
    """

    def __init__(
        self,
        batches: ResumableBatchSampler,
        settings: Training,
        best_checkpoint: Path,
        guard: CollapseGuard,
    ) -> None:
        self.guard = guard
        self.batches = batches
        self.settings = settings
        self.best_checkpoint = best_checkpoint
        self.second_round: int | None = None
        self.best: float | None = None
        self.improved = False
        self.epochs_without_improvement = 0
        self.last_validated = -1
        self.position = (0, 0)

    @property
    def state_key(self) -> str:
        return checkpoint_io.EARLY_STOPPING_KEY  # the name in existing checkpoints

    @property
    def patience_exhausted(self) -> bool:
        return self.epochs_without_improvement >= max(1, self.settings.patience)

    @property
    def finished(self) -> bool:
        """True if patience is exhausted in the last round."""
        return self.patience_exhausted and not (
            self.settings.fine_tunes and self.second_round is None
        )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = self.finished  # killed after the last epoch, before best_model.pth
        if self.second_round is not None:
            self._set_fine_tuning_lr(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.batches.seek(trainer.current_epoch)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, n: int
    ) -> None:
        self.improved = False
        self.position = (trainer.current_epoch, n + 1)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Older versions of Lightning validate again when they resume from an epoch's end.
        if self.last_validated == trainer.current_epoch:
            return
        self.last_validated = trainer.current_epoch
        loss = float(trainer.callback_metrics["val_loss"])
        self.improved = math.isfinite(loss) and (self.best is None or loss < self.best)
        if self.improved:
            self.best, self.epochs_without_improvement = loss, 0
            return
        self.epochs_without_improvement += 1
        if self.finished:
            trainer.should_stop = True
            n_epochs = self.epochs_without_improvement
            print_progress(f"No better validation loss in {n_epochs} epochs: training is done.")
        elif self.patience_exhausted:
            self._start_second_round(trainer, pl_module)

    def _start_second_round(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the best weights and continue with a larger batch and a lower learning rate."""
        if self.best is None:
            raise ValueError(checkpoint_io.DIVERGED)
        best = checkpoint_io.read(self.best_checkpoint)
        pl_module.load_state_dict(best["state_dict"])
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, ExponentialMovingAverage):
                callback.restart(pl_module)
        (optimizer,) = trainer.optimizers
        optimizer.load_state_dict(best["optimizer_states"][0])
        self._set_fine_tuning_lr(trainer)
        self.epochs_without_improvement = 0
        self._double_batch_size(trainer.current_epoch + 1)
        print_progress(
            f"No better validation loss in {self.settings.patience} epochs: second round from the "
            f"best weights, batch size {self.batches.batch_size}, learning rate "
            f"{self.settings.fine_tuning_lr * self.guard.lr_factor:g}."
        )

    def _set_fine_tuning_lr(self, trainer: pl.Trainer) -> None:
        """Set the second round's learning rate, scaled by a warm-up that is not over yet."""
        lr, factor = self.settings.fine_tuning_lr * self.guard.lr_factor, 1.0
        for config in trainer.lr_scheduler_configs:
            schedule: Any = config.scheduler  # a LambdaLR for the warm-up: lr = base_lr * factor
            groups = schedule.optimizer.param_groups
            schedule.base_lrs = [lr * group.get(RELATIVE_LR, 1.0) for group in groups]
            factor = schedule.lr_lambdas[0](schedule.last_epoch)
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr * factor * group.get(RELATIVE_LR, 1.0)

    def _double_batch_size(self, epoch: int) -> None:
        self.second_round = epoch
        self.batches.resize(epoch, 2 * self.settings.batch_size)

    def state_dict(self) -> dict[str, Any]:
        state = {key: getattr(self, name) for key, name in STATE.items()}
        return {**state, "place": list(self.position)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for key, name in STATE.items():
            setattr(self, name, state_dict[key])
        self.position = epoch, step = tuple(state_dict["place"])
        if self.second_round is not None:
            self._double_batch_size(self.second_round)
        self.batches.seek(epoch, step)
