"""Notice that training has collapsed: saturated outputs, or a loss as large as that of silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from asteroid_waveunet.experiment.training import distributed
from asteroid_waveunet.experiment.training.callbacks.progress import print_progress

__all__ = ["CollapseGuard", "Collapsed"]

EVERY = 10  # batches between two that are measured
WINDOW = 10  # measured batches that are judged together
FULL_SCALE = 0.99  # absolute values above it count as saturated
SATURATED = 0.5  # share of saturated estimates in a collapsed window
LEARNED = 0.9  # loss relative to that of silence, below which something has been learned
PATIENCE = 3  # successive windows as bad as silence, after something has been learned


class Collapsed(Exception):
    """Training has collapsed; the message says how it shows."""


class CollapseGuard(pl.Callback):
    """Stop training when it has collapsed, from which it does not recover by itself.

    Either the outputs saturate: at least half of the estimates are near full scale, though the
    targets are not. An output activation then has no gradient any more. Or the loss, which had
    been lower, is as large as the loss of silent estimates for about 300 batches.

    Every tenth batch is measured. The values stay on the model's device until a window of ten is
    complete, or a validation begins.

    Attributes:
        loss: of a batch, `loss(estimates, targets)`.
        restarts: how often training has gone back and halved its learning rate.
        best: lowest loss of a window, relative to the loss of silence.
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.loss = loss
        self.restarts = 0
        self.best = float("inf")
        self._bad_windows = 0
        self._measured: list[Tensor] = []
        self._seen = 0

    @property
    def state_key(self) -> str:
        return "Collapse"

    @property
    def lr_factor(self) -> float:
        """Factor of all learning rates after the restarts."""
        return 0.5**self.restarts

    @torch.no_grad()
    def observe(self, estimates: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Measure every tenth training batch."""
        self._seen += 1
        if self._seen % EVERY:
            return
        estimates = estimates.detach()
        shares = [(x.abs() >= FULL_SCALE).float().mean() for x in (estimates, targets)]
        silence = self.loss(torch.zeros_like(targets), targets)
        values = [loss.detach(), silence, *shares]
        self._measured.append(torch.stack([value.double() for value in values]))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, n: int
    ) -> None:
        if len(self._measured) == WINDOW:
            self._judge()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._measured:  # of all processes: they have done the same number of batches
            self._judge()

    def _judge(self) -> None:
        """Judge a window.

        Raises:
            Collapsed: if training has collapsed.
        """
        sums = torch.stack([values.cpu() for values in self._measured]).sum(0).tolist()
        loss, silence, estimates, targets, n = distributed.all_reduce_sum(
            [*sums, float(len(self._measured))]
        )
        self._measured.clear()
        if estimates / n >= SATURATED > 2 * targets / n:
            raise Collapsed(
                f"{estimates / n:.0%} of the model's output is at full scale, and the loss is "
                f"{loss / n:.4g}"
            )
        ratio = loss / silence if silence > 0 and loss >= 0 else float("nan")  # e.g. ratios in dB
        self._bad_windows = self._bad_windows + 1 if ratio >= 1 and self.best <= LEARNED else 0
        if self._bad_windows >= PATIENCE:
            raise Collapsed(
                f"the loss is {loss / n:.4g} and that of silence {silence / n:.4g}, though it was "
                f"{self.best:.0%} of it before"
            )
        if ratio < self.best:
            self.best = ratio

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._seen >= EVERY * WINDOW and 1 <= self.best < float("inf"):
            print_progress(
                "Note: the training loss was never lower than that of silence; the model has "
                "learned nothing yet. Train for longer or with a higher --lr."
            )

    def state_dict(self) -> dict[str, Any]:
        return {
            "restarts": self.restarts,
            "best": self.best,
            "bad_windows": self._bad_windows,
            "seen": self._seen,
            "measured": [values.tolist() for values in self._measured],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.restarts, self.best = state_dict["restarts"], state_dict["best"]
        self._bad_windows, self._seen = state_dict["bad_windows"], state_dict["seen"]
        self._measured = [torch.tensor(x, dtype=torch.float64) for x in state_dict["measured"]]
