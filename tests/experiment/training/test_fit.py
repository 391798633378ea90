"""Training: the best model is kept, runs resume, and several processes train as one."""

from __future__ import annotations

import csv
import json
import os
import shutil
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
    _arithmetic,
    pl,
)
from asteroid_waveunet.experiment.training.objectives import SCHEDULES
from asteroid_waveunet.experiment.training.system import (
    WaveUNetSystem,
    make_system,
    validation_indices,
)
from asteroid_waveunet.file_locks import AlreadyLocked, locked
from asteroid_waveunet.weights import safe_load
from helpers.models import assert_same_model, tiny
from helpers.paths import ROOT, TESTS
from helpers.training import Songs, tracks, train

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model trained for four epochs, and its folder."""
    exp_dir = tmp_path_factory.mktemp("trained")
    return train(exp_dir), exp_dir


def test_best_model_and_curves_are_saved(trained):
    model, exp_dir = trained
    assert not model.training
    mixture = torch.randn(1, 100)
    for path in ("best_model.pth", "checkpoints/best.ckpt"):
        assert_same_model(WaveUNet.from_pretrained(exp_dir / path), model, mixture)
    assert list((exp_dir / "logs" / "tensorboard").glob("events*"))
    assert len(figures(exp_dir, "val_loss")) == 4


def test_second_training_of_an_experiment_is_refused(tmp_path):
    with locked(tmp_path / "checkpoints"):
        with pytest.raises(AlreadyLocked, match=f"process {os.getpid()} on"):
            train(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [".checkpoints.lock"]


def test_checkpoint_loads_without_lightning(trained, monkeypatch):
    model, exp_dir = trained
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("pytorch_lightning", "lightning", "torchmetrics"):
            monkeypatch.setitem(sys.modules, name, None)
    loaded = WaveUNet.from_pretrained(exp_dir / "checkpoints" / "best.ckpt")
    assert loaded.get_model_args() == model.get_model_args()


def test_checkpoint_without_model_arguments_is_refused(trained, tmp_path):
    """For example one of Asteroid's own System."""
    checkpoint = safe_load.read_torch_file(trained[1] / "checkpoints" / "last.ckpt")
    del checkpoint["model_args"]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    with pytest.raises(ValueError, match=r"old.ckpt.*WaveUNet.*arg"):
        WaveUNet.from_pretrained(tmp_path / "old.ckpt")


def test_resumed_training_equals_uninterrupted(trained, tmp_path):
    train(tmp_path, max_epochs=2)
    (tmp_path / "best_model.pth").unlink()
    resumed = train(tmp_path, num_workers=1)
    for a, b in zip(trained[0].parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-7, rtol=0)


def test_losses_and_schedules_train(tmp_path):
    """Each schedule, and each kind of loss; test_objectives covers the others."""
    for loss, schedule in zip(("spectral", "magnitude_l1", "neg_sisdr"), SCHEDULES, strict=True):
        model = train(tmp_path / loss, loss=loss, schedule=schedule, max_epochs=1)
        assert all(torch.isfinite(p).all() for p in model.parameters()), (loss, schedule)


def test_diverged_training_is_reported(tmp_path):
    """The training losses are finite, but not those of validation."""

    class Loud(Songs):
        def __getitem__(self, index):
            mixture, targets = super().__getitem__(index)
            return mixture, targets * float("inf")

    with pytest.raises(ValueError, match="training diverged.*lower --lr"):
        train(tmp_path, valid_set=Loud(tiny(), 4), max_epochs=2)
    assert not (tmp_path / "best_model.pth").exists()


def test_corrupt_checkpoint_is_refused(tmp_path):
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.parent.mkdir()
    for content in (b"", b"hello"):
        last.write_bytes(content)
        with pytest.raises(ValueError, match="Cannot resume.*last.ckpt.*delete .*checkpoints"):
            train(tmp_path)
    torch.save({"a": 1}, last)
    with pytest.raises(ValueError, match="Cannot resume.*last.ckpt.*delete .*checkpoints"):
        train(tmp_path)


