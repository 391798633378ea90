"""How far training is: on a terminal, in a log file, and said at the end."""

from __future__ import annotations

import shutil
import sys
import time

import pytest
import pytorch_lightning as pl
import torch

from asteroid_waveunet.experiment.training.callbacks import audio_logging, checkpointing, progress
from asteroid_waveunet.experiment.training.signals import Interrupted
from helpers.endless import train

pytestmark = pytest.mark.filterwarnings("ignore")


class Slow(pl.LightningModule):
    """A model whose steps and validation batches take as many seconds as the test says."""

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


def test_a_log_file_gets_a_line_an_epoch_and_now_and_then_one_within(tmp_path, clock, capsys):
    run(tmp_path, Slow(clock), progress.Lines(seconds=25))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Epoch")]
    assert lines[:2] == [
        "Epoch 0, step 3 of 4, 0.1 steps/s, loss 0.4096",
        "Epoch 0, validation: 1 batches",
    ]
    ends = [line for line in lines if "val_loss" in line]
    assert ends[1] == "Epoch 1, step 4 of 4, 0.1 steps/s, loss 0.04398, val_loss 0.02815"
    assert len(lines) == 2 * (1 + 4 + 1)
    run(tmp_path, Slow(clock, seconds=0.1), progress.Lines(seconds=60))
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_process_that_lightning_silences_says_nothing(tmp_path, clock, capsys):
    lines = progress.Lines(seconds=0)
    lines.disable()
    run(tmp_path, Slow(clock), lines)
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_bar_with_rate_and_loss(tmp_path, monkeypatch, capsys):
    assert isinstance(progress.shown(2000), progress.Lines)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    bar = progress.shown(2000)
    assert isinstance(bar, progress.Bar) and bar.refresh_rate == 20
    monkeypatch.undo()
    run(tmp_path, Slow(Clock()), progress.Bar(), max_epochs=1)
    last = capsys.readouterr().out.split("\r")[-1]
    assert "4/4" in last and "it/s" in last
    assert "loss=0.262" in last and "val_loss=0.168" in last and "v_num" not in last


def test_the_summary_counts_what_was_trained_and_keeps_the_best(tmp_path, clock, capsys):
    summary = progress.Summary(tmp_path / "exp")
    run(tmp_path, Slow(clock), summary, progress.Lines())
    said = capsys.readouterr().out.splitlines()[-5:]
    assert said == [
        "Trained      2 epochs, 8 steps in 5 min 20 s",  # 8 x 10 s and 8 x 30 s
        "Speed        0.3 segments/s, validation apart",
        f"Checkpoints  {tmp_path / 'exp' / 'checkpoints'}",
        f"Curves       {tmp_path / 'exp' / 'logs'}",
        "Best         epoch 1, val_loss 0.0281475, SDR bass 1.50 dB",
    ]


def test_a_worse_epoch_is_not_the_best_and_nan_never_is(tmp_path, clock):
    losses = iter([float("nan"), 0.5, 0.25, 0.75])

    class Given(Slow):
        def validation_step(self, batch, n):
            self.log("val_loss", next(losses))

    summary = progress.Summary(tmp_path)
    run(tmp_path, Given(clock), summary, progress.Lines(), max_epochs=4, limit_val_batches=1)
    assert summary.best == {"epoch": 2, "val_loss": 0.25}
    assert "Best" not in progress.Summary(tmp_path).text(0, 0)


def test_a_training_that_goes_on_counts_the_earlier_runs_too(tmp_path, capsys):
    train(tmp_path, max_epochs=2)
    before = capsys.readouterr().out
    (tmp_path / "best_model.pth").unlink()
    train(tmp_path)
    after = capsys.readouterr().out
    assert "Trained      2 epochs, 8 steps" in before
    assert "Trained      4 epochs, 16 steps" in after
    assert "Best         epoch 3, val_loss" in after


def asked_after_two_steps(monkeypatch, folder):
    """A training that was ended amid its second epoch of four steps."""
    received = property(lambda requests: 15, lambda requests, number: None)
    saved = checkpointing.Checkpoints._save
    with monkeypatch.context() as patch:
        patch.setattr(checkpointing.Requests, "received", received, raising=False)

        def ending(keeper, trainer, *arguments):
            saved(keeper, trainer)
            if trainer.global_step == 6:
                raise Interrupted(15, "it is saved")

        patch.setattr(checkpointing.Checkpoints, "_save", ending)
        patch.setattr(checkpointing.Checkpoints, "_end", lambda *arguments: None)
        with pytest.raises(Interrupted):
            train(folder)


def test_amid_an_epoch_a_training_goes_on_with_its_number_and_rate(tmp_path, monkeypatch, capsys):
    asked_after_two_steps(monkeypatch, tmp_path)
    shutil.copytree(tmp_path, tmp_path.with_name("again"))
    capsys.readouterr()
    monkeypatch.setattr(audio_logging.progress, "shown", lambda steps: progress.Lines(seconds=0))
    began = time.monotonic()
    train(tmp_path, max_epochs=2)
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("Epoch 1, step 3 of 4, ")
    rate = float(first.split(", ")[2].removesuffix(" steps/s"))
    assert rate > 1 / (time.monotonic() - began), "not since the machine was switched on"
    monkeypatch.setattr(audio_logging.progress, "shown", lambda steps: progress.Bar(refresh_rate=1))
    train(tmp_path.with_name("again"), max_epochs=2)
    said = capsys.readouterr().out
    assert "Epoch 1:  50%" in said and "2/4" in said and "3/4" in said
