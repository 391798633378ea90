"""Training: losses by name, best model kept, and a killed run that ends as if it had not been."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from asteroid_waveunet import WaveUNet
from asteroid_waveunet.experiment.segments.batch_sampler import (
    EndlessShuffle,
    ResumableBatchSampler,
)
from asteroid_waveunet.experiment.settings import Training
from asteroid_waveunet.experiment.training.fit import (
    MisconfigurationException,
    WaveUNetSystem,
    _arithmetic,
    make_system,
    own_share,
    pl,
)
from asteroid_waveunet.experiment.training.objectives import LOSSES, SCHEDULES
from asteroid_waveunet.weights import safe_load
from helpers.endless import Songs, tracks, train
from helpers.models import assert_same_model, tiny
from helpers.paths import HELPERS, ROOT, TESTS

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def test_the_best_model_is_kept_with_its_curves(tmp_path):
    model = train(tmp_path)
    assert not model.training
    again = WaveUNet.from_pretrained(tmp_path / "best_model.pth")
    mixture = torch.randn(1, 100)
    assert_same_model(again, model, mixture)
    best = WaveUNet.from_pretrained(tmp_path / "checkpoints" / "best.ckpt")
    assert_same_model(best, model, mixture)
    assert list((tmp_path / "logs" / "tensorboard").glob("events*"))
    rows = (tmp_path / "logs" / "csv" / "metrics.csv").read_text().splitlines()
    assert "val_loss" in rows[0] and len(rows) > 4


def test_checkpoints_are_models_too_without_lightning(tmp_path):
    model = train(tmp_path, max_epochs=1)
    code = (
        "import sys\n"
        "for name in ('pytorch_lightning', 'torchmetrics', 'lightning'): sys.modules[name] = None\n"
        "from asteroid_waveunet import WaveUNet\n"
        "from asteroid_waveunet.weights import serialization\n"
        "model = WaveUNet.from_pretrained(sys.argv[1] + '/checkpoints/last.ckpt')\n"
        "serialization.save(model.serialize(), sys.argv[1] + '/loaded')\n"
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
    checkpoint = safe_load.unpickled(tmp_path / "checkpoints" / "last.ckpt")
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
    """Where the losses are finite, but not those of validation."""

    class Loud(Songs):
        def __getitem__(self, index):
            mixture, targets = super().__getitem__(index)
            return mixture, targets * float("inf")

    with pytest.raises(ValueError, match="training diverged.*lower --lr"):
        train(tmp_path, valid_set=Loud(tiny(), 4), max_epochs=2)
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


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "logs" / "csv" / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def figures(folder: Path, column: str) -> np.ndarray:
    return np.array([float(row[column]) for row in rows(folder) if row.get(column)])


def run(folder: Path, **settings) -> subprocess.CompletedProcess:
    """Trains in a process of its own, which may start others."""
    program = [str(HELPERS / "endless.py"), str(folder), json.dumps(settings)]
    return subprocess.run(
        [sys.executable, "-W", "ignore", *program],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{TESTS}"},
    )  # fmt: skip


def test_two_processes_train_as_one_with_their_batches_together(tmp_path):
    """The same segments in the same steps, and all validation tracks once."""
    settings = dict(max_epochs=3, patience=1, lr=1e-2, tracks=True)
    for name, own in {"one": dict(batch_size=4), "two": dict(batch_size=2, devices=2)}.items():
        result = run(tmp_path / name, **settings, **own)
        assert result.returncode == 0, result.stderr[-3000:]
    sdrs = [f"val_sdr/{source}" for source in tiny().sources]
    for column in ("loss", "val_loss", *sdrs, "lr-Adam"):
        one, two = (figures(tmp_path / name, column) for name in ("one", "two"))
        assert len(one) >= 3
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6, err_msg=column)
    one, two = (WaveUNet.from_pretrained(tmp_path / n / "best_model.pth") for n in ("one", "two"))
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_accumulated_batches_are_as_one(tmp_path):
    train(tmp_path / "one", batch_size=4, max_epochs=2)
    train(tmp_path / "two", batch_size=2, accumulate=2, max_epochs=2)
    one, two = (figures(tmp_path / name, "val_loss") for name in ("one", "two"))
    np.testing.assert_allclose(one, two, rtol=1e-5)


def test_the_log_counts_the_optimisers_steps(tmp_path):
    train(tmp_path, batch_size=2, accumulate=2, max_epochs=4)
    assert [row["step"] for row in rows(tmp_path) if row["loss"]] == ["1", "3", "5", "7"]


def test_with_fewer_epochs_than_were_begun_it_ends_with_its_best(tmp_path):
    whole = train(tmp_path, max_epochs=3)
    (tmp_path / "best_model.pth").unlink()
    again = train(tmp_path, max_epochs=1)
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 2


def test_torchs_arithmetic_is_afterwards_as_before(tmp_path):
    kinds = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [kind.allow_tf32 for kind in kinds]
    with _arithmetic(Training(tf32=not before[0])):
        assert [kind.allow_tf32 for kind in kinds] == [not before[0]] * 2
    assert [kind.allow_tf32 for kind in kinds] == before


def test_gradients_are_clipped(tmp_path, monkeypatch):
    norms = []
    step = torch.optim.Adam.step

    def noting(optimizer, *args, **kwargs):
        result = step(optimizer, *args, **kwargs)
        parameters = optimizer.param_groups[0]["params"]
        norms.append(float(torch.nn.utils.get_total_norm([p.grad for p in parameters])))
        return result

    monkeypatch.setattr(torch.optim.Adam, "step", noting)
    train(tmp_path / "free", max_epochs=1)
    free, norms[:] = max(norms), []
    train(tmp_path / "clipped", max_epochs=1, clip=free / 10)
    assert max(norms) <= free / 10 * 1.01


@pytest.mark.parametrize("precision", ["bf16-mixed", 32, "64"])
def test_every_precision_trains(tmp_path, precision):
    model = train(tmp_path, max_epochs=1, precision=precision)
    assert all(torch.isfinite(p).all() for p in model.parameters())


def compile_with(monkeypatch, backend) -> list[dict]:
    """torch.compile's own way through the program, but for what it makes of the parts."""
    calls = []
    plain = torch.compile

    def compile(function, **settings):
        calls.append(settings)
        return plain(function, **settings, backend=backend)

    monkeypatch.setattr(torch, "compile", compile)
    return calls


