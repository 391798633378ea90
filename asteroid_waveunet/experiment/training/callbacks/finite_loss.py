"""Stop training on a NaN or infinite loss and save the offending batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytorch_lightning as pl
import torch
from torch import Tensor

from asteroid_waveunet.experiment.segments.batch_sampler import ResumableBatchSampler
from asteroid_waveunet.experiment.training import distributed
from asteroid_waveunet.file_utils import replacing

__all__ = ["FiniteLoss"]

BatchLoss = tuple[Tensor, Any, dict[str, Any]]  # loss, batch, and its epoch, batch and step


class FiniteLoss(pl.Callback):
    """Stop training at the first loss that is not finite, and save its batch.

    On a CPU each loss is checked at once; on a GPU while the next batch runs, so the GPU never
    waits for the check. `Checkpointing` stops training before the next step, where all processes
    agree on what to do, and writes no checkpoint before that.

    Args:
        folder: for the batch: `failed_step_N.pt` (N: optimizer step) holds a dictionary of
            `mixture`, `targets`, `indices`, `seed`, `epoch`, `batch` (within that epoch), `step`
            and `loss`.
        batches: the indices of each batch.
        seed: of the segments.
    """

    def __init__(self, folder: Path, batches: ResumableBatchSampler, seed: int) -> None:
        self.folder = folder
        self.batches = batches
        self.seed = seed
        self._pending: deque[tuple[Callable[[], bool], BatchLoss]] = deque()
        self._failure: BatchLoss | None = None  # the first of this process

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, n: int
    ) -> None:
        step = trainer.current_epoch * self.batches.steps + n
        position = {
            "epoch": trainer.current_epoch,
            "batch": n,
            "step": step // trainer.accumulate_grad_batches,
        }
        loss = outputs["loss"]
        self._pending.append((async_isfinite(loss), (loss, batch, position)))
        if len(self._pending) > (pl_module.device.type == "cuda"):
            self._check_oldest()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.check_pending()  # a failed training needs no validation

    @property
    def failed(self) -> bool:
        """True if a checked loss of this process is not finite."""
        return self._failure is not None

    def _check_oldest(self) -> None:
        is_finite, batch_loss = self._pending.popleft()
        if not is_finite() and self._failure is None:
            self._failure = batch_loss

    def check_pending(self) -> None:
        """Check the remaining losses of all processes.

        Raises:
            ValueError: if one is not finite.
        """
        while self._pending:
            self._check_oldest()
        (failed,) = distributed.all_reduce_max(int(self.failed))
        if failed:
            self.fail()

    def fail(self) -> NoReturn:
        """Save the offending batch if it is this process's.

        Raises:
            ValueError: names the file and what to do.
        """
        if self._failure is None:
            raise ValueError("The loss of another process is not finite; see its message.")
        loss, batch, position = self._failure
        suffix = f"_rank_{self.batches.rank}" if self.batches.world_size > 1 else ""
        path = self.folder / f"failed_step_{position['step']}{suffix}.pt"
        mixture, targets = (tensor.cpu() for tensor in batch)
        indices = self.batches.indices(position["epoch"], position["batch"])
        details = {"indices": indices, "seed": self.seed, **position, "loss": float(loss)}
        with replacing(path) as partial:
            torch.save({"mixture": mixture, "targets": targets, **details}, partial)
        raise ValueError(
            f"The loss is {float(loss)} in step {position['step']} (epoch {position['epoch']}, "
            f"batch {position['batch']}). The batch is saved in {path}; read it with torch.load("
            "..., weights_only=True). If its samples are finite, training diverged: resume from "
            "the last checkpoint with --gradient_clip 1 or --precision 32-true, or start over "
            "under another --tag with a lower --lr."
        )


def async_isfinite(loss: Tensor) -> Callable[[], bool]:
    """Start checking if a loss is finite; the returned function waits for the answer.

    Reading a value from a GPU waits for all work queued before it. The answer is therefore copied
    asynchronously now and read later.
    """
    answer = torch.isfinite(loss)
    if loss.device.type != "cuda":
        return lambda: bool(answer)
    on_cpu = torch.empty((), dtype=torch.bool, pin_memory=True)
    on_cpu.copy_(answer, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()

    def read() -> bool:
        copied.synchronize()
        return bool(on_cpu)

    return read
