"""What training minimises, and how its step size changes: tables by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from asteroid.losses import multisrc_mse, multisrc_neg_sisdr
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from ..losses import ChannelsInTime

__all__ = ["LOSSES", "SCHEDULES"]


def mean_of(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss that gives one value an example, averaged over the batch."""
    return lambda estimates, targets: loss(estimates, targets).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    # The paper's: mean square error over time, channels and sources.
    "mse": mean_of(multisrc_mse),
    "l1": torch.nn.functional.l1_loss,
    "neg_sisdr": ChannelsInTime(mean_of(multisrc_neg_sisdr)),
}


def constant(optimizer: Optimizer, lr: float, steps: int) -> None:
    """The same step size throughout, as in the paper."""


def one_cycle(optimizer: Optimizer, lr: float, steps: int) -> dict[str, Any]:
    """Up to `lr` over a tenth of all steps, then down to nothing."""
    schedule = OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    return {"scheduler": schedule, "interval": "step"}


SCHEDULES: dict[str, Callable[[Optimizer, float, int], Any]] = {
    "constant": constant,
    "one_cycle": one_cycle,
}