def test_epoch_shorter_than_a_batch_is_refused_before_writing(tmp_path):
    with pytest.raises(ValueError, match="8 segments, fewer than a batch of 9"):
        train(tmp_path, batch_size=9)
    assert list(tmp_path.iterdir()) == []


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "logs" / "csv" / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def figures(folder: Path, column: str) -> np.ndarray:
    return np.array([float(row[column]) for row in rows(folder) if row.get(column)])


DISTRIBUTED = dict(max_epochs=3, patience=1, lr=1e-2)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """The folder of a training on two gloo processes, and their output.

    Lightning starts the second process itself, with the command line of the first.
    """
    exp_dir = tmp_path_factory.mktemp("two")
    settings = json.dumps(dict(**DISTRIBUTED, tracks=True, batch_size=2, devices=2))
    command = [sys.executable, "-W", "ignore", "-m", "helpers.training", str(exp_dir), settings]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{TESTS}"}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr[-3000:]
    return exp_dir, result.stdout, result.stderr


def test_two_processes_train_as_one_with_the_same_total_batch(two_processes, tmp_path):
    two_dir, *_ = two_processes
    train(tmp_path, valid_set=tracks(tmp_path / "tracks"), **DISTRIBUTED, batch_size=4)
    sdrs = [f"val_sdr/{source}" for source in tiny().sources]
    for column in ("loss", "val_loss", *sdrs, "lr-Adam"):
        one, two = (figures(folder, column) for folder in (tmp_path, two_dir))
        assert len(one) >= 3
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6, err_msg=column)
    one, two = (WaveUNet.from_pretrained(d / "best_model.pth") for d in (tmp_path, two_dir))
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_progress_goes_to_stderr_the_summary_to_stdout_and_lightning_is_quiet(two_processes):
    _, stdout, stderr = two_processes
    labels = [line.split()[0] for line in stdout.splitlines()]
    assert labels == ["Trained", "Speed", "Checkpoints", "Curves", "Best"], "of rank 0 only"
    assert "Epoch 2, step 2 of 2" in stderr
    for note in ("litlogger", "Tip:", "GPU available", "TPU", "HPU", "LitLogger", "max_epochs"):
        assert note not in stdout + stderr, note


def test_accumulated_batches_equal_one_large_batch(tmp_path):
    train(tmp_path / "one", batch_size=4)
    train(tmp_path / "two", batch_size=2, accumulate=2)
    one, two = (figures(tmp_path / name, "val_loss") for name in ("one", "two"))
    np.testing.assert_allclose(one, two, rtol=1e-5)
    steps = [row["step"] for row in rows(tmp_path / "two") if row["loss"]]
    assert steps == ["1", "3", "5", "7"], "optimizer steps"


def test_resume_with_fewer_epochs_than_begun_keeps_the_best(trained, tmp_path):
    model, exp_dir = trained
    shutil.copytree(exp_dir / "checkpoints", tmp_path / "checkpoints")
    again = train(tmp_path, max_epochs=1)
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 3


def test_tf32_setting_is_restored(tmp_path):
    kinds = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [kind.allow_tf32 for kind in kinds]
    with _arithmetic(Training(tf32=not before[0])):
        assert [kind.allow_tf32 for kind in kinds] == [not before[0]] * 2
    assert [kind.allow_tf32 for kind in kinds] == before


def test_gradients_are_clipped(tmp_path, monkeypatch):
    norms = []
    step = torch.optim.Adam.step

    def record(optimizer, *args, **kwargs):
        result = step(optimizer, *args, **kwargs)
        parameters = optimizer.param_groups[0]["params"]
        norms.append(float(torch.nn.utils.get_total_norm([p.grad for p in parameters])))
        return result

    monkeypatch.setattr(torch.optim.Adam, "step", record)
    train(tmp_path / "free", max_epochs=1)
    free, norms[:] = max(norms), []
    train(tmp_path / "clipped", max_epochs=1, gradient_clip=free / 10)
    assert max(norms) <= free / 10 * 1.01


def test_precisions_train(tmp_path):
    for precision in ("bf16-mixed", "64"):
        model = train(tmp_path / precision, max_epochs=1, precision=precision)
        assert all(torch.isfinite(p).all() for p in model.parameters()), precision


