"""The average of weights: what is validated and kept, and not what training goes on with."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch

from asteroid_waveunet import WaveUNet
from asteroid_waveunet.experiment.training.callbacks.ema import CURRENT, Averaging
from asteroid_waveunet.weights import safe_load
from helpers.endless import Songs, train

pytestmark = pytest.mark.filterwarnings("ignore")

DECAY = 0.6


class Line(pl.LightningModule):
    """One weight that is the number of steps taken: an average of it can be told by hand."""

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


def trained(line, callbacks, folder, **arguments):
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


def by_hand(steps, decay=DECAY):
    """The average of the weights 0, 1, 2, ... after each step."""
    averages, average = [], 0.0
    for n in range(1, steps + 1):
        d = min(decay, (1 + n) / (10 + n))
        average = d * average + (1 - d) * n
        averages.append(average)
    return averages


def test_it_is_the_moving_average_and_validated_as_such(tmp_path):
    line = Line()
    trained(line, [Averaging(DECAY)], tmp_path, max_epochs=2)
    assert line.validated == pytest.approx([by_hand(6)[-1]] * 6 + [by_hand(12)[-1]] * 6)
    assert line.weight.item() == 12, "training went on with the weights themselves"


def test_there_is_one_update_a_step_where_gradients_are_accumulated(tmp_path):
    averaging = Averaging(DECAY)
    line = Line(n_items=7)
    trained(line, [averaging], tmp_path, accumulate_grad_batches=3)
    assert averaging.updates == 3  # of 3, 3 and 1 batches
    assert line.validated[0] != line.weight.item()


def test_statistics_are_averaged_and_counts_are_copied(tmp_path):
    class Counting(Line):
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

    line = Counting()
    trained(line, [Averaging(DECAY)], tmp_path)
    assert line.averaged == (pytest.approx(by_hand(6)[-1]), 6)
    assert line.seen == [(6, 6)], "training goes on with its own"


def test_an_error_in_validation_leaves_the_weights(tmp_path):
    line = Line(fails_in=0)
    with pytest.raises(RuntimeError, match="no power"):
        trained(line, [Averaging(DECAY)], tmp_path)
    assert line.weight.item() == 6


@pytest.mark.parametrize("hook", ["on_train_epoch_start", "on_validation_epoch_end"])
def test_a_checkpoint_of_any_moment_tells_the_average_from_the_weights(tmp_path, hook):
    saved = []

    def save(self, trainer, pl_module):
        trainer.save_checkpoint(tmp_path / "x.ckpt")
        found = torch.load(tmp_path / "x.ckpt", weights_only=True)
        saved.append((found["state_dict"]["weight"].item(), found[CURRENT]["weight"].item()))

    saving = type("Saving", (pl.Callback,), {hook: save})()
    trained(Line(), [Averaging(DECAY), saving], tmp_path, max_epochs=2)
    steps = [0, 6] if hook == "on_train_epoch_start" else [6, 12]
    expected = [(by_hand(n)[-1] if n else 0.0, n) for n in steps]
    assert saved == [pytest.approx(pair) for pair in expected]


def test_it_can_begin_anew_even_in_a_validation(tmp_path):
    class Anew(pl.Callback):
        def on_validation_end(self, trainer, pl_module):
            pl_module.load_state_dict({"weight": torch.tensor([100.0])})
            averaging.restart(pl_module)

    averaging = Averaging(DECAY)
    line = Line(n_items=1)
    trained(line, [averaging, Anew()], tmp_path, max_epochs=2)
    assert line.validated[1] == pytest.approx(100 + by_hand(1)[0])


# --- in an experiment's training -------------------------------------------------------------


def checkpoint(exp_dir):
    return safe_load.unpickled(exp_dir / "checkpoints" / "last.ckpt")


def test_a_run_that_stopped_goes_on_to_the_same_weights_and_averages_to_the_bit(tmp_path):
    whole = train(tmp_path / "whole", ema=0.9)
    train(tmp_path / "stopped", ema=0.9, max_epochs=2)
    (tmp_path / "stopped" / "best_model.pth").unlink()
    resumed = train(tmp_path / "stopped", ema=0.9)
    one, other = (checkpoint(tmp_path / name) for name in ("whole", "stopped"))
    for entry in (CURRENT, "state_dict"):
        assert one[entry].keys() == other[entry].keys()
        assert all(torch.equal(one[entry][name], other[entry][name]) for name in one[entry])
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_best_model_and_the_checkpoints_are_the_averages(tmp_path):
    model = train(tmp_path, ema=0.9, max_epochs=1)
    averaged = WaveUNet.from_pretrained(tmp_path / "checkpoints" / "last.ckpt")
    current = checkpoint(tmp_path)[CURRENT]
    for name, weight in averaged.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight)
        assert not torch.equal(current[f"model.{name}"], weight)


def test_the_weights_that_are_trained_are_those_without_an_average(tmp_path):
    train(tmp_path / "with", ema=0.9)
    train(tmp_path / "without")
    plain = checkpoint(tmp_path / "without")
    assert CURRENT not in plain
    current = checkpoint(tmp_path / "with")[CURRENT]
    assert all(torch.equal(current[name], x) for name, x in plain["state_dict"].items())


def test_the_validation_loss_is_that_of_the_average(tmp_path):
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
