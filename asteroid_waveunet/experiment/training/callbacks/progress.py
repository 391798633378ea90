"""Training progress on stderr, and a summary on stdout at the end."""

from __future__ import annotations

import math
import os
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar, TQDMProgressBar
from pytorch_lightning.utilities.rank_zero import rank_zero_only

__all__ = ["LogLines", "Summary", "TerminalBar", "make_progress", "print_progress"]


@rank_zero_only
def print_progress(message: str) -> None:
    """Print a message to stderr, in the first process only."""
    print(message, file=sys.stderr, flush=True)


def make_progress(steps_per_epoch: int) -> ProgressBar:
    """Return a progress bar for a terminal or notebook, or log lines for a file."""
    if sys.stderr.isatty() or _in_notebook():
        return TerminalBar(refresh_rate=min(20, max(1, steps_per_epoch // 100)))
    return LogLines()


def _in_notebook() -> bool:
    """Return True in a Jupyter kernel; other programs may import ipykernel too."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class TerminalBar(TQDMProgressBar):
    """Lightning's bar on stderr, with step rate and loss, which Asteroid's System omits."""

    def init_train_tqdm(self) -> Any:
        with redirect_stdout(sys.stderr):  # Lightning's bars write to sys.stdout
            return super().init_train_tqdm()

    def init_validation_tqdm(self) -> Any:
        with redirect_stdout(sys.stderr):
            return super().init_validation_tqdm()

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Start the bar also when training resumes within an epoch, where Lightning does not."""
        super().on_train_start(trainer, *_)
        super().on_train_epoch_start(trainer, *_)
        done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        bar = self.train_progress_bar
        bar.initial = bar.n = done  # steps before the resume do not count for the rate
        bar.refresh()

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return {**_latest_metrics(trainer, "loss"), **metrics}


class LogLines(ProgressBar):
    """Print one line per epoch, and one per minute within it.

    Args:
        seconds: between two lines within an epoch.
    """

    def __init__(self, seconds: float = 60.0) -> None:
        super().__init__()
        self.seconds = seconds
        self._enabled = True
        self._printed_at = self._began_at = 0.0
        self._timed_steps = 0  # since `_began_at`
        self._steps_done = 0  # in this epoch
        self._rate = 0.0  # steps per second

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        """Print nothing; Lightning calls this in all processes but the first."""
        self._enabled = False

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.on_train_epoch_start(trainer)  # Lightning does not when it resumes within an epoch

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self._printed_at = self._began_at = time.monotonic()
        self._timed_steps = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, n: int
    ) -> None:
        self._timed_steps, self._steps_done = self._timed_steps + 1, n + 1
        self._rate = self._timed_steps / max(time.monotonic() - self._began_at, 1e-9)
        if n + 1 < self.total_train_batches:
            self._print_if_due(self._line(trainer, "loss"))

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, n: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        self._print_if_due(f"Epoch {trainer.current_epoch}, validation: {n + 1} batches")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._printed_at = -math.inf
        if self._timed_steps:  # 0 if training resumed after the epoch's last step
            self._print_if_due(self._line(trainer, "loss", "val_loss"))

    def _line(self, trainer: pl.Trainer, *names: str) -> str:
        parts = [
            f"step {self._steps_done} of {self.total_train_batches}",
            f"{self._rate:.3g} steps/s",
            *(f"{name} {value:.4g}" for name, value in _latest_metrics(trainer, *names).items()),
        ]
        return f"Epoch {trainer.current_epoch}, {', '.join(parts)}"

    def _print_if_due(self, line: str) -> None:
        now = time.monotonic()
        if self._enabled and now - self._printed_at >= self.seconds:
            print(line, file=sys.stderr, flush=True)
            self._printed_at = now


def _latest_metrics(trainer: pl.Trainer, *names: str) -> dict[str, float]:
    """Return the latest values of those metrics that exist."""
    metrics = trainer.callback_metrics
    return {name: float(metrics[name]) for name in names if name in metrics}


class Summary(pl.Callback):
    """Print steps, time, speed, best epoch and file locations when training ends.

    The totals include earlier runs of a resumed training.

    Args:
        exp_dir: the experiment's folder.
    """

    def __init__(self, exp_dir: str | os.PathLike) -> None:
        self.exp_dir = Path(exp_dir)
        self.seconds = 0.0
        self.training_seconds = 0.0  # without validation
        self.segments = 0
        self.best: dict[str, float] = {}  # metrics of the epoch with the lowest val_loss
        self._now = 0.0

    def _tick(self) -> float:
        """Return the seconds since the last tick and add them to the total."""
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
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if metrics["val_loss"] < self.best.get("val_loss", math.inf):
            validation = {name: metrics[name] for name in metrics if name.startswith("val_")}
            self.best = {"epoch": trainer.current_epoch, **validation}

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._tick()
        if trainer.is_global_zero:
            print(self.text(trainer.current_epoch, trainer.global_step), flush=True)

    def text(self, epochs: int, steps: int) -> str:
        """Return the summary, one line per fact."""
        rate = self.segments / max(self.training_seconds, 1e-9)
        lines = {
            "Trained": f"{epochs} epochs, {steps} steps in {_duration(self.seconds)}",
            "Speed": f"{rate:.3g} segments/s without validation",
            "Checkpoints": str(self.exp_dir / "checkpoints"),
            "Curves": str(self.exp_dir / "logs"),
        }
        if self.best:
            sdr = [
                f"{name.removeprefix('val_sdr/')} {value:.2f}"
                for name, value in self.best.items()
                if name.startswith("val_sdr/")
            ]
            best = f"epoch {self.best['epoch']}, val_loss {self.best['val_loss']:.6g}"
            lines["Best"] = best + (f", SDR {', '.join(sdr)} dB" if sdr else "")
        return "\n".join(f"{name:<12} {line}" for name, line in lines.items())

    def state_dict(self) -> dict[str, Any]:
        names = ("seconds", "training_seconds", "segments", "best")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)


def _duration(seconds: float) -> str:
    """Format a duration with its two largest units.

    >>> _duration(59.6), _duration(61), _duration(7325)
    ('1 min 0 s', '1 min 1 s', '2 h 2 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
