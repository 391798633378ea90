"""Training: losses by name, best model kept, and a killed run that ends as if it had not been."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
import torch
from conftest import assert_same_model, tiny

from asteroid_waveunet import WaveUNet, untrusted
from asteroid_waveunet.experiment.configuration import Training
from asteroid_waveunet.experiment.objectives import LOSSES, SCHEDULES
from asteroid_waveunet.experiment.training import fit

SETTINGS = Training(batch_size=2, max_epochs=4, lr=3e-3, num_workers=0)

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class Songs(torch.utils.data.Dataset):
    """Endless segments, each drawn from its own index, as musdb.Segments are."""

    def __init__(self, model, length):
        self.lengths, self.left = model.geometry.fit(100), model.geometry.left_context
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        time = torch.arange(self.lengths.input) + torch.rand(1, generator=generator)
        low, high = torch.sin(time / 20), torch.sin(time * 2)
        sources = 0.3 * torch.stack([low, high])
        targets = sources[:, self.left : self.left + self.lengths.output]
        return sources.sum(0, keepdim=True), targets


def train(exp_dir, **settings):
    torch.manual_seed(3)
    model = tiny()
    return fit(
        model,
        Songs(model, 8),
        Songs(model, 4),
        exp_dir,
        dataclasses.replace(SETTINGS, **settings),
        config={"training": {"augmentation": ["a", "b"]}},
    )


def test_the_best_model_is_kept_with_its_curves(tmp_path):
    model = train(tmp_path)
    assert not model.training
    again = WaveUNet.from_pretrained(tmp_path / "best_model.pth")
    mixture = torch.randn(1, 100)
    assert_same_model(again, model, mixture)
    assert list((tmp_path / "logs" / "tensorboard").glob("events*"))
    rows = (tmp_path / "logs" / "csv" / "metrics.csv").read_text().splitlines()
    assert "val_loss" in rows[0] and len(rows) > 4


def test_checkpoints_are_models_too_without_lightning(tmp_path):
    model = train(tmp_path, max_epochs=1)
    code = (
        "import sys\n"
        "for name in ('pytorch_lightning', 'torchmetrics', 'lightning'): sys.modules[name] = None\n"
        "from asteroid_waveunet import WaveUNet, weights\n"
        "model = WaveUNet.from_pretrained(sys.argv[1] + '/checkpoints/last.ckpt')\n"
        "weights.save(model.serialize(), sys.argv[1] + '/loaded')\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    loaded = WaveUNet.from_pretrained(tmp_path / "loaded")
    assert loaded.get_model_args() == model.get_model_args()
    assert_same_model(loaded, model, torch.randn(1, 100))


def test_checkpoints_that_do_not_tell_their_arguments_are_refused(tmp_path):
    """Such as those of Asteroid's own System."""
    train(tmp_path, max_epochs=1)
    checkpoint = untrusted.unpickled(tmp_path / "checkpoints" / "last.ckpt")
    del checkpoint["model_args"]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    with pytest.raises(
        ValueError, match=r"old.ckpt seems to be of a WaveUNet, but without its arg"
    ):
        WaveUNet.from_pretrained(tmp_path / "old.ckpt")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_run_that_stopped_ends_as_if_it_had_not(tmp_path, num_workers):
    """Weights, optimiser and segments go on where they were."""
    whole = train(tmp_path / "whole")
    train(tmp_path / "stopped", max_epochs=2)
    (tmp_path / "stopped" / "best_model.pth").unlink()
    resumed = train(tmp_path / "stopped", num_workers=num_workers)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-7, rtol=0)


def test_early_stopping_ends_a_training_that_gets_nowhere(tmp_path):
    train(tmp_path, lr=1e-30, patience=1, max_epochs=50, fine_tuning=False)
    rows = (tmp_path / "logs" / "csv" / "metrics.csv").read_text().splitlines()
    assert len(rows) < 30


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_loss_and_schedule_trains(tmp_path, loss, schedule):
    model = train(tmp_path, loss=loss, schedule=schedule, max_epochs=1)
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_a_training_that_diverges_is_said_to(tmp_path):
    with pytest.raises(ValueError, match="training diverged.*lower --lr"):
        train(tmp_path, lr=1e30, max_epochs=2)
    assert not (tmp_path / "best_model.pth").exists()


def test_a_corrupt_checkpoint_says_what_to_do(tmp_path):
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.parent.mkdir()
    for content in (b"", b"hello"):
        last.write_bytes(content)
        with pytest.raises(ValueError, match="no checkpoint to go on from .* to start over"):
            train(tmp_path)
    torch.save({"a": 1}, last)
    with pytest.raises(ValueError, match="no checkpoint to go on from .* to start over"):
        train(tmp_path)


def test_an_epoch_shorter_than_a_batch_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="8 segments, fewer than a batch of 9"):
        train(tmp_path, batch_size=9)
    assert list(tmp_path.iterdir()) == []
