"""A loss that is no number ends training, with the batch that it is of at hand."""

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

Failure = tuple[Tensor, Any, dict[str, Any]]  # a loss, its batch, and where that is


class FiniteLoss(pl.Callback):
    """Ends training at the first loss that is not finite, and saves its batch.

    On a GPU the loss of a batch is looked at when the next one is under way, so that the GPU is
    not kept waiting; on a CPU at once. `Checkpoints`, where all processes agree before a step
    what is to be done, ends training then; nothing is written to a checkpoint before.

    Args:
        folder: where the batch is written: a dictionary `mixture`, `targets`, `indices`, `seed`,
            `epoch`, `batch` (of that epoch), `step`, `loss` in `failed_step_N.pt`, N the
            optimiser's step.
        batches: which indices a batch is of.
        seed: of the segments.
    """

    def __init__(self, folder: Path, batches: ResumableBatchSampler, seed: int) -> None:
        self.folder = folder
        self.batches = batches
        self.seed = seed
        self._pending: deque[tuple[Callable[[], bool], Failure]] = deque()
        self._failure: Failure | None = None  # the first of this process

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, n: int
    ) -> None:
        step = trainer.current_epoch * self.batches.steps + n
        place = {
            "epoch": trainer.current_epoch,
            "batch": n,
            "step": step // trainer.accumulate_grad_batches,
        }
        loss = outputs["loss"]
        self._pending.append((finite(loss), (loss, batch, place)))
        if len(self._pending) > (pl_module.device.type == "cuda"):
            self._look()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.settle()  # rather than to validate for nothing

    @property
    def failed(self) -> bool:
        """Whether a loss of this process that was looked at is not finite."""
        return self._failure is not None

    def _look(self) -> None:
        is_finite, one = self._pending.popleft()
        if not is_finite() and self._failure is None:
            self._failure = one

    def settle(self) -> None:
        """Looks at the losses that have not been looked at, in all processes.

        Raises:
            ValueError: if one is not finite.
        """
        while self._pending:
            self._look()
        (failed,) = distributed.highest(int(self.failed))
        if failed:
            self.end()

    def end(self) -> NoReturn:
        """
        Raises:
            ValueError: says where the batch is that a loss of this process was not finite of, or
                that it was another's.
        """
        if self._failure is None:
            raise ValueError("The loss of another process is not finite; see there.")
        loss, batch, place = self._failure
        suffix = f"_rank_{self.batches.rank}" if self.batches.ranks > 1 else ""
        path = self.folder / f"failed_step_{place['step']}{suffix}.pt"
        mixture, targets = (tensor.cpu() for tensor in batch)
        indices = self.batches.indices(place["epoch"], place["batch"])
        described = {"indices": indices, "seed": self.seed, **place, "loss": float(loss)}
        with replacing(path) as partial:
            torch.save({"mixture": mixture, "targets": targets, **described}, partial)
        raise ValueError(
            f"The loss is {float(loss)} in step {place['step']} (epoch {place['epoch']}, batch "
            f"{place['batch']} of it). The batch is in {path}, for torch.load(..., "
            "weights_only=True). If that is sound, training diverged: go on from the last "
            "checkpoint with --gradient_clip 1 or --precision 32-true, or begin anew under another "
            "--tag with a lower --lr."
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
