"""Train a source model with Asteroid's System and Lightning."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, LearningRateMonitor
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch.utils.data import Dataset

from asteroid_waveunet import file_locks
from asteroid_waveunet.experiment.segments.batch_sampler import ResumableBatchSampler, make_endless
from asteroid_waveunet.experiment.segments.dataset import Segments
from asteroid_waveunet.experiment.settings import AUTO, PRECISIONS, Training
from asteroid_waveunet.experiment.training import checkpoint_io, loggers
from asteroid_waveunet.experiment.training.callbacks import progress
from asteroid_waveunet.experiment.training.callbacks.audio_logging import AudioLogging
from asteroid_waveunet.experiment.training.callbacks.checkpointing import Checkpointing
from asteroid_waveunet.experiment.training.callbacks.collapse import CollapseGuard
from asteroid_waveunet.experiment.training.callbacks.early_stopping import TwoRoundEarlyStopping
from asteroid_waveunet.experiment.training.callbacks.ema import ExponentialMovingAverage
from asteroid_waveunet.experiment.training.callbacks.finite_loss import FiniteLoss
from asteroid_waveunet.experiment.training.checkpoint_io import AtomicCheckpointIO
from asteroid_waveunet.experiment.training.objectives import LOSSES
from asteroid_waveunet.experiment.training.restarts import with_restarts
from asteroid_waveunet.experiment.training.signals import StopSignals
from asteroid_waveunet.experiment.training.system import make_system
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.weights import serialization

__all__ = ["fit"]


def fit(
    model: SourceModel,
    train_set: Dataset,
    valid_set: Dataset,
    exp_dir: str | os.PathLike,
    settings: Training,
    config: dict[str, Any] | None = None,
    on_device: bool = False,
) -> SourceModel:
    """Train a model and save the best one by validation loss as `exp_dir/best_model.pth`.

    A killed run resumes from `exp_dir/checkpoints/last.ckpt`, with the same result as an
    uninterrupted one (see `Checkpointing`). Curves are logged to `exp_dir/logs`: losses, and the
    validation tracks' SDR (`val_sdr/SOURCE`) if `valid_set` is `Segments`.

    If training collapses (see `CollapseGuard`), it goes back to the best checkpoint, or to the
    initial weights before there is one, and continues with half the learning rate: at most three
    times.

    Args:
        model: the initial model.
        train_set: items `(mixture, targets)` for `model.forward_context`; its length is an
            epoch's. If its attribute `endless` is true, as for `Segments`, there is an item i for
            every i >= 0, which depends on i only. Others are reshuffled in every pass, see
            `EndlessShuffle`.
        valid_set: the same; each item is used once.
        config: section -> setting -> value, stored in the checkpoints.
        on_device: `train_set` makes batches on the model's device by its `__getitems__`, without
            worker processes.
    Returns:
        The best model, in evaluation mode.
    Raises:
        ValueError: if a setting is invalid, a checkpoint is corrupt, a loss is not finite, or
            training still collapses after the last restart.
        AlreadyLocked: if another process is training in `exp_dir`.
        OSError: if a checkpoint cannot be written.
        InterruptedBySignal: if a signal stopped training, after it was saved.
    """
    if settings.precision == AUTO:
        raise ValueError("precision is auto; training.precision.resolve chooses one for a model.")
    exp_dir = Path(exp_dir)
    last = exp_dir / "checkpoints" / "last.ckpt"
    train_set = make_endless(train_set, settings.seed)

    def run(guard: CollapseGuard) -> SourceModel:
        batches = epoch_batches(len(train_set), settings)  # type: ignore[arg-type]
        early_stopping = TwoRoundEarlyStopping(
            batches, settings, last.with_name("best.ckpt"), guard
        )
        trainer = make_trainer(settings, exp_dir, last, batches, early_stopping, valid_set)
        batches.rank = trainer.global_rank
        model.train()  # Lightning keeps the mode, and loaded models are in evaluation mode
        system = make_system(
            model, train_set, valid_set, settings, batches, config or {}, on_device, guard
        )
        try:
            trainer.fit(system, ckpt_path=str(last) if last.is_file() else None)
        finally:
            # Lightning ends only the loaders in use: during validation, the training loader's
            # workers would be waited for without end.
            trainer.fit_loop.teardown()
        return save_best(model, early_stopping, exp_dir, trainer.is_global_zero)

    lock = file_locks.locked(last.parent, wait=False)
    alone = lock if file_locks.is_first_process() else nullcontext()
    with alone, _arithmetic(settings), _quiet_lightning():
        return with_restarts(run, model, last, LOSSES[settings.loss])


def epoch_batches(length: int, settings: Training) -> ResumableBatchSampler:
    """Return the batches of an epoch of `length` segments over all processes.

    An epoch is a whole number of optimizer steps; the remaining segments are the first ones of the
    next epoch.

    Raises:
        ValueError: if there are too few segments for one step.
    """
    world_size = settings.devices * settings.num_nodes
    per_step = settings.batch_size * world_size * settings.accumulate
    steps = length // per_step * settings.accumulate
    if not steps:
        raise ValueError(
            f"An epoch has {length} segments, fewer than a batch of {per_step}; lower batch_size "
            "or raise epoch_length."
        )
    return ResumableBatchSampler(steps, settings.batch_size, world_size)


def make_trainer(
    settings: Training,
    exp_dir: Path,
    last: Path,
    batches: ResumableBatchSampler,
    early_stopping: TwoRoundEarlyStopping,
    valid_set: Dataset,
) -> pl.Trainer:
    """Return a trainer that resumes from the checkpoint `last` if it exists.

    Raises:
        ValueError: if a setting is invalid, or the checkpoint is corrupt.
    """
    steps_done, epochs_begun = checkpoint_io.steps_and_epochs(last)
    files = AtomicCheckpointIO()
    losses = FiniteLoss(exp_dir, batches, settings.seed)
    callbacks = [
        *monitoring_callbacks(settings, exp_dir, batches.steps, valid_set),
        losses,
        early_stopping.guard,  # before a validation and its checkpoint
        early_stopping,
        Checkpointing(
            last.parent, files, early_stopping, losses, StopSignals(), settings.checkpoint_minutes
        ),
    ]
    return lightning_trainer(
        settings,
        batches.steps // settings.accumulate,
        max(settings.max_epochs, epochs_begun),  # an epoch that has begun is completed
        callbacks,
        loggers.make(settings.logger, exp_dir, steps_done),
        files,
    )


def monitoring_callbacks(
    settings: Training, exp_dir: Path, steps_per_epoch: int, valid_set: Dataset
) -> list[Callback]:
    """Return the callbacks that average weights, report progress and log.

    They come before those that save or change weights, see `ExponentialMovingAverage`.

    Args:
        steps_per_epoch: batches of each process.
    """
    lr_changes_by_step = settings.schedule != "constant" or settings.warmup_steps > 0
    callbacks: list[Callback] = [
        LearningRateMonitor("step" if lr_changes_by_step else "epoch"),
        progress.make_progress(steps_per_epoch),
        progress.Summary(exp_dir),
    ]
    if settings.ema:
        callbacks.insert(0, ExponentialMovingAverage(settings.ema))
    if settings.listen_every and isinstance(valid_set, Segments):
        callbacks.append(AudioLogging(valid_set, settings.listen_every))
    return callbacks


def lightning_trainer(
    settings: Training,
    steps_per_epoch: int,
    max_epochs: int,
    callbacks: Sequence[Callback],
    curves: Sequence[Logger],
    files: AtomicCheckpointIO,
) -> pl.Trainer:
    """Return Lightning's trainer, on a GPU unless CUDA_VISIBLE_DEVICES is -1.

    Args:
        steps_per_epoch: optimizer steps.

    Raises:
        ValueError: if Lightning refuses the settings, for example for too few devices.
    """
    cpu_only = os.environ.get("CUDA_VISIBLE_DEVICES") == "-1"
    try:
        return pl.Trainer(
            accelerator="cpu" if cpu_only else "auto",
            devices=settings.devices,
            num_nodes=settings.num_nodes,
            strategy=settings.strategy,
            use_distributed_sampler=False,  # `ResumableBatchSampler` distributes
            precision=PRECISIONS[settings.precision],  # type: ignore[arg-type]
            benchmark=True,  # all batches have the same shape
            max_epochs=max_epochs,
            accumulate_grad_batches=settings.accumulate,
            gradient_clip_val=settings.gradient_clip or None,
            callbacks=list(callbacks),
            plugins=[files],
            logger=list(curves),
            log_every_n_steps=min(50, steps_per_epoch),
            num_sanity_val_steps=0,
            enable_model_summary=False,
        )
    except (MisconfigurationException, RuntimeError) as reason:
        raise ValueError(f"Lightning cannot train with these settings: {reason}") from reason


@contextmanager
def _arithmetic(settings: Training) -> Iterator[None]:
    """Disable TF32, torch's default for convolutions on a GPU, unless the settings allow it."""
    backends: list[Any] = [torch.backends.cudnn, torch.backends.cuda.matmul]
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = settings.tf32
        yield
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Suppress Lightning's notes and advertisements, and warnings that do not apply here."""
    log = logging.getLogger("pytorch_lightning")
    level = log.level
    log.setLevel(max(level, logging.WARNING))
    try:
        with warnings.catch_warnings():
            # num_workers and the logging interval are settings.
            warnings.filterwarnings("ignore", ".*does not have many workers.*")
            warnings.filterwarnings("ignore", ".*The number of training batches.*")
            # `ResumableBatchSampler` resumes without Lightning.
            warnings.filterwarnings("ignore", ".*dataloader is not resumable.*")
            # Logged values are already reduced over all processes.
            warnings.filterwarnings("ignore", ".*sync_dist=True.*")
            yield
    finally:
        log.setLevel(level)


def save_best(
    model: SourceModel, early_stopping: TwoRoundEarlyStopping, exp_dir: Path, write: bool
) -> SourceModel:
    """Load the best checkpoint's weights into the model and save it in Asteroid's format.

    Raises:
        ValueError: if no epoch had a finite validation loss.
    """
    if early_stopping.best is None:
        raise ValueError(checkpoint_io.DIVERGED)
    model = model.cpu()
    best = serialization.read(early_stopping.best_checkpoint)
    serialization.load_state_dict_strictly(model, best["state_dict"])
    if write:
        serialization.write(model.serialize(), exp_dir / "best_model.pth")
    return model.eval()
