"""Where training is, on disk: whole files only, and all that it takes to go on to the bit."""

from __future__ import annotations

import io
import os
import random
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from asteroid_waveunet.experiment import disk
from asteroid_waveunet.experiment.training import distributed
from asteroid_waveunet.experiment.training.signals import Interrupted, Requests, requeue
from asteroid_waveunet.file_utils import replacing
from asteroid_waveunet.weights import safe_load

if TYPE_CHECKING:
    from asteroid_waveunet.experiment.training.callbacks.early_stopping import Rounds
    from asteroid_waveunet.experiment.training.callbacks.finite_loss import FiniteLoss

__all__ = ["Checkpoints", "WholeFiles", "place", "read"]

DIVERGED = (
    "The validation loss was never finite: training diverged. Delete the folder checkpoints and "
    "start again with a lower --lr."
)


class WholeFiles(TorchCheckpointIO):
    """Lightning's checkpoints, written so that a kill or a full disk leaves the one before.

    Attributes:
        failure: why the last one could not be written. The process that writes does not raise it:
            others would wait for that one without an end. `Checkpoints` does, in all of them.
    """

    failure: OSError | None = None

    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        path = Path(path)
        try:
            with replacing(path) as partial, open(partial, "wb") as file:
                file.write(buffer.getbuffer())
                file.flush()
                os.fsync(file.fileno())
        except OSError as reason:
            self.failure = OSError(_unwritten(path, buffer.getbuffer().nbytes, reason))

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> Any:
        """Tensors and plain Python only, on the CPU; Lightning brings them where they belong."""
        return read(Path(path))


def _unwritten(path: Path, size: int, reason: OSError) -> str:
    text = f"{path} cannot be written: {reason.strerror}"
    if reason.errno in disk.FULL:
        free = disk.format_size(disk.free_space(path.parent))
        text += f" (it takes {disk.format_size(size)}, and {free} are free)"
    kept = "; the checkpoint before it is kept" if path.is_file() else ""
    return f"{text}{kept}. Make room, then run the same command again to go on."


def read(path: Path) -> dict[str, Any]:
    """A checkpoint, in memory of its own: the file may be replaced while it is used.

    Raises:
        ValueError: if it is corrupt, or of a training that this one cannot go on from.
    """
    try:
        safe_load.unpickled(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        if "Rounds" not in checkpoint["callbacks"]:
            raise ValueError("it was written by another version of this training")
    except (KeyError, TypeError, ValueError) as reason:
        raise ValueError(
            f"{path} is no checkpoint to go on from ({reason}); delete {path.parent} to start over."
        ) from reason
    return checkpoint


def place(path: Path) -> tuple[int, int]:
    """How many of the optimiser's steps a checkpoint has behind it, and epochs with its own.

    Both are 0 without a checkpoint.

    Raises:
        ValueError: as `read`.
    """
    if not path.is_file():
        return 0, 0
    checkpoint = read(path)
    return checkpoint["global_step"], checkpoint["epoch"] + 1


class Checkpoints(Checkpoint):
    """Keeps `last.ckpt`, to go on from, and `best.ckpt`, the best by validation loss.

    The last one is written after every validation and, within an epoch, when `minutes` have gone
    by since. What a kill costs is so many minutes, or the validation that it came into.

    Within an epoch it is written between two steps, when all of one is done, its logs included:
    the weights and Lightning's counts of steps then agree, and a training that goes on from there
    ends with the same weights to the bit, as arithmetic allows (float32 on a CPU does).

    Args:
        folder: of both files.
        files: what Lightning writes them with.
        rounds: says which epoch is the best so far.
        losses: that have to be finite before anything is written.
        requests: to end; checked between steps.
        minutes: of training between two checkpoints within an epoch; 0 for one at every step.
    """

    def __init__(
        self,
        folder: Path,
        files: WholeFiles,
        rounds: Rounds,
        losses: FiniteLoss,
        requests: Requests,
        minutes: float,
    ) -> None:
        self.last, self.best = folder / "last.ckpt", folder / "best.ckpt"
        self.files = files
        self.rounds = rounds
        self.losses = losses
        self.requests = requests
        self.minutes = minutes
        self._written = time.monotonic()
        self._random: dict[str, Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._written = time.monotonic()
        self.requests.listen()
        if self._random is not None:
            _set_random_state(self._random)
        _tidy(self.last.parent)
        if self.rounds.improved:  # killed before the last, which is the best, was made it
            self._keep_as_best(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Before an epoch's first step there is its checkpoint; amid accumulated gradients, which
        # are in no checkpoint, there can be none.
        if batch_idx == 0 or batch_idx % trainer.accumulate_grad_batches:
            return
        due = time.monotonic() - self._written >= 60 * self.minutes
        request = self.requests.received or -int(not due)
        failed, wanted = distributed.highest(int(self.losses.failed), request)
        if failed:
            self.losses.end()
        if wanted >= 0:
            self._save(trainer)
        if wanted > 0:
            self._end(trainer, wanted, f"training is saved after step {trainer.global_step}")

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        # Several processes have different numbers of batches, and agree at the end.
        if self.requests.received and not distributed.together():
            self._end(trainer, self.requests.received, "this validation begins again")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save(trainer)
        if self.rounds.improved:
            self._keep_as_best(trainer)
        (wanted,) = distributed.highest(self.requests.received)
        if wanted:
            self._end(trainer, wanted, f"training is saved after step {trainer.global_step}")

    def _save(self, trainer: pl.Trainer) -> None:
        self.losses.settle()
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(self.last, weights_only=False)
        (failed,) = distributed.highest(int(self.files.failure is not None))
        if failed:
            raise self.files.failure or OSError(f"{self.last} cannot be written; see there.")
        self._written = time.monotonic()

    @rank_zero_only
    def _link(self) -> None:
        with replacing(self.best) as partial:
            try:
                os.link(self.last, partial)
            except OSError:  # a file system without links
                shutil.copyfile(self.last, partial)

    def _keep_as_best(self, trainer: pl.Trainer) -> None:
        self._link()
        trainer.strategy.barrier("best checkpoint")

    def _end(self, trainer: pl.Trainer, number: int, where: str) -> None:
        if number not in (2, 15) and trainer.is_global_zero:
            where += f"; {requeue()}"
        raise Interrupted(number, where)

    def state_dict(self) -> dict[str, Any]:
        return {"random": _random_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._random = state_dict["random"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Lightning has counted the batch that it is about to begin; that one is still to come."""
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for counts in (progress["total"], progress["current"]):
            counts.update(dict.fromkeys(counts, counts["completed"]))
        progress["is_last_batch"] = progress["current"]["completed"] >= self.rounds.batches.steps


@rank_zero_only
def _tidy(folder: Path) -> None:
    """Removes what a killed process left half written."""
    for partial in folder.glob(".*.partial.*"):
        partial.unlink(missing_ok=True)


def _random_state() -> dict[str, Any]:
    """Of all generators, as tensors and plain Python."""
    legacy: Any = np.random.get_state()  # noqa: NPY002 - others' code may draw from it
    kind, keys, *rest = legacy
    return {
        "python": random.getstate(),
        "numpy": (kind, keys.tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _set_random_state(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if len(state["cuda"]) == torch.cuda.device_count() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
