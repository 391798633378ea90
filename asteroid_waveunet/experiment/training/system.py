"""The LightningModule of a source model: its loss, optimizer, schedule and data loaders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from asteroid.engine import System
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from asteroid_waveunet.experiment.segments.batch_sampler import (
    ResumableBatchSampler,
    balanced_partition,
    collate,
)
from asteroid_waveunet.experiment.segments.dataset import Segments
from asteroid_waveunet.experiment.settings import Training
from asteroid_waveunet.experiment.training import distributed
from asteroid_waveunet.experiment.training.callbacks.collapse import CollapseGuard
from asteroid_waveunet.experiment.training.callbacks.validation_sdr import ValidationSDR
from asteroid_waveunet.experiment.training.objectives import LOSSES, make_schedule
from asteroid_waveunet.experiment.training.optimizers import make_optimizer
from asteroid_waveunet.experiment.training.signals import ignore_in_worker
from asteroid_waveunet.experiment.training.teacher import Teacher
from asteroid_waveunet.file_utils import valid_unicode
from asteroid_waveunet.models.base import SourceModel

__all__ = ["WaveUNetSystem", "make_loader", "make_system", "validation_indices"]


class WaveUNetSystem(System):
    """Asteroid's System for mixtures with context: they are longer than their targets.

    Attributes:
        network: maps mixtures to estimates; the model's `forward_context`, possibly compiled.
        validation: computes `val_sdr/SOURCE` in dB, or None.
        guard: notices a collapse of training, or None.
        teacher: replaces the true sources in training, or None.
        ignore_validation: this process has no validation tracks; it validates one segment only to
            stay synchronised, and its results are ignored.
    """

    network: Callable[[Tensor], Tensor]
    validation: ValidationSDR | None = None
    guard: CollapseGuard | None = None
    teacher: Teacher | None = None
    ignore_validation = False

    def common_step(self, batch: Any, batch_nb: int, train: bool = True) -> Tensor:
        mixture, targets = batch
        if train and self.teacher is not None:
            targets = self.teacher(mixture)
        estimates = self.network(mixture)
        if self.validation is not None and not train and not self.ignore_validation:
            self.validation.update(targets, estimates)
        loss = self.loss_func(estimates, targets)
        if train and self.guard is not None:
            self.guard.observe(estimates, targets, loss)
        return loss

    def training_step(self, batch: Any, batch_nb: int) -> Tensor:
        loss = self.common_step(batch, batch_nb, train=True)
        self.log("loss", loss, logger=True, sync_dist=distributed.is_initialized())
        return loss

    def on_validation_epoch_start(self) -> None:
        self._totals = [0.0, 0.0]  # sum of the segments' losses, number of segments
        if self.validation is not None:
            self.validation.reset()

    def validation_step(self, batch: Any, batch_nb: int) -> None:
        n_segments = 0 if self.ignore_validation else len(batch[0])
        loss = self.common_step(batch, batch_nb, train=False)
        self._totals[0] += float(loss) * n_segments
        self._totals[1] += n_segments

    def on_validation_epoch_end(self) -> None:
        loss, n_segments = distributed.all_reduce_sum(self._totals)
        self.log("val_loss", loss / n_segments, prog_bar=True)
        super().on_validation_epoch_end()
        if self.validation is not None:
            medians = self.validation.medians()
            for source, sdr in zip(self.model.sources, medians, strict=True):
                self.log(f"val_sdr/{source}", float(sdr))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the model's name and arguments, for `from_pretrained`."""
        super().on_save_checkpoint(checkpoint)
        serialized = self.model.serialize()
        checkpoint.update({key: serialized[key] for key in ("model_name", "model_args")})


def make_system(
    model: SourceModel,
    train_set: Dataset,
    valid_set: Dataset,
    settings: Training,
    batches: ResumableBatchSampler,
    config: dict[str, Any],
    on_device: bool,
    guard: CollapseGuard | None = None,
) -> WaveUNetSystem:
    """Return a model with its data loaders, loss, optimizer and schedule; arguments as for `fit`.

    Args:
        batches: sampler of the training segments.
        guard: measures the training batches.
    """
    lr = settings.lr * (guard.lr_factor if guard is not None else 1.0)
    optimizer = make_optimizer(settings.optimizer, model, lr)
    n_steps = batches.steps // settings.accumulate * settings.max_epochs
    indices = validation_indices(valid_set, batches)
    subset = Subset(valid_set, indices or [0])
    n_workers = 0 if on_device else settings.num_workers
    system = WaveUNetSystem(
        model=model,
        optimizer=optimizer,
        loss_func=LOSSES[settings.loss],
        train_loader=make_loader(train_set, n_workers, batch_sampler=batches),
        val_loader=make_loader(subset, settings.num_workers, batch_size=settings.batch_size),
        scheduler=make_schedule(settings.schedule, optimizer, n_steps, settings.warmup_steps),
        config=_loggable(config),
    )
    system.guard = guard
    system.teacher = None if settings.teacher is None else Teacher(settings.teacher, model)
    system.network = _compile(model) if settings.compile else model.forward_context
    system.ignore_validation = not indices  # more processes than tracks
    if isinstance(valid_set, Segments):
        system.validation = ValidationSDR(valid_set, indices)
    return system


def validation_indices(valid_set: Any, batches: ResumableBatchSampler) -> list[int]:
    """Return the validation segments of this rank in order; each track has one rank."""
    indices = range(len(valid_set))
    if not isinstance(valid_set, Segments):
        return list(indices[batches.rank :: batches.world_size])
    tracks = [valid_set.locate(index)[0] for index in indices]
    lengths = [tracks.count(number) for number in range(len(valid_set.tracks))]
    own_tracks = set(balanced_partition(lengths, batches.world_size)[batches.rank])
    return [index for index in indices if tracks[index] in own_tracks]


def make_loader(dataset: Dataset, num_workers: int, **batches: Any) -> DataLoader:
    """Return a DataLoader; `batches` are its arguments `batch_size` or `batch_sampler`."""
    return DataLoader(
        dataset,
        **batches,
        collate_fn=collate,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        prefetch_factor=4 if num_workers else None,
        worker_init_fn=ignore_in_worker,
        # A new epoch draws a number from the generator, but not with persistent workers. A
        # separate one keeps torch's global generator independent of num_workers.
        generator=torch.Generator(),
        # Pinned memory is copied to a GPU while it computes.
        pin_memory=num_workers > 0 and torch.cuda.is_available(),
    )


def _compile(model: SourceModel) -> Callable[[Tensor], Tensor]:
    """Compile the model's `forward_context` for each input shape; parameter names do not change.

    Raises:
        ValueError: at the first call, if compilation fails.
    """
    from torch._dynamo.exc import TorchDynamoException

    network = torch.compile(model.forward_context, dynamic=False)

    def run(mixture: Tensor) -> Tensor:
        try:
            return network(mixture)
        except TorchDynamoException as reason:
            first_line = str(reason).strip().split("\n")[0]
            raise ValueError(
                f"The network cannot be compiled ({first_line}). torch.compile needs a C++ "
                "compiler, and Triton for a GPU; use --compile false to train without."
            ) from reason

    return run


def _loggable(config: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Replace lists by text, which Asteroid's System would convert to tensors; escape text."""

    def convert(value: Any) -> Any:
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        return valid_unicode(text) if isinstance(text, str) else text

    return {
        section: {name: convert(value) for name, value in items.items()}
        for section, items in config.items()
    }
