"""Training a Wave-U-Net with Asteroid's System and Lightning."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from asteroid.engine import System
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from asteroid_waveunet.experiment.segments.batch_sampler import (
    ResumableBatchSampler,
    balanced_partition,
    collate,
    make_endless,
)
from asteroid_waveunet.experiment.segments.dataset import Segments
from asteroid_waveunet.experiment.settings import PRECISIONS, Training
from asteroid_waveunet.experiment.training import distributed, loggers
from asteroid_waveunet.experiment.training.callbacks import audio_logging, checkpointing
from asteroid_waveunet.experiment.training.callbacks.checkpointing import Checkpoints, WholeFiles
from asteroid_waveunet.experiment.training.callbacks.early_stopping import Rounds
from asteroid_waveunet.experiment.training.callbacks.finite_loss import FiniteLoss
from asteroid_waveunet.experiment.training.callbacks.validation_sdr import ValidationSDR
from asteroid_waveunet.experiment.training.objectives import LOSSES, make_schedule
from asteroid_waveunet.experiment.training.signals import Requests, ignore
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.weights import serialization

__all__ = ["WaveUNetSystem", "fit", "make_loader"]


class WaveUNetSystem(System):
    """Asteroid's System on the context path: mixtures longer than their targets.

    Attributes:
        network: mixtures to estimates; the model's `forward_context`, or that compiled.
        validation: scores the validation segments, if there is one: `val_sdr/SOURCE`, in dB.
        spare: whether this process validates only to keep step with the others.
    """

    network: Callable[[Tensor], Tensor]
    validation: ValidationSDR | None = None
    spare = False

    def common_step(self, batch: Any, batch_nb: int, train: bool = True) -> Tensor:
        mixture, targets = batch
        estimates = self.network(mixture)
        if self.validation is not None and not train and not self.spare:
            self.validation.feed(targets, estimates)
        return self.loss_func(estimates, targets)

    def training_step(self, batch: Any, batch_nb: int) -> Tensor:
        loss = self.common_step(batch, batch_nb, train=True)
        self.log("loss", loss, logger=True, sync_dist=distributed.together())
        return loss

    def on_validation_epoch_start(self) -> None:
        self._total = [0.0, 0.0]  # the losses of all segments, and how many these are
        if self.validation is not None:
            self.validation.restart()

    def validation_step(self, batch: Any, batch_nb: int) -> None:
        n_segments = 0 if self.spare else len(batch[0])
        loss = self.common_step(batch, batch_nb, train=False)
        self._total[0] += float(loss) * n_segments
        self._total[1] += n_segments

    def on_validation_epoch_end(self) -> None:
        total, n_segments = distributed.summed(self._total)
        self.log("val_loss", total / n_segments, prog_bar=True)
        super().on_validation_epoch_end()
        if self.validation is not None:
            medians = self.validation.medians()
            for source, sdr in zip(self.model.sources, medians, strict=True):
                self.log(f"val_sdr/{source}", float(sdr))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What `from_pretrained` needs beside the weights, in plain Python."""
        super().on_save_checkpoint(checkpoint)
        described = self.model.serialize()
        checkpoint.update({key: described[key] for key in ("model_name", "model_args")})


