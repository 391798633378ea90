"""Progress on a terminal and in a log file, and the summary."""

from __future__ import annotations

import shutil
import sys
import time
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch

from asteroid_waveunet.experiment.training.callbacks import checkpointing, progress
from asteroid_waveunet.experiment.training.signals import InterruptedBySignal
from helpers.training import train

pytestmark = pytest.mark.filterwarnings("ignore")


class Slow(pl.LightningModule):
    """A model whose steps and validation batches advance a fake clock."""

    def __init__(self, clock, seconds=10.0, n_items=12):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.clock, self.seconds, self.n_items = clock, seconds, n_items

    def training_step(self, batch, n):
        self.clock.now += self.seconds
        loss = (self.weight - 1).square().sum()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, n):
        self.clock.now += 3 * self.seconds
        self.log("val_loss", (self.weight - 1).square().sum(), prog_bar=True)
        self.log("val_sdr/bass", 1.5)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self):
        data = torch.utils.data.TensorDataset(torch.zeros(self.n_items))
        return torch.utils.data.DataLoader(data, batch_size=3)

    val_dataloader = train_dataloader


class Clock:
    now = 1000.0


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock.now)
    return clock


def run(tmp_path, module, *callbacks, **arguments):
    trainer = pl.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **{"max_epochs": 2, **arguments},
    )
    trainer.fit(module)
    return trainer


def test_log_lines_per_epoch_and_within(tmp_path, clock, capsys):
    run(tmp_path, Slow(clock), progress.LogLines(seconds=25))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Epoch")]
    assert lines[:2] == [
        "Epoch 0, step 3 of 4, 0.1 steps/s, loss 0.4096",
        "Epoch 0, validation: 1 batches",
    ]
    ends = [line for line in lines if "val_loss" in line]
    assert ends[1] == "Epoch 1, step 4 of 4, 0.1 steps/s, loss 0.04398, val_loss 0.02815"
    assert len(lines) == 2 * (1 + 4 + 1)
    run(tmp_path, Slow(clock, seconds=0.1), progress.LogLines(seconds=60))
    output = capsys.readouterr()
    lines = [line for line in output.err.splitlines() if line.startswith("Epoch")]
    assert len(lines) == 2 and output.out == ""


def test_disabled_log_lines_print_nothing(tmp_path, clock, capsys):
    lines = progress.LogLines(seconds=0)
    lines.disable()
    run(tmp_path, Slow(clock), lines)
    assert "Epoch" not in capsys.readouterr().err


def test_terminal_bar_shows_rate_and_loss_on_stderr(tmp_path, monkeypatch, capsys):
    assert isinstance(progress.make_progress(2000), progress.LogLines)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bar = progress.make_progress(2000)
    assert isinstance(bar, progress.TerminalBar) and bar.refresh_rate == 20
    monkeypatch.undo()
    run(tmp_path, Slow(Clock()), progress.TerminalBar(), max_epochs=1)
    output = capsys.readouterr()
    assert output.out == ""
    last = next(x for x in reversed(output.err.split("\r")) if "4/4" in x)
    assert "4/4" in last and "it/s" in last
    assert "loss=0.262" in last and "val_loss=0.168" in last and "v_num" not in last


@pytest.mark.parametrize(
    ("shell", "kind"),
    [
        (SimpleNamespace(kernel=object()), progress.TerminalBar),
        (SimpleNamespace(), progress.LogLines),  # IPython on a terminal, redirected
        (None, progress.LogLines),  # IPython and ipykernel are imported, but do not run
    ],
)
def test_bar_in_a_notebook(shell, kind, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert isinstance(progress.make_progress(2000), kind)


def test_summary_of_totals_and_best_epoch(tmp_path, clock, capsys):
    summary = progress.Summary(tmp_path / "exp")
    run(tmp_path, Slow(clock), summary, progress.LogLines())
    summary = capsys.readouterr().out.splitlines()[-5:]
    assert summary == [
        "Trained      2 epochs, 8 steps in 5 min 20 s",  # 8 x 10 s and 8 x 30 s
        "Speed        0.3 segments/s without validation",
        f"Checkpoints  {tmp_path / 'exp' / 'checkpoints'}",
        f"Curves       {tmp_path / 'exp' / 'logs'}",
        "Best         epoch 1, val_loss 0.0281475, SDR bass 1.50 dB",
    ]


def test_summary_ignores_worse_and_nan_epochs(tmp_path, clock):
    losses = iter([float("nan"), 0.5, 0.25, 0.75])

    class Given(Slow):
        def validation_step(self, batch, n):
            self.log("val_loss", next(losses))

    summary = progress.Summary(tmp_path)
    run(tmp_path, Given(clock), summary, progress.LogLines(), max_epochs=4, limit_val_batches=1)
    assert summary.best == {"epoch": 2, "val_loss": 0.25}
    assert "Best" not in progress.Summary(tmp_path).text(0, 0)


def test_summary_of_resumed_training_includes_earlier_runs(tmp_path, capsys):
    train(tmp_path, max_epochs=2)
    before = capsys.readouterr().out
    (tmp_path / "best_model.pth").unlink()
    train(tmp_path)
    after = capsys.readouterr().out
    assert "Trained      2 epochs, 8 steps" in before
    assert "Trained      4 epochs, 16 steps" in after
    assert "Best         epoch 3, val_loss" in after


def interrupt_after_six_steps(monkeypatch, folder):
    """Interrupt a training within its second epoch of four steps."""
    received = property(lambda signals: 15, lambda signals, number: None)
    saved = checkpointing.Checkpointing._save
    with monkeypatch.context() as patch:
        patch.setattr(checkpointing.StopSignals, "received", received, raising=False)

        def interrupt(callback, trainer, *arguments):
            saved(callback, trainer)
            if trainer.global_step == 6:
                raise InterruptedBySignal(15, "it is saved")

        patch.setattr(checkpointing.Checkpointing, "_save", interrupt)
        patch.setattr(checkpointing.Checkpointing, "_stop", lambda *arguments: None)
        with pytest.raises(InterruptedBySignal):
            train(folder)


def test_progress_when_resumed_within_an_epoch(tmp_path, monkeypatch, capsys):
    interrupt_after_six_steps(monkeypatch, tmp_path)
    shutil.copytree(tmp_path, tmp_path.with_name("again"))
    capsys.readouterr()
    monkeypatch.setattr(progress, "make_progress", lambda steps: progress.LogLines(seconds=0))
    began = time.monotonic()
    train(tmp_path, max_epochs=2)
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("Epoch 1, step 3 of 4, ")
    rate = float(first.split(", ")[2].removesuffix(" steps/s"))
    assert rate > 1 / (time.monotonic() - began), "only steps since the resume count"
    monkeypatch.setattr(
        progress, "make_progress", lambda steps: progress.TerminalBar(refresh_rate=1)
    )
    train(tmp_path.with_name("again"), max_epochs=2)
    output = capsys.readouterr().err
    assert "Epoch 1:  50%" in output and "2/4" in output and "3/4" in output
