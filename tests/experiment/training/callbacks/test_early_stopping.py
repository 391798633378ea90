"""Early stopping by patience, and a second round from the best weights with twice the batch."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from asteroid_waveunet.experiment.segments.batch_sampler import ResumableBatchSampler
from asteroid_waveunet.experiment.settings import Training
from asteroid_waveunet.experiment.training.callbacks import early_stopping
from asteroid_waveunet.experiment.training.callbacks.collapse import CollapseGuard
from asteroid_waveunet.experiment.training.callbacks.early_stopping import TwoRoundEarlyStopping
from helpers.models import tiny
from helpers.training import Songs, train

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

GUARD = CollapseGuard(torch.nn.functional.mse_loss)


class Trainer:
    """The attributes of Lightning's trainer that are used."""

    def __init__(self):
        self.current_epoch = 0
        self.should_stop = False
        self.callback_metrics = {}
        self.callbacks = []
        self.lr_scheduler_configs = []
        self.optimizers = [torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])]


def simulate(losses, tmp_path, monkeypatch, **settings) -> tuple[int, int | None]:
    """Return the number of epochs, and the first epoch of the second round."""
    trainer, module = Trainer(), torch.nn.Linear(1, 1)
    best = {
        "state_dict": module.state_dict(),
        "optimizer_states": [trainer.optimizers[0].state_dict()],
    }
    monkeypatch.setattr(early_stopping.checkpoint_io, "read", lambda path: best)
    rounds = TwoRoundEarlyStopping(
        ResumableBatchSampler(5, 16), Training(**settings), tmp_path / "best.ckpt", GUARD
    )
    for epoch, loss in enumerate(losses):
        trainer.current_epoch = epoch
        trainer.callback_metrics["val_loss"] = torch.tensor(loss)
        rounds.on_validation_end(trainer, module)
        if trainer.should_stop:
            return epoch + 1, rounds.second_round
    return len(losses), rounds.second_round


@pytest.mark.parametrize(
    ("losses", "settings", "expected"),
    [
        ([3, 2, 2, 2, 2, 2], dict(patience=2, fine_tuning=False), (4, None)),
        ([3, 2, 2, 2, 2, 2, 2], dict(patience=2), (6, 4)),
        ([3, 2, 2, 2, 1, 2, 2, 0], dict(patience=2), (7, 4)),
        # The second round must beat the first one's best, as in the reference.
        ([1, 3, 3, 2, 2, 0], dict(patience=2), (5, 3)),
        ([3, 4, 2, 4, 1, 4], dict(patience=2), (6, None)),
        ([3, float("nan"), float("inf"), 1], dict(patience=2, fine_tuning=False), (3, None)),
        # Other schedules have no second round.
        ([3, 3, 3, 3], dict(patience=1, schedule="one_cycle"), (2, None)),
        ([3, 3, 3], dict(patience=0, fine_tuning=False), (2, None)),
    ],
)  # fmt: skip
def test_round_ends_when_patience_is_exhausted(losses, settings, expected, tmp_path, monkeypatch):
    assert simulate([float(loss) for loss in losses], tmp_path, monkeypatch, **settings) == expected


def test_repeated_validation_of_an_epoch_counts_once(tmp_path):
    trainer = Trainer()
    rounds = TwoRoundEarlyStopping(
        ResumableBatchSampler(5, 16), Training(patience=2), tmp_path, GUARD
    )
    for loss in (2.0, 2.0, 2.0):
        trainer.callback_metrics["val_loss"] = torch.tensor(loss)
        rounds.on_validation_end(trainer, None)
    assert rounds.epochs_without_improvement == 0 and not trainer.should_stop


def test_second_round_needs_a_finite_loss(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="training diverged"):
        simulate([float("nan")] * 3, tmp_path, monkeypatch, patience=2)


class RecordingSongs(Songs):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.indices = []

    def __getitem__(self, index):
        self.indices.append(index)
        return super().__getitem__(index)


def rates(folder: Path) -> list[float]:
    with open(folder / "logs" / "csv" / "metrics.csv", newline="") as file:
        return [float(row["lr-Adam"]) for row in csv.DictReader(file) if row["lr-Adam"]]


def test_second_round_doubles_the_batch_size_and_keeps_the_steps(tmp_path, monkeypatch):
    """It starts from the best weights and their Adam moments; every segment is used once."""
    began = []
    fine_tune = TwoRoundEarlyStopping._start_second_round

    def record(rounds, trainer, module):
        fine_tune(rounds, trainer, module)
        weights = {name: value.clone() for name, value in module.state_dict().items()}
        adam = trainer.optimizers[0].state_dict()["state"][0]
        began.append((rounds.second_round, weights, int(adam["step"])))
        began.append(torch.load(rounds.best_checkpoint, weights_only=True))

    monkeypatch.setattr(TwoRoundEarlyStopping, "_start_second_round", record)
    songs = RecordingSongs(tiny(), 8)
    train(tmp_path, train_set=songs, max_epochs=14, patience=1, lr=6e-2, fine_tuning_lr=1e-3)
    (second, weights, adam_step), best = began
    assert 1 < second < 14
    assert all(torch.equal(weights[name], best["state_dict"][name]) for name in weights)
    assert adam_step == best["global_step"] < 4 * second
    assert songs.indices == list(range(second * 8 + (14 - second) * 16))
    assert rates(tmp_path)[:second] == [6e-2] * second
    assert rates(tmp_path)[second:] == [1e-3] * (14 - second)


@pytest.mark.parametrize("warmup_steps", [0, 2])
def test_second_round_learning_rate_after_resume(tmp_path, warmup_steps):
    settings = dict(patience=1, lr=6e-2, warmup_steps=warmup_steps)
    for max_epochs, lr in ((9, 1e-3), (11, 1e-3), (13, 1e-4)):
        train(tmp_path, max_epochs=max_epochs, fine_tuning_lr=lr, **settings)
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    second = last["callbacks"]["Rounds"]["second"]
    assert 1 < second <= 9
    with open(tmp_path / "logs" / "csv" / "metrics.csv", newline="") as file:
        found = [(int(r["step"]), r["lr-Adam"]) for r in csv.DictReader(file) if r["lr-Adam"]]
    assert {float(lr) for step, lr in found if 4 * second <= step < 44} == {1e-3}
    assert {float(lr) for step, lr in found if step >= 44} == {1e-4}
    assert last["optimizer_states"][0]["param_groups"][0]["lr"] == 1e-4


def test_state_is_restored(tmp_path):
    rounds = TwoRoundEarlyStopping(
        ResumableBatchSampler(4, 2), Training(batch_size=2), tmp_path, GUARD
    )
    rounds._double_batch_size(3)
    rounds.position, rounds.best, rounds.epochs_without_improvement = (5, 2), 0.5, 1
    batches = ResumableBatchSampler(4, 2)
    again = TwoRoundEarlyStopping(batches, Training(batch_size=2), tmp_path, GUARD)
    again.load_state_dict(rounds.state_dict())
    assert again.state_dict() == rounds.state_dict()
    assert list(batches) == [rounds.batches.indices(5, step) for step in (2, 3)]
    assert len(next(iter(batches))) == 4
