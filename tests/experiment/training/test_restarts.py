"""Training that collapses goes back and continues with half the learning rate."""

from __future__ import annotations

import csv

import pytest
import torch

from asteroid_waveunet import WaveUNet
from asteroid_waveunet.experiment.training.callbacks import collapse
from asteroid_waveunet.experiment.training.callbacks.collapse import Collapsed, CollapseGuard
from helpers.models import tiny
from helpers.training import Songs, train

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

LONG = dict(max_epochs=2, loss="l1", fine_tuning=False)


def learning_rates(folder) -> dict[int, float]:
    """Return the logged learning rate by step."""
    with open(folder / "logs" / "csv" / "metrics.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("lr-Adam")]
    return {int(row["step"]): float(row["lr-Adam"]) for row in rows}


def test_saturated_outputs_are_noticed_and_half_the_step_size_trains(tmp_path, capsys):
    """A learning rate of 0.1 saturates the tanh of this model for good; 0.05 does not."""
    songs = Songs(tiny(), 220)
    train(tmp_path, train_set=songs, lr=0.1, **LONG)
    said = capsys.readouterr().err
    assert "at full scale" in said and "initial weights" in said and "restart 1 of 3" in said
    model = WaveUNet.from_pretrained(tmp_path / "best_model.pth")
    mixture, _ = songs[0]
    assert float(model.forward_context(mixture[None]).abs().mean()) < 0.9
    assert {*learning_rates(tmp_path).values()} == {0.05}


def test_training_that_collapses_again_ends_with_advice(tmp_path, capsys):
    with pytest.raises(ValueError, match=r"after 3 restarts.*--lr.*--gradient_clip") as error:
        train(tmp_path, train_set=Songs(tiny(), 220), lr=1.0, **LONG)
    assert str(tmp_path / "checkpoints") in str(error.value)
    assert capsys.readouterr().err.count("halved") == 3
    assert not (tmp_path / "best_model.pth").exists()


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_restart_resumes_the_best_checkpoint_with_half_its_learning_rate(
    schedule, tmp_path, monkeypatch, capsys
):
    settings = dict(schedule=schedule, lr=1e-3, fine_tuning=False, patience=10)
    train(tmp_path / "sound", **settings)
    judged = []

    def collapse_once(guard, trainer, module):
        judged.append(trainer.current_epoch)
        if judged == [0, 1, 2]:
            raise Collapsed("the outputs are stuck")

    monkeypatch.setattr(CollapseGuard, "on_validation_start", collapse_once)
    train(tmp_path / "collapsed", **settings)
    assert "best checkpoint, after step 8, with" in capsys.readouterr().err
    assert judged == [0, 1, 2, 2, 3]
    sound, halved = (learning_rates(tmp_path / name) for name in ("sound", "collapsed"))
    assert sound.keys() == halved.keys()
    for step, lr in sound.items():
        assert halved[step] == pytest.approx(lr if step < 8 else lr / 2), step
    state = torch.load(tmp_path / "collapsed" / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["callbacks"]["Collapse"]["restarts"] == 1


def observe(guard, ratio, windows=1, level=0.1):
    """Measure batches whose loss is `ratio` times that of silence."""
    targets = torch.full((2, 2, 1, 50), level)
    for _ in range(windows * collapse.EVERY * collapse.WINDOW):
        estimates = targets * (1 - ratio)
        guard.observe(estimates, targets, guard.loss(estimates, targets))
        guard.on_train_batch_end(None, None, None, None, 0)


def test_loss_as_large_as_that_of_silence_is_a_collapse_only_after_it_was_lower():
    guard = CollapseGuard(torch.nn.functional.l1_loss)
    observe(guard, 1.5, 3)
    observe(guard, 1.0, 3)  # nothing learned yet
    observe(guard, 0.5)
    observe(guard, 1.0, 2)  # a spike
    observe(guard, 0.6)
    with pytest.raises(Collapsed, match=r"silence 0\.1, though it was 50% of it"):
        observe(guard, 1.0, 3)


def test_loud_music_is_not_saturation():
    guard = CollapseGuard(torch.nn.functional.l1_loss)
    observe(guard, 0.0, 3, level=1.0)
    with pytest.raises(Collapsed, match="100% of the model's output is at full scale"):
        observe(guard, -9.0, level=0.1)


def test_losses_in_decibels_are_judged_by_saturation_alone():
    guard = CollapseGuard(lambda estimates, targets: torch.tensor(-12.0))
    observe(guard, 0.5, 2)
    observe(guard, 1.0, 5)
