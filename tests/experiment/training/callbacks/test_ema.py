"""The moving average is validated and saved; training continues with the weights."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch

from asteroid_waveunet import WaveUNet
from asteroid_waveunet.experiment.training.callbacks.ema import (
    CURRENT_WEIGHTS,
    ExponentialMovingAverage,
)
from asteroid_waveunet.weights import safe_load
from helpers.training import Songs, train

pytestmark = pytest.mark.filterwarnings("ignore")

DECAY = 0.6


class StepCounter(pl.LightningModule):
    """One weight that equals the number of steps: its average is easy to compute."""

    def __init__(self, n_items=6, fails_in=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.n_items = n_items
        self.fails_in = fails_in
        self.validated = []

    def training_step(self, batch, n):
        return -self.weight.sum()

    def validation_step(self, batch, n):
        self.validated.append(self.weight.item())
        if self.current_epoch == self.fails_in:
            raise RuntimeError("no power")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.zeros(self.n_items))

    val_dataloader = train_dataloader


def fit(line, callbacks, folder, **arguments):
    trainer = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        callbacks=callbacks,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        **{"max_epochs": 1, "enable_checkpointing": False, **arguments},
    )
    trainer.fit(line)
    return trainer


def expected_averages(steps, decay=DECAY):
    """Return the average of the weights 0, 1, 2, ... after each step."""
    averages, average = [], 0.0
    for n in range(1, steps + 1):
        d = min(decay, (1 + n) / (10 + n))
        average = d * average + (1 - d) * n
        averages.append(average)
    return averages


def test_average_is_validated_and_weights_are_trained(tmp_path):
    line = StepCounter()
    fit(line, [ExponentialMovingAverage(DECAY)], tmp_path, max_epochs=2)
    assert line.validated == pytest.approx(
        [expected_averages(6)[-1]] * 6 + [expected_averages(12)[-1]] * 6
    )
    assert line.weight.item() == 12, "training continues with the weights"


def test_accumulated_batches_make_one_update(tmp_path):
    averaging = ExponentialMovingAverage(DECAY)
    line = StepCounter(n_items=7)
    fit(line, [averaging], tmp_path, accumulate_grad_batches=3)
    assert averaging.updates == 3  # of 3, 3 and 1 batches
    assert line.validated[0] != line.weight.item()


def test_statistics_are_averaged_and_counts_copied(tmp_path):
    class WithStatistics(StepCounter):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(1))
            self.register_buffer("count", torch.tensor(0))
            self.seen = []

        def training_step(self, batch, n):
            self.mean += 1
            self.count += 1
            return super().training_step(batch, n)

        def on_validation_end(self):
            self.seen.append((self.mean.item(), self.count.item()))

        def validation_step(self, batch, n):
            super().validation_step(batch, n)
            self.averaged = self.mean.item(), self.count.item()

    line = WithStatistics()
    fit(line, [ExponentialMovingAverage(DECAY)], tmp_path)
    assert line.averaged == (pytest.approx(expected_averages(6)[-1]), 6)
    assert line.seen == [(6, 6)], "training keeps its own statistics"


def test_error_in_validation_restores_the_weights(tmp_path):
    line = StepCounter(fails_in=0)
    with pytest.raises(RuntimeError, match="no power"):
        fit(line, [ExponentialMovingAverage(DECAY)], tmp_path)
    assert line.weight.item() == 6


@pytest.mark.parametrize("hook", ["on_train_epoch_start", "on_validation_epoch_end"])
def test_checkpoint_holds_average_and_weights_during_training_and_validation(tmp_path, hook):
    saved = []

    def save(self, trainer, pl_module):
        trainer.save_checkpoint(tmp_path / "x.ckpt")
        found = torch.load(tmp_path / "x.ckpt", weights_only=True)
        saved.append(
            (found["state_dict"]["weight"].item(), found[CURRENT_WEIGHTS]["weight"].item())
        )

    saving = type("Saving", (pl.Callback,), {hook: save})()
    fit(StepCounter(), [ExponentialMovingAverage(DECAY), saving], tmp_path, max_epochs=2)
    steps = [0, 6] if hook == "on_train_epoch_start" else [6, 12]
    expected = [(expected_averages(n)[-1] if n else 0.0, n) for n in steps]
    assert saved == [pytest.approx(pair) for pair in expected]


def test_restart_during_validation(tmp_path):
    class Restart(pl.Callback):
        def on_validation_end(self, trainer, pl_module):
            pl_module.load_state_dict({"weight": torch.tensor([100.0])})
            averaging.restart(pl_module)

    averaging = ExponentialMovingAverage(DECAY)
    line = StepCounter(n_items=1)
    fit(line, [averaging, Restart()], tmp_path, max_epochs=2)
    assert line.validated[1] == pytest.approx(100 + expected_averages(1)[0])


# --- in an experiment's training -------------------------------------------------------------


def checkpoint(exp_dir):
    return safe_load.read_torch_file(exp_dir / "checkpoints" / "last.ckpt")


def test_best_model_and_checkpoints_hold_the_averages(tmp_path):
    model = train(tmp_path, ema=0.9, max_epochs=1)
    averaged = WaveUNet.from_pretrained(tmp_path / "checkpoints" / "last.ckpt")
    current = checkpoint(tmp_path)[CURRENT_WEIGHTS]
    for name, weight in averaged.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight)
        assert not torch.equal(current[f"model.{name}"], weight)


def test_average_does_not_change_training(tmp_path):
    train(tmp_path / "with", ema=0.9)
    train(tmp_path / "without")
    plain = checkpoint(tmp_path / "without")
    assert CURRENT_WEIGHTS not in plain
    current = checkpoint(tmp_path / "with")[CURRENT_WEIGHTS]
    assert all(torch.equal(current[name], x) for name, x in plain["state_dict"].items())


def test_validation_loss_is_that_of_the_average(tmp_path):
    model = train(tmp_path, ema=0.9, max_epochs=1)
    items = [Songs(model, 4)[i] for i in range(4)]
    with torch.no_grad():
        estimates = [model.forward_context(mixture) for mixture, _ in items]
    losses = [(e - t).square().mean() for e, (_, t) in zip(estimates, items, strict=True)]
    rows = (tmp_path / "logs" / "csv" / "metrics.csv").read_text().splitlines()
    (found,) = (
        float(cell)
        for row in rows[1:]
        for name, cell in zip(rows[0].split(","), row.split(","), strict=True)
        if name == "val_loss" and cell
    )
    assert found == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)
