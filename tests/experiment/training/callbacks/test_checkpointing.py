"""Checkpoints are written completely or not at all; a killed training resumes bit for bit."""

from __future__ import annotations

import csv
import errno
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from asteroid_waveunet.experiment.training.callbacks import checkpointing
from asteroid_waveunet.experiment.training.callbacks.audio_logging import AudioLogging
from asteroid_waveunet.experiment.training.signals import InterruptedBySignal
from helpers import training
from helpers.training import train

# Two rounds, the second is longer; a checkpoint at every step.
TWO_ROUNDS = dict(max_epochs=20, patience=1, lr=6e-2, checkpoint_minutes=0.0)

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def train_with_kills(folder: Path, kills: list, environment: dict, **settings):
    """Return (kind, exit status, saved step, partial files) per attempt, and all stderr."""
    attempts, checkpoints = [], folder / "checkpoints"
    output = folder.with_name("output")
    for kind, n in [*kills, (None, 0)]:
        process = training.start(folder, settings, output, environment, (kind, n))
        status = training.wait(process)
        step = load(folder, "last.ckpt")["global_step"]
        attempts.append((kind, status, step, len(list(checkpoints.glob(".*.partial.*")))))
    return attempts, (output / "stderr").read_text()


def load(folder: Path, name: str):
    return torch.load(folder / "checkpoints" / name, weights_only=True)


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / "logs" / "csv" / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def assert_equal_state(one, other, where="") -> None:
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal_state(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for n, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_equal_state(a, b, f"{where}/{n}")
    else:
        assert one == other, where


KILLS = [
    ("SIGKILL", 3), ("write", 3), ("SIGTERM", 2), ("SIGUSR1", 5), ("SIGINT", 6), ("SIGKILL", 9),
    ("write", 2),
]  # fmt: skip


def slurm_environment(folder: Path) -> dict[str, str]:
    """Return the environment of SLURM job 7, whose scontrol writes to `folder/scontrol_calls`."""
    scontrol = folder / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {folder}/scontrol_calls\n')
    scontrol.chmod(0o755)
    names = dict(JOB_ID=7, NTASKS=1, JOB_NAME="train", NODELIST="n1", PROCID=0, LOCALID=0, NODEID=0)
    environment = {f"SLURM_{name}": str(value) for name, value in names.items()}
    return {**environment, "PATH": f"{scontrol.parent}:{os.environ['PATH']}"}


def test_killed_training_ends_as_if_uninterrupted(tmp_path):
    """In a step, in a checkpoint write, by request; in both rounds, with EMA and workers."""
    settings = dict(num_workers=2, ema=0.9, **TWO_ROUNDS)
    one_run, many_runs = tmp_path / "one_run", tmp_path / "many_runs"
    whole = train(one_run, **settings)
    assert load(one_run, "last.ckpt")["callbacks"]["Rounds"]["second"] is not None
    attempts, output = train_with_kills(many_runs, KILLS, slurm_environment(tmp_path), **settings)
    statuses = dict(SIGKILL=-9, write=-9, SIGTERM=143, SIGUSR1=138, SIGINT=130)
    assert [a[:2] for a in attempts] == [
        *((kind, statuses[kind]) for kind, _ in KILLS),
        (None, 0),
    ]
    assert [n for kind, _, _, n in attempts if kind == "write"] == [1, 1], "one partial file each"
    steps = [step for _, _, step, _ in attempts]
    assert steps == sorted(steps) and any(step % 4 for step in steps), "some within an epoch"
    # As Lightning's own requeuing, but between two steps.
    assert (tmp_path / "scontrol_calls").read_text() == "requeue 7\n"
    assert re.search(r"interrupted by SIGUSR1; .*job 7 was requeued", output)
    for name in ("last.ckpt", "best.ckpt"):
        one, other = load(one_run, name), load(many_runs, name)
        for state in (one, other):
            for timed in ("seconds", "training_seconds"):
                state["callbacks"].get("Summary", {}).pop(timed, None)
            state["callbacks"]["Checkpoints"]["random"].pop("python")
            state["callbacks"]["Checkpoints"]["random"].pop("numpy")
            state["loops"] = state["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        assert_equal_state(one, other, name)
    resumed = torch.load(many_runs / "best_model.pth", weights_only=True)["state_dict"]
    assert_equal_state(dict(whole.state_dict()), dict(resumed))
    assert table(one_run) == table(many_runs)
    files = sorted(p.name for p in (many_runs / "checkpoints").iterdir())
    assert files == ["best.ckpt", "last.ckpt"]


def test_checkpoint_keys_are_those_of_earlier_versions(tmp_path):
    """Lightning finds a callback's state by these keys; earlier checkpoints must resume."""
    train(tmp_path, max_epochs=1, ema=0.9)
    states = load(tmp_path, "last.ckpt")["callbacks"]
    assert states["Averaging"].keys() == {"updates", "step"}
    assert states["Checkpoints"].keys() == {"random"}
    assert states["Rounds"].keys() == {"second", "best", "improved", "waited", "judged", "place"}
    assert {"seconds", "training_seconds", "segments", "best"} == states["Summary"].keys()
    assert AudioLogging(None, 1).state_key == "Listening"
    assert AudioLogging(None, 1).state_dict() == {"heard": False}


def test_early_stopped_training_only_saves_its_model_when_resumed(tmp_path):
    train(tmp_path, lr=1e-30, patience=2, max_epochs=50, fine_tuning=False)
    before = load(tmp_path, "last.ckpt")
    assert before["epoch"] < 10
    (tmp_path / "best_model.pth").unlink()
    train(tmp_path, lr=1e-30, patience=2, max_epochs=50, fine_tuning=False)
    assert load(tmp_path, "last.ckpt")["global_step"] == before["global_step"]
    assert (tmp_path / "best_model.pth").is_file()


def test_missing_best_checkpoint_is_restored_on_resume(tmp_path, monkeypatch):
    def refuse(*names):
        raise OSError(errno.EPERM, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refuse)  # a file system without links: best.ckpt is a copy
        train(tmp_path, max_epochs=1)
    assert_equal_state(load(tmp_path, "best.ckpt"), load(tmp_path, "last.ckpt"))
    (tmp_path / "checkpoints" / "best.ckpt").unlink()
    train(tmp_path, max_epochs=1)
    assert_equal_state(load(tmp_path, "best.ckpt"), load(tmp_path, "last.ckpt"))


def fill_disk(monkeypatch, after: int) -> None:
    written, fsync = [], os.fsync

    def failing(descriptor):
        written.append(descriptor)
        if len(written) > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)


def test_full_disk_keeps_the_previous_checkpoint(tmp_path, monkeypatch):
    whole = train(tmp_path / "whole", checkpoint_minutes=0.0)
    with monkeypatch.context() as patch:
        fill_disk(patch, after=6)
        facts = r"last.ckpt .*No space left.*0.\d MB.* free.*previous checkpoint is kept.*again"
        with pytest.raises(OSError, match=facts):
            train(tmp_path / "full", checkpoint_minutes=0.0)
    assert not list((tmp_path / "full").rglob("*.partial.*"))
    assert load(tmp_path / "full", "last.ckpt")["global_step"] == 6
    resumed = train(tmp_path / "full", checkpoint_minutes=0.0)
    assert_equal_state(whole.state_dict(), resumed.state_dict())


def test_full_disk_at_first_checkpoint_leaves_no_file(tmp_path, monkeypatch):
    fill_disk(monkeypatch, after=0)
    with pytest.raises(OSError, match=r"[GM]B free\). Free some space"):
        train(tmp_path)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_checkpoint_within_an_epoch_is_written_when_due(tmp_path, monkeypatch):
    clock = iter(range(0, 10**6, 50))
    monkeypatch.setattr(checkpointing, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    saved = []
    save = checkpointing.AtomicCheckpointIO.save_checkpoint

    def record(plugin, checkpoint, *args, **kwargs):
        saved.append(checkpoint["global_step"])
        save(plugin, checkpoint, *args, **kwargs)

    monkeypatch.setattr(checkpointing.AtomicCheckpointIO, "save_checkpoint", record)
    train(tmp_path, checkpoint_minutes=2.0, max_epochs=2)
    assert saved == [3, 4, 7, 8]  # 50 s per look at the clock; epochs end at 4 and 8


def test_signal_during_validation_stops_it_and_it_is_repeated(tmp_path, monkeypatch):
    install = checkpointing.StopSignals.install
    whole = train(tmp_path / "whole")

    def receive_at_once(signals):
        install(signals)
        signals.received = 15

    with monkeypatch.context() as patch:
        patch.setattr(checkpointing.StopSignals, "install", receive_at_once)
        # Not checked between steps, as if it came after the last one.
        patch.setattr(checkpointing.Checkpointing, "on_train_batch_start", lambda *a: None)
        with pytest.raises(
            InterruptedBySignal, match="SIGTERM; this validation.*repeated"
        ) as caught:
            train(tmp_path / "interrupted")
        assert caught.value.status == 143
    assert_equal_state(train(tmp_path / "interrupted").state_dict(), whole.state_dict())