def test_a_compiled_network_trains_the_same_model(tmp_path, monkeypatch):
    """Traced and differentiated as compiled, but run eagerly: compilers take half a minute."""
    plain = train(tmp_path / "plain", max_epochs=1)
    calls = compile_with(monkeypatch, "aot_eager")
    compiled = train(tmp_path / "compiled", max_epochs=1, compile=True)
    assert calls == [{"dynamic": False}]
    for a, b in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    first, second = (
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("plain", "compiled")
    )
    assert first.keys() == second.keys()


def test_a_network_that_cannot_be_compiled_says_what_to_do(tmp_path, monkeypatch):
    def refuse(graph, inputs):
        raise RuntimeError("no compiler is found")

    compile_with(monkeypatch, refuse)
    with pytest.raises(ValueError, match="cannot be compiled here .*--compile false"):
        train(tmp_path, compile=True)


def test_more_devices_than_there_are_is_said(tmp_path, monkeypatch):
    def refuse(**settings):
        raise MisconfigurationException("You requested 4 GPUs, there is 1")

    monkeypatch.setattr(pl, "Trainer", refuse)
    with pytest.raises(ValueError, match="cannot train so: You requested 4 GPUs"):
        train(tmp_path, devices=4, batch_size=1)


def test_batches_that_come_whole_are_taken_as_they_are(tmp_path):
    asked = []

    class Whole(Songs):
        def __getitems__(self, indices):
            asked.append(indices)
            return tuple(map(torch.stack, zip(*map(self.__getitem__, indices), strict=True)))

    whole = train(tmp_path / "whole", train_set=Whole(tiny(), 8), max_epochs=2)
    assert asked == [list(range(i, i + 2)) for i in range(0, 16, 2)]
    items = train(tmp_path / "items", max_epochs=2)
    for a, b in zip(whole.parameters(), items.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_set_on_the_device_is_not_loaded_by_others(tmp_path):
    class Mine(Songs):
        def __getitem__(self, index):
            assert torch.utils.data.get_worker_info() is None
            return super().__getitem__(index)

    train(tmp_path, train_set=Mine(tiny(), 8), max_epochs=1, on_device=True, num_workers=1)


def test_any_finite_set_can_be_trained_on(tmp_path):
    class Finite(Songs):
        endless = False

        def __getitem__(self, index):
            if index >= len(self):
                raise IndexError(index)
            return super().__getitem__(index)

    finite = Finite(tiny(), 8)
    given = train(
        tmp_path / "given", train_set=EndlessShuffle(finite, seed=1), seed=1, max_epochs=3
    )
    made = train(tmp_path / "made", train_set=finite, seed=1, max_epochs=3)
    for a, b in zip(given.parameters(), made.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_every_validation_track_is_with_one_process_and_in_order(tmp_path, ranks):
    valid_set = tracks(tmp_path)
    shares = [
        own_share(valid_set, ResumableBatchSampler(1, 1, ranks, rank)) for rank in range(ranks)
    ]
    assert sorted(index for share in shares for index in share) == list(range(len(valid_set)))
    homes = [{valid_set.locate(index)[0] for index in share} for share in shares]
    assert sum(map(len, homes)) == 4, "no track is in two"
    assert all(share == sorted(share) for share in shares)
    assert shares.count([]) == max(0, ranks - 4)


def test_a_process_without_tracks_counts_for_nothing(tmp_path):
    """It validates a segment all the same, to be with the others when they meet."""
    model, valid_set = tiny(), tracks(tmp_path)
    batches = ResumableBatchSampler(1, 2, ranks=5, rank=4)
    system = make_system(
        model, Songs(model, 2), valid_set, Training(num_workers=0), batches, {}, False
    )
    assert system.spare and len(system.val_loader) == 1
    system.on_validation_epoch_start()
    for number, batch in enumerate(system.val_loader):
        system.validation_step(batch, number)
    assert system._total == [0, 0]
    assert np.isnan(system.validation.medians()).all()


def test_a_model_that_was_loaded_trains_in_training_mode(tmp_path, monkeypatch):
    """Only then its estimates are not clipped."""
    modes = []
    step = WaveUNetSystem.training_step

    def noting(system, *arguments):
        modes.append(system.model.training)
        return step(system, *arguments)

    monkeypatch.setattr(WaveUNetSystem, "training_step", noting)
    assert not tiny().training
    train(tmp_path, max_epochs=2)
    assert modes == [True] * 8