def compile_with(monkeypatch, backend) -> list[dict]:
    """Make torch.compile use a backend; return its settings."""
    calls = []
    plain = torch.compile

    def compile(function, **settings):
        calls.append(settings)
        return plain(function, **settings, backend=backend)

    monkeypatch.setattr(torch, "compile", compile)
    return calls


def test_compiled_network_trains_the_same_model(tmp_path, monkeypatch):
    """Traced and differentiated but run eagerly: compiling takes half a minute."""
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


def test_failed_compilation_is_reported(tmp_path, monkeypatch):
    def refuse(graph, inputs):
        raise RuntimeError("no compiler is found")

    compile_with(monkeypatch, refuse)
    with pytest.raises(ValueError, match="cannot be compiled.*--compile false"):
        train(tmp_path, compile=True)


def test_too_many_devices_are_reported(tmp_path, monkeypatch):
    def refuse(**settings):
        raise MisconfigurationException("You requested 4 GPUs, there is 1")

    monkeypatch.setattr(pl, "Trainer", refuse)
    with pytest.raises(ValueError, match="You requested 4 GPUs"):
        train(tmp_path, devices=4, batch_size=1)


def test_dataset_can_make_whole_batches(tmp_path):
    requests = []

    class Whole(Songs):
        def __getitems__(self, indices):
            requests.append(indices)
            return tuple(map(torch.stack, zip(*map(self.__getitem__, indices), strict=True)))

    whole = train(tmp_path / "whole", train_set=Whole(tiny(), 8), max_epochs=2)
    assert requests == [list(range(i, i + 2)) for i in range(0, 16, 2)]
    items = train(tmp_path / "items", max_epochs=2)
    for a, b in zip(whole.parameters(), items.parameters(), strict=True):
        assert torch.equal(a, b)


def test_dataset_on_device_is_loaded_without_workers(tmp_path):
    class Mine(Songs):
        def __getitem__(self, index):
            assert torch.utils.data.get_worker_info() is None
            return super().__getitem__(index)

    train(tmp_path, train_set=Mine(tiny(), 8), max_epochs=1, on_device=True, num_workers=1)


def test_finite_dataset_is_reshuffled(tmp_path):
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


def test_each_validation_track_has_one_rank(tmp_path):
    valid_set = tracks(tmp_path)
    for world_size in (1, 2, 3, 5):
        parts = [
            validation_indices(valid_set, ResumableBatchSampler(1, 1, world_size, rank))
            for rank in range(world_size)
        ]
        assert sorted(index for part in parts for index in part) == list(range(len(valid_set)))
        numbers = [{valid_set.locate(index)[0] for index in part} for part in parts]
        assert sum(map(len, numbers)) == 4, "no track is split"
        assert all(part == sorted(part) for part in parts), world_size
        assert parts.count([]) == max(0, world_size - 4)


def test_rank_without_tracks_is_ignored(tmp_path):
    """It validates one segment all the same, to stay synchronised."""
    model, valid_set = tiny(), tracks(tmp_path)
    batches = ResumableBatchSampler(1, 2, world_size=5, rank=4)
    system = make_system(
        model, Songs(model, 2), valid_set, Training(num_workers=0), batches, {}, False
    )
    assert system.ignore_validation and len(system.val_loader) == 1
    system.on_validation_epoch_start()
    for number, batch in enumerate(system.val_loader):
        system.validation_step(batch, number)
    assert system._totals == [0, 0]
    assert np.isnan(system.validation.medians()).all()


def test_model_in_evaluation_mode_is_trained_in_training_mode(tmp_path, monkeypatch):
    """In evaluation mode its estimates are clipped."""
    modes = []
    step = WaveUNetSystem.training_step

    def record(system, *arguments):
        modes.append(system.model.training)
        return step(system, *arguments)

    monkeypatch.setattr(WaveUNetSystem, "training_step", record)
    assert not tiny().training
    train(tmp_path, max_epochs=2)
    assert modes == [True] * 8