def fit(
    model: SourceModel,
    train_set: Dataset,
    valid_set: Dataset,
    exp_dir: str | os.PathLike,
    settings: Training,
    config: dict[str, Any] | None = None,
    on_device: bool = False,
) -> SourceModel:
    """Trains, and leaves the best model by validation loss in `exp_dir/best_model.pth`.

    A run that was killed goes on from `exp_dir/checkpoints/last.ckpt` when it is started again,
    as if it had not been (see `Checkpoints`). The curves are in `exp_dir/logs` (TensorBoard and
    CSV): losses, and the validation tracks' SDR (`val_sdr/SOURCE`) where `valid_set` is
    `Segments`.

    Args:
        model: fresh, or with the weights to go on from.
        train_set: items `(mixture, targets)` for `model.forward_context`; its length is that of
            an epoch. Where its attribute `endless` is true, as that of `Segments` is, item i is
            there for every i >= 0 and depends on i alone. Any other is taken in a new order in
            every pass, see `EndlessShuffle`.
        valid_set: the same, each item once.
        config: section -> setting -> value, stored with the checkpoints.
        on_device: whether batches of `train_set` are made where the model is, by its
            `__getitems__`: no other process loads them.
    Returns:
        The best model, in evaluation mode.
    Raises:
        ValueError: if a setting is not possible, a checkpoint is corrupt, or a loss not finite.
        OSError: if a checkpoint cannot be written.
        Interrupted: if a signal asked training to end; it is saved.
    """
    exp_dir = Path(exp_dir)
    last = exp_dir / "checkpoints" / "last.ckpt"
    batches = epoch_of(len(train_set), settings)  # type: ignore[arg-type]
    steps_done, epochs_begun = checkpointing.place(last)
    rounds = Rounds(batches, settings, last.with_name("best.ckpt"))
    losses = FiniteLoss(exp_dir, batches, settings.seed)
    files = WholeFiles()
    keeper = Checkpoints(
        last.parent, files, rounds, losses, Requests(), settings.checkpoint_minutes
    )
    trainer = make_trainer(
        settings,
        batches.steps // settings.accumulate,
        # With fewer epochs than were begun, it ends with the one that it is in.
        max(settings.max_epochs, epochs_begun),
        [
            # The averages come first: what validates and saves after them finds them in place.
            *audio_logging.callbacks(settings, exp_dir, batches.steps, valid_set),
            losses,
            rounds,
            keeper,
        ],
        loggers.make(settings.logger, exp_dir, steps_done),
        files,
    )
    batches.rank = trainer.global_rank
    model.train()  # Lightning leaves it as it is, and what was loaded is in evaluation mode
    train_set = make_endless(train_set, settings.seed)
    system = make_system(model, train_set, valid_set, settings, batches, config or {}, on_device)
    with _arithmetic(settings), warnings.catch_warnings():
        # Advice on worker counts and on logging intervals, which our settings state; and that a
        # loader cannot be resumed, which ours does without Lightning; and on values of several
        # processes, where ours are all processes' already.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*The number of training batches.*")
        warnings.filterwarnings("ignore", ".*dataloader is not resumable.*")
        warnings.filterwarnings("ignore", ".*sync_dist=True.*")
        try:
            trainer.fit(system, ckpt_path=str(last) if last.is_file() else None)
        finally:
            # Ends the loaders' processes. Lightning does so only with those in use, which in a
            # validation are not training's; they would be waited for without an end.
            trainer.fit_loop.teardown()
    return keep_best(model, rounds, exp_dir, trainer.is_global_zero)


def epoch_of(length: int, settings: Training) -> ResumableBatchSampler:
    """The batches of an epoch of so many segments, all processes' together.

    An epoch is a whole number of the optimiser's steps: segments beyond the last are the next
    epoch's first.

    Raises:
        ValueError: if there are too few for one step.
    """
    n_processes = settings.devices * settings.num_nodes
    per_step = settings.batch_size * n_processes * settings.accumulate
    steps = length // per_step * settings.accumulate
    if not steps:
        raise ValueError(
            f"An epoch has {length} segments, fewer than a batch of {per_step}; lower batch_size "
            "or raise epoch_length."
        )
    return ResumableBatchSampler(steps, settings.batch_size, n_processes)


def make_system(
    model: SourceModel,
    train_set: Dataset,
    valid_set: Dataset,
    settings: Training,
    batches: ResumableBatchSampler,
    config: dict[str, Any],
    on_device: bool,
) -> WaveUNetSystem:
    """What Lightning trains: the model with its data, its loss and its optimiser."""
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.lr)
    n_steps = batches.steps // settings.accumulate * settings.max_epochs
    walk = own_share(valid_set, batches)
    own = Subset(valid_set, walk or [0])
    n_workers = 0 if on_device else settings.num_workers
    system = WaveUNetSystem(
        model=model,
        optimizer=optimizer,
        loss_func=LOSSES[settings.loss],
        train_loader=make_loader(train_set, n_workers, batch_sampler=batches),
        val_loader=make_loader(own, settings.num_workers, batch_size=settings.batch_size),
        scheduler=make_schedule(
            settings.schedule, optimizer, settings.lr, n_steps, settings.warmup_steps
        ),
        config=_loggable(config),
    )
    system.network = _compiled(model) if settings.compile else model.forward_context
    system.spare = not walk  # more processes than tracks
    if isinstance(valid_set, Segments):
        system.validation = ValidationSDR(valid_set, walk)
    return system


