"""A moving average of the weights, which is often a better model than the weights themselves."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ["Averaging"]

CURRENT = "current_weights"  # a checkpoint's entry, beside its state_dict


class Averaging(pl.Callback):
    """Exponential moving average of the weights: what is validated, and what is kept as the best.

    After each of the optimiser's steps, average += (1 - d) * (weights - average), where

        d = min(decay, (1 + n) / (10 + n))     after n steps, as in TensorFlow [1],

    so that a young average does not remember the random weights of the beginning. The statistics
    of a batch normalisation are averaged with the weights that they belong to; the number of
    batches that it counts is copied.

    The model has the averages from a validation's start to its end, and the weights otherwise.
    In a checkpoint it is the averages that are in `state_dict`: they are the model, for
    `WaveUNet.from_pretrained` and whoever else reads it. The weights that training goes on with
    are in `current_weights`, and a training that is resumed is the unbroken one to the bit.

    Several processes each keep their own, which are the same, as their weights are; of statistics,
    which are not, all validate and keep the first one's. Among callbacks it comes before those
    that change weights, or store them, when a validation ends.

    Args:
        decay: above 0 and below 1: 0.999 is a memory of some 1000 steps.

    [1] tf.train.ExponentialMovingAverage, with num_updates.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._step = 0  # the optimiser's that was the last to be averaged
        self._averages: dict[str, Tensor] | None = None
        self._exchanged = False  # whether the averages are in the model, and the weights here

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._averages is None:
            self.restart(pl_module)
        assert self._averages is not None
        # Those of a checkpoint came before the model was brought to its device.
        self._averages = {name: x.to(pl_module.device) for name, x in self._averages.items()}

    @torch.no_grad()
    def restart(self, pl_module: pl.LightningModule) -> None:
        """The average begins anew, with the weights as they are."""
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
        # Several batches make one step where gradients are accumulated.
        if trainer.global_step == self._step:
            return
        assert self._averages is not None
        self._step = trainer.global_step
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
        self._exchange(pl_module, True)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._exchange(pl_module, False)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._exchange(pl_module, False)

    @torch.no_grad()
    def _exchange(self, pl_module: pl.LightningModule, averaged: bool) -> None:
        """Gives the model its averages, or its weights again.

        In place: tensors that are made in a validation cannot be changed in training.
        """
        if self._averages is None or self._exchanged == averaged:
            return
        for name, weight in pl_module.state_dict().items():
            kept = weight.clone()
            weight.copy_(self._averages[name])
            self._averages[name].copy_(kept)
        self._exchanged = averaged

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "step": self._step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.updates, self._step = state_dict["updates"], state_dict["step"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._averages is None:
            return
        weights, averages = checkpoint["state_dict"], self._averages
        if self._exchanged:
            weights, averages = averages, weights
        checkpoint[CURRENT], checkpoint["state_dict"] = weights, averages

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Lightning has given the model the averages by now, as what a checkpoint holds."""
        if CURRENT in checkpoint:
            averages = checkpoint["state_dict"]
            self._averages = {name: x.clone() for name, x in averages.items()}
            pl_module.load_state_dict(checkpoint[CURRENT])
