"""Training a Wave-U-Net with Asteroid's System and Lightning."""

from __future__ import annotations

import functools
import os
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from asteroid.engine import System
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from .. import untrusted, weights
from ..model import WaveUNet
from . import loggers, monitoring
from .configuration import Training
from .device_store import DeviceSegments
from .objectives import LOSSES, make_schedule
from .segments import EpochSampler, Segments, as_is
from .validation import ValidationSDR

__all__ = ["WaveUNetSystem", "fit"]


class WaveUNetSystem(System):
    """Asteroid's System on the context path: mixtures longer than their targets.

    Attributes:
        validation: scores the validation segments, if there is one: `val_sdr/SOURCE`, in dB.
    """

    validation: ValidationSDR | None = None

    def common_step(self, batch: Any, batch_nb: int, train: bool = True) -> Tensor:
        mixture, targets = batch
        estimates = self.model.forward_context(mixture)
        if self.validation is not None and not train:
            self.validation.feed(targets, estimates)
        return self.loss_func(estimates, targets)

    def on_validation_epoch_start(self) -> None:
        if self.validation is not None:
            self.validation.restart()

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        if self.validation is not None:
            medians = self.validation.medians()
            for source, sdr in zip(self.model.sources, medians, strict=True):
                self.log(f"val_sdr/{source}", float(sdr))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What `WaveUNet.from_pretrained` needs beside the weights, in plain Python."""
        super().on_save_checkpoint(checkpoint)
        described = self.model.serialize()
        checkpoint.update({key: described[key] for key in ("model_name", "model_args")})


def fit(
    model: WaveUNet,
    train_set: Dataset,
    valid_set: Dataset,
    exp_dir: str | os.PathLike,
    settings: Training,
    sampler: Sampler | None = None,
    config: dict[str, Any] | None = None,
) -> WaveUNet:
    """Trains, and leaves the best model by validation loss in `exp_dir/best_model.pth`.

    A run that was killed goes on from its last epoch when it is started again. Lightning's
    checkpoints are in `exp_dir/checkpoints`, the curves in `exp_dir/logs` (TensorBoard and CSV):
    losses, and the validation tracks' SDR (`val_sdr/SOURCE`) where `valid_set` is `Segments`.

    Args:
        model: fresh, or with the weights to go on from.
        train_set, valid_set: items `(mixture, targets)` for `model.forward_context`.
        sampler: of `train_set`; None for each item once an epoch, shuffled.
        config: section -> setting -> value, stored with the checkpoints.
    Returns:
        The best model, in evaluation mode.
    Raises:
        ValueError: if a setting is not possible, or a checkpoint is corrupt.
    """
    exp_dir = Path(exp_dir)
    last = exp_dir / "checkpoints" / "last.ckpt"
    loader = functools.partial(make_loader, settings)
    train_loader = loader(train_set, sampler=sampler, shuffle=sampler is None, drop_last=True)
    if not len(train_loader):
        raise ValueError(
            f"An epoch has {len(train_set)} segments, fewer than a batch of "  # type: ignore[arg-type]
            f"{settings.batch_size}; lower batch_size or raise epoch_length."
        )
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.lr)
    n_steps = len(train_loader) * settings.max_epochs
    system = WaveUNetSystem(
        model=model,
        optimizer=optimizer,
        loss_func=LOSSES[settings.loss],
        train_loader=train_loader,
        val_loader=loader(valid_set),
        scheduler=make_schedule(
            settings.schedule, optimizer, settings.lr, n_steps, settings.warmup_steps
        ),
        config=_loggable(config or {}),
    )
    epochs_done = _epochs_done(last) if last.is_file() else 0
    if isinstance(sampler, EpochSampler):
        # Lightning calls set_epoch, but when it resumes only after worker processes have begun.
        sampler.set_epoch(epochs_done)
    if isinstance(valid_set, Segments):
        system.validation = ValidationSDR(valid_set)
    trainer = make_trainer(exp_dir, settings, len(train_loader), valid_set, epochs_done)
    with warnings.catch_warnings():
        # Advice on worker counts and on logging intervals, which our settings state.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*The number of training batches.*")
        trainer.fit(system, ckpt_path=last if last.is_file() else None)
    return keep_best(model, trainer, exp_dir)


def make_loader(settings: Training, dataset: Dataset, **options: Any) -> DataLoader:
    """A loader of a data set's batches, in processes unless they come from a GPU's memory."""
    n_workers = 0 if isinstance(dataset, DeviceSegments) else settings.num_workers
    return DataLoader(
        dataset,
        batch_size=settings.batch_size,
        num_workers=n_workers,
        persistent_workers=n_workers > 0,
        collate_fn=as_is,
        **options,
    )


def _epochs_done(checkpoint: Path) -> int:
    """How far a checkpoint is; a corrupt one is refused here, before Lightning meets it."""
    try:
        progress = untrusted.unpickled(checkpoint)["loops"]["fit_loop"]["epoch_progress"]
    except (KeyError, TypeError, ValueError) as reason:
        raise ValueError(
            f"{checkpoint} is no checkpoint to go on from ({reason}); delete "
            f"{checkpoint.parent} to start over."
        ) from reason
    return progress["current"]["processed"]


def _loggable(config: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The configuration with text for lists: System makes tensors of lists, whatever is in them."""
    return {
        section: {k: ", ".join(map(str, v)) if isinstance(v, list) else v for k, v in items.items()}
        for section, items in config.items()
    }


def make_trainer(
    exp_dir: Path,
    settings: Training,
    steps_per_epoch: int,
    valid_set: Dataset,
    epochs_done: int,
) -> pl.Trainer:
    """Lightning's trainer with the callbacks and loggers of every experiment."""
    checkpoints = ModelCheckpoint(
        exp_dir / "checkpoints",
        filename="{epoch}-{val_loss:.6f}",
        monitor="val_loss",
        save_last=True,
    )
    stopping = EarlyStopping("val_loss", patience=settings.patience, verbose=True)
    return pl.Trainer(
        max_epochs=settings.max_epochs,
        devices=1,
        precision=settings.precision,  # type: ignore[arg-type]
        callbacks=[
            *monitoring.callbacks(settings, exp_dir, steps_per_epoch, valid_set),
            checkpoints,
            stopping,
        ],
        logger=loggers.make(settings.logger, exp_dir, epochs_done * steps_per_epoch),
        log_every_n_steps=min(50, steps_per_epoch),
        num_sanity_val_steps=0,
        enable_model_summary=False,
    )


def keep_best(model: WaveUNet, trainer: pl.Trainer, exp_dir: Path) -> WaveUNet:
    """Gives the model its best checkpoint's weights and stores it as Asteroid does.

    Raises:
        ValueError: if no epoch had a finite validation loss.
    """
    checkpoints: Any = trainer.checkpoint_callback
    score = checkpoints.best_model_score
    if score is None or not torch.isfinite(score):
        raise ValueError(
            "The validation loss was never finite: training diverged. Delete "
            f"{exp_dir / 'checkpoints'} and start again with a lower --lr."
        )
    model = model.cpu()
    weights.fill(model, weights.read(checkpoints.best_model_path)["state_dict"])
    weights.write(model.serialize(), exp_dir / "best_model.pth")
    return model.eval()