def own_share(valid_set: Any, batches: ResumableBatchSampler) -> list[int]:
    """The validation segments of this process, those of a track all with one and in order."""
    indices = range(len(valid_set))
    if not isinstance(valid_set, Segments):
        return list(indices[batches.rank :: batches.ranks])
    tracks = [valid_set.locate(index)[0] for index in indices]
    lengths = [tracks.count(number) for number in range(len(valid_set.tracks))]
    own = set(balanced_partition(lengths, batches.ranks)[batches.rank])
    return [index for index in indices if tracks[index] in own]


def make_loader(dataset: Dataset, num_workers: int, **batches: Any) -> DataLoader:
    """Lightning's loader of a data set, in so many processes; `batches` says which."""
    return DataLoader(
        dataset,
        **batches,
        collate_fn=collate,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        prefetch_factor=4 if num_workers else None,
        worker_init_fn=ignore,
        # Of its own: to begin a pass draws a number, to begin it with workers kept does not.
        generator=torch.Generator(),
        # Pages that stay where they are can be copied to a GPU while it computes.
        pin_memory=num_workers > 0 and torch.cuda.is_available(),
    )


def _compiled(model: SourceModel) -> Callable[[Tensor], Tensor]:
    """The model's `forward_context`, compiled at each shape; its weights keep their names.

    Raises:
        ValueError: when first called, if it cannot be compiled here.
    """
    from torch._dynamo.exc import TorchDynamoException

    network = torch.compile(model.forward_context, dynamic=False)

    def run(mixture: Tensor) -> Tensor:
        try:
            return network(mixture)
        except TorchDynamoException as reason:
            first = str(reason).strip().split("\n")[0]
            raise ValueError(
                f"The network cannot be compiled here ({first}). torch.compile needs a C++ "
                "compiler, and Triton for a GPU; --compile false trains without."
            ) from reason

    return run


@contextmanager
def _arithmetic(settings: Training) -> Iterator[None]:
    """float32 is float32: torch's own default for a GPU's convolutions is TF32."""
    kinds: list[Any] = [torch.backends.cudnn, torch.backends.cuda.matmul]
    before = [kind.allow_tf32 for kind in kinds]
    try:
        for kind in kinds:
            kind.allow_tf32 = settings.tf32
        yield
    finally:
        for kind, allowed in zip(kinds, before, strict=True):
            kind.allow_tf32 = allowed


def _loggable(config: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The configuration with text for lists: System makes tensors of lists, whatever is in them."""
    return {
        section: {k: ", ".join(map(str, v)) if isinstance(v, list) else v for k, v in items.items()}
        for section, items in config.items()
    }


def make_trainer(
    settings: Training,
    steps_per_epoch: int,
    max_epochs: int,
    callbacks: Sequence[Callback],
    curves: Sequence[Logger],
    files: WholeFiles,
) -> pl.Trainer:
    """Lightning's trainer, on a GPU if there is one that CUDA_VISIBLE_DEVICES does not hide.

    Args:
        steps_per_epoch: of the optimiser.

    Raises:
        ValueError: if there are fewer devices than are asked for, or Lightning wants otherwise.
    """
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") == "-1"
    try:
        return pl.Trainer(
            accelerator="cpu" if hidden else "auto",
            devices=settings.devices,
            num_nodes=settings.num_nodes,
            strategy=settings.strategy,
            use_distributed_sampler=False,  # our batch sampler has ranks
            precision=PRECISIONS[settings.precision],  # type: ignore[arg-type]
            benchmark=True,  # all batches are of one shape
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
        raise ValueError(f"Lightning cannot train so: {reason}") from reason


def keep_best(model: SourceModel, rounds: Rounds, exp_dir: Path, write: bool) -> SourceModel:
    """Gives the model its best checkpoint's weights and stores it as Asteroid does.

    Raises:
        ValueError: if no epoch had a finite validation loss.
    """
    if rounds.best is None:
        raise ValueError(checkpointing.DIVERGED)
    model = model.cpu()
    serialization.fill(model, serialization.read(rounds.best_checkpoint)["state_dict"])
    if write:
        serialization.write(model.serialize(), exp_dir / "best_model.pth")
    return model.eval()
