"""How far training is, while it runs and when it has ended."""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar, TQDMProgressBar

__all__ = ["Bar", "Lines", "Summary", "shown"]


def shown(steps_per_epoch: int) -> ProgressBar:
    """A bar for a person at a terminal or a notebook; a few lines for a log file."""
    if sys.stdout.isatty() or "ipykernel" in sys.modules:
        return Bar(refresh_rate=min(20, max(1, steps_per_epoch // 100)))
    return Lines()


class Bar(TQDMProgressBar):
    """Lightning's, with the step rate, and with the loss, which Asteroid's System leaves out."""

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Amid an epoch, where training may go on, Lightning does not say that it starts."""
        super().on_train_start(trainer, *_)
        super().on_train_epoch_start(trainer, *_)
        done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        bar = self.train_progress_bar
        bar.initial = bar.n = done  # the rate is of steps from here on
        bar.refresh()

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return {**_metrics(trainer, "loss"), **metrics}


class Lines(ProgressBar):
    """A line an epoch, and one a minute within it.

    Args:
        seconds: between two lines within an epoch.
    """

    def __init__(self, seconds: float = 60.0) -> None:
        super().__init__()
        self.seconds = seconds
        self._enabled = True
        self._printed = self._began = 0.0
        self._steps = self._done = 0  # of this epoch: since its clock began, and in all
        self._rate = 0.0  # steps a second

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        """As Lightning does in all processes but the first."""
        self._enabled = False

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.on_train_epoch_start(trainer)  # amid an epoch Lightning does not say that it starts

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self._printed = self._began = time.monotonic()
        self._steps = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, n: int
    ) -> None:
        self._steps, self._done = self._steps + 1, n + 1
        self._rate = self._steps / max(time.monotonic() - self._began, 1e-9)
        if n + 1 < self.total_train_batches:
            self._print_if_due(self._line(trainer, "loss"))

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, n: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        self._print_if_due(f"Epoch {trainer.current_epoch}, validation: {n + 1} batches")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._printed = -math.inf
        if self._steps:  # or else it had ended before training went on
            self._print_if_due(self._line(trainer, "loss", "val_loss"))

    def _line(self, trainer: pl.Trainer, *names: str) -> str:
        parts = [
            f"step {self._done} of {self.total_train_batches}",
            f"{self._rate:.3g} steps/s",
            *(f"{name} {value:.4g}" for name, value in _metrics(trainer, *names).items()),
        ]
        return f"Epoch {trainer.current_epoch}, {', '.join(parts)}"

    def _print_if_due(self, line: str) -> None:
        now = time.monotonic()
        if self._enabled and now - self._printed >= self.seconds:
            print(line, flush=True)
            self._printed = now


def _metrics(trainer: pl.Trainer, *names: str) -> dict[str, float]:
    """The latest of these that there are."""
    found = trainer.callback_metrics
    return {name: float(found[name]) for name in names if name in found}


class Summary(pl.Callback):
    """Says at the end how much was trained, how fast, how well and where it is.

    What earlier runs of the same training did is counted, as their checkpoint has it.

    Args:
        exp_dir: where the training's files are.
    """

    def __init__(self, exp_dir: str | os.PathLike) -> None:
        self.exp_dir = Path(exp_dir)
        self.seconds = self.training_seconds = 0.0  # in all; without validation
        self.segments = 0
        self.best: dict[str, float] = {}  # metrics of the epoch with the lowest val_loss
        self._now = 0.0

    def _tick(self) -> float:
        """Seconds since the last tick."""
        before, self._now = self._now, time.monotonic()
        self.seconds += self._now - before
        return self._now - before

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._now = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, n: int
    ) -> None:
        self.training_seconds += self._tick()
        self.segments += len(batch[0]) * trainer.world_size

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._tick()
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if found["val_loss"] < self.best.get("val_loss", math.inf):
            kept = {name: found[name] for name in found if name.startswith("val_")}
            self.best = {"epoch": trainer.current_epoch, **kept}

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._tick()
        if trainer.is_global_zero:
            print(self.text(trainer.current_epoch, trainer.global_step), flush=True)

    def text(self, epochs: int, steps: int) -> str:
        """The summary, a few lines."""
        rate = self.segments / max(self.training_seconds, 1e-9)
        lines = {
            "Trained": f"{epochs} epochs, {steps} steps in {_duration(self.seconds)}",
            "Speed": f"{rate:.3g} segments/s, validation apart",
            "Checkpoints": str(self.exp_dir / "checkpoints"),
            "Curves": str(self.exp_dir / "logs"),
        }
        if self.best:
            sdr = [
                f"{name.removeprefix('val_sdr/')} {value:.2f}"
                for name, value in self.best.items()
                if name.startswith("val_sdr/")
            ]
            said = f"epoch {self.best['epoch']}, val_loss {self.best['val_loss']:.6g}"
            lines["Best"] = said + (f", SDR {', '.join(sdr)} dB" if sdr else "")
        return "\n".join(f"{name:<12} {line}" for name, line in lines.items())

    def state_dict(self) -> dict[str, Any]:
        names = ("seconds", "training_seconds", "segments", "best")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)


def _duration(seconds: float) -> str:
    """Hours, minutes and seconds, as many of them as say something.

    >>> _duration(59.6), _duration(61), _duration(7325)
    ('1 min 0 s', '1 min 1 s', '2 h 2 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
