"""A loss that is no number ends training, with the batch that it is of at hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from ..files import replacing
from . import ranks
from .sampling import Batches

__all__ = ["FiniteLoss"]


class FiniteLoss(pl.Callback):
    """Ends training at the first loss that is not finite, and saves its batch.

    On a GPU the loss of a step is looked at when the next one is under way, so that the GPU is
    not kept waiting; on a CPU at once. Nothing is written to a checkpoint before.

    Args:
        folder: where the batch is written: a dictionary `mixture`, `targets`, `indices`, `seed`,
            `epoch`, `step`, `loss` in `failed_step_N.pt`.
        batches: which indices a batch is of.
        seed: of the segments.
    """

    def __init__(self, folder: Path, batches: Batches, seed: int) -> None:
        self.folder = folder
        self.batches = batches
        self.seed = seed
        self._pending: deque[tuple[Callable[[], bool], Tensor, Any, dict[str, Any]]] = deque()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, n: int
    ) -> None:
        place = {"epoch": trainer.current_epoch, "step": n}
        self._pending.append((finite(outputs["loss"]), outputs["loss"], batch, place))
        if len(self._pending) > (pl_module.device.type == "cuda"):
            self._check(*self._pending.popleft())

    def settle(self) -> None:
        """Looks at the losses that have not been looked at.

        Raises:
            ValueError: if one is not finite.
        """
        while self._pending:
            self._check(*self._pending.popleft())

    def _check(
        self,
        is_finite: Callable[[], bool],
        loss: Tensor,
        batch: Any,
        place: dict[str, Any],
    ) -> None:
        bad = not is_finite()
        if not ranks.highest(int(bad), loss.device):
            return
        if not bad:
            raise ValueError("The loss of another process is not finite; see there.")
        step = place["epoch"] * self.batches.steps + place["step"]
        suffix = f"_rank_{self.batches.rank}" if self.batches.ranks > 1 else ""
        path = self.folder / f"failed_step_{step}{suffix}.pt"
        mixture, targets = (tensor.cpu() for tensor in batch)
        indices = self.batches.indices(place["epoch"], place["step"])
        described = {"indices": indices, "seed": self.seed, **place, "loss": float(loss)}
        with replacing(path) as partial:
            torch.save({"mixture": mixture, "targets": targets, **described}, partial)
        raise ValueError(
            f"The loss is {float(loss)} in step {step} (epoch {place['epoch']}). Its batch is in "
            f"{path}, for torch.load(..., weights_only=True). If that is sound, training diverged: "
            "go on from the last checkpoint with --clip 1 or --precision 32-true, or begin anew "
            "under another --tag with a lower --lr."
        )


def finite(loss: Tensor) -> Callable[[], bool]:
    """Whether a loss is finite, asked for now and answered later.

    A GPU works through what it is given in order: to read a value from it waits for all that was
    given before. So the answer is sent at once, and read when it has come.
    """
    answer = torch.isfinite(loss)
    if loss.device.type != "cuda":
        return lambda: bool(answer)
    here = torch.empty((), dtype=torch.bool, pin_memory=True)
    here.copy_(answer, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()

    def read() -> bool:
        arrived.synchronize()
        return bool(here)

    return read
