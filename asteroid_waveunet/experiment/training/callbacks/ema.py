"""Exponential moving average (EMA) of the weights, often a better model than the last weights."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ["CURRENT_WEIGHTS", "ExponentialMovingAverage"]

CURRENT_WEIGHTS = "current_weights"  # entry of a checkpoint


class ExponentialMovingAverage(pl.Callback):
    """Average the weights; validate the average and keep the best one.

    After each optimizer step, average += (1 - d) * (weights - average), where

        d = min(decay, (1 + n) / (10 + n))     after n steps, as in TensorFlow [1].

    The smaller d at first keeps the initial weights from dominating the average. Batch
    normalisation statistics are averaged with the weights; the number of batches they count is
    copied.

    The model holds the averages during validation and the weights otherwise. A checkpoint stores
    the averages in `state_dict`, where `WaveUNet.from_pretrained` and others look for the model,
    and the weights in `current_weights`, from which training resumes bit for bit.

    Several processes each keep the same averages, as they have the same weights. Their batch
    normalisation statistics differ; all validate and save those of the first process. This
    callback comes before those that change or save weights when a validation ends.

    Args:
        decay: above 0 and below 1; 0.999 averages over about 1000 steps.

    [1] tf.train.ExponentialMovingAverage, with num_updates.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._last_step = 0  # optimizer steps at the last update
        self._averages: dict[str, Tensor] | None = None
        self._swapped = False  # the model holds the averages, `_averages` the weights

    @property
    def state_key(self) -> str:
        return "Averaging"  # the name in existing checkpoints

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._averages is None:
            self.restart(pl_module)
        assert self._averages is not None
        # A checkpoint is loaded before the model is moved to its device.
        self._averages = {name: x.to(pl_module.device) for name, x in self._averages.items()}

    @torch.no_grad()
    def restart(self, pl_module: pl.LightningModule) -> None:
        """Restart the average from the current weights."""
        self.updates = 0
        weights = pl_module.state_dict()
        if self._averages is None:
            self._averages = {name: x.clone() for name, x in weights.items()}
        for name, average in self._averages.items():
            average.copy_(weights[name])

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, n: int
    ) -> None:
        # With accumulated gradients, several batches make one step.
        if trainer.global_step == self._last_step:
            return
        assert self._averages is not None
        self._last_step = trainer.global_step
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        weights = pl_module.state_dict()
        averaged = [name for name, x in self._averages.items() if x.is_floating_point()]
        get_ema_multi_avg_fn(decay)(
            [self._averages[name] for name in averaged], [weights[name] for name in averaged], None
        )
        for name in self._averages.keys() - set(averaged):
            self._averages[name].copy_(weights[name])

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._swap(pl_module, True)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._swap(pl_module, False)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._swap(pl_module, False)

    @torch.no_grad()
    def _swap(self, pl_module: pl.LightningModule, use_averages: bool) -> None:
        """Put the averages or the weights into the model.

        In place: tensors created in inference mode cannot be changed in training.
        """
        if self._averages is None or self._swapped == use_averages:
            return
        for name, weight in pl_module.state_dict().items():
            previous = weight.clone()
            weight.copy_(self._averages[name])
            self._averages[name].copy_(previous)
        self._swapped = use_averages

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "step": self._last_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.updates, self._last_step = state_dict["updates"], state_dict["step"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._averages is None:
            return
        weights, averages = checkpoint["state_dict"], self._averages
        if self._swapped:
            weights, averages = averages, weights
        checkpoint[CURRENT_WEIGHTS], checkpoint["state_dict"] = weights, averages

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore averages and weights; Lightning has loaded the averages into the model."""
        if CURRENT_WEIGHTS in checkpoint:
            averages = checkpoint["state_dict"]
            self._averages = {name: x.clone() for name, x in averages.items()}
            pl_module.load_state_dict(checkpoint[CURRENT_WEIGHTS])
