"""Checkpoints: whole or not there, and a training that was killed ends as if it had not been."""

from __future__ import annotations

import csv
import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from asteroid_waveunet.experiment.training.callbacks import checkpointing
from asteroid_waveunet.experiment.training.signals import Interrupted
from helpers.endless import train
from helpers.paths import HELPERS, ROOT, TESTS

# Two rounds, of which the second is longer, and a checkpoint at every step.
TWO_ROUNDS = dict(max_epochs=20, patience=1, lr=6e-2, checkpoint_minutes=0.0)

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def killed(folder: Path, signals: list[str], seed: int, environment=None, **settings):
    """Of each attempt: the signal, the exit status, the steps saved; and all that was printed."""
    program = str(HELPERS / "killing.py")
    arguments = [str(folder), json.dumps(settings), json.dumps(signals), str(seed)]
    result = subprocess.run(
        [sys.executable, "-W", "ignore", program, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=300,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{TESTS}", **(environment or {})},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-3000:]
    lines = [line.split("RESULT ")[1] for line in result.stdout.splitlines() if "RESULT" in line]
    found = [(name, *map(int, numbers)) for name, *numbers in map(str.split, lines)]
    return found, result.stdout


def load(folder: Path, name: str):
    return torch.load(folder / "checkpoints" / name, weights_only=True)


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / "logs" / "csv" / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def assert_same_to_the_bit(one, other, where="") -> None:
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same_to_the_bit(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for n, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same_to_the_bit(a, b, f"{where}/{n}")
    else:
        assert one == other, where


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_training_that_is_killed_at_any_moment_ends_as_if_it_had_not(tmp_path, num_workers):
    """In a step, amid the writing of a checkpoint, asked to end; in either round, with averages."""
    settings = dict(num_workers=num_workers, ema=0.9 if num_workers else 0.0, **TWO_ROUNDS)
    unbroken, broken_off = tmp_path / "unbroken", tmp_path / "killed"
    whole, _ = killed(unbroken, [], seed=0, **settings)
    assert load(unbroken, "last.ckpt")["callbacks"]["Rounds"]["second"] is not None
    signals = ["SIGKILL", "write", "SIGTERM", "SIGKILL", "SIGINT", "SIGKILL", "write"]
    attempts, _ = killed(broken_off, signals, seed=num_workers, **settings)
    statuses = dict(SIGKILL=-9, write=-9, SIGTERM=143, SIGINT=130)
    broken = [a for a in attempts if a[1]]
    assert len(broken) >= 4, "it was over too soon to be killed"
    assert all(status == statuses[name] for name, status, _, _ in broken)
    assert all(n == 1 for name, _, _, n in broken if name == "write"), "half a file beside"
    assert any(step % 4 for _, _, step, _ in broken), "amid an epoch"
    assert attempts[-1:] == whole
    for name in ("last.ckpt", "best.ckpt"):
        one, other = load(unbroken, name), load(broken_off, name)
        for state in (one, other):
            for timed in ("seconds", "training_seconds"):
                state["callbacks"].get("Summary", {}).pop(timed, None)
            state["loops"] = state["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        assert_same_to_the_bit(one, other, name)
    best, again = (
        torch.load(folder / "best_model.pth", weights_only=True)["state_dict"]
        for folder in (unbroken, broken_off)
    )
    assert_same_to_the_bit(best, again)
    assert table(unbroken) == table(broken_off)
    assert sorted(p.name for p in (broken_off / "checkpoints").iterdir()) == [
        "best.ckpt",
        "last.ckpt",
    ]


def test_a_training_that_was_done_but_for_its_model_does_nothing_more(tmp_path):
    train(tmp_path, lr=1e-30, patience=2, max_epochs=50, fine_tuning=False)
    before = load(tmp_path, "last.ckpt")
    (tmp_path / "best_model.pth").unlink()
    train(tmp_path, lr=1e-30, patience=2, max_epochs=50, fine_tuning=False)
    assert load(tmp_path, "last.ckpt")["global_step"] == before["global_step"]
    assert (tmp_path / "best_model.pth").is_file()


def test_the_best_is_made_again_where_a_kill_came_before_it(tmp_path):
    train(tmp_path, max_epochs=1)
    (tmp_path / "checkpoints" / "best.ckpt").unlink()
    train(tmp_path, max_epochs=1)
    assert_same_to_the_bit(load(tmp_path, "best.ckpt"), load(tmp_path, "last.ckpt"))


def full_disk(monkeypatch, after: int) -> None:
    written, fsync = [], os.fsync

    def failing(descriptor):
        written.append(descriptor)
        if len(written) > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)


def test_no_space_left_is_said_and_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    whole = train(tmp_path / "whole", checkpoint_minutes=0.0)
    with monkeypatch.context() as patch:
        full_disk(patch, after=6)
        with pytest.raises(OSError, match=r"last.ckpt cannot be written: No space left on device "
                           r"\(it takes 0.\d MB, and .* are free\); the checkpoint before it is "
                           "kept. Make room, then run the same command again"):  # fmt: skip
            train(tmp_path / "full", checkpoint_minutes=0.0)
    assert not list((tmp_path / "full").rglob("*.partial.*"))
    assert load(tmp_path / "full", "last.ckpt")["global_step"] == 6
    resumed = train(tmp_path / "full", checkpoint_minutes=0.0)
    assert_same_to_the_bit(whole.state_dict(), resumed.state_dict())


def test_a_first_checkpoint_without_space_leaves_nothing(tmp_path, monkeypatch):
    full_disk(monkeypatch, after=0)
    with pytest.raises(OSError, match=r"[GM]B are free\). Make room"):
        train(tmp_path)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_file_system_without_links_has_a_best_one_too(tmp_path, monkeypatch):
    def refuse(*names):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    train(tmp_path, max_epochs=1)
    assert_same_to_the_bit(load(tmp_path, "best.ckpt"), load(tmp_path, "last.ckpt"))


def test_within_an_epoch_there_is_one_when_it_is_time(tmp_path, monkeypatch):
    clock = iter(range(0, 10**6, 50))
    monkeypatch.setattr(checkpointing, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    saved = []
    save = checkpointing.WholeFiles.save_checkpoint

    def noting(plugin, checkpoint, *args, **kwargs):
        saved.append(checkpoint["global_step"])
        save(plugin, checkpoint, *args, **kwargs)

    monkeypatch.setattr(checkpointing.WholeFiles, "save_checkpoint", noting)
    train(tmp_path, checkpoint_minutes=2.0, max_epochs=2)
    assert saved == [3, 4, 7, 8]  # the third look at the clock finds more than 120 s, and epochs


def test_a_slurm_job_is_queued_again_before_its_time_is_over(tmp_path):
    """As Lightning's own does, but between two steps instead of anywhere in one."""
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    scontrol.chmod(0o755)
    names = dict(JOB_ID=7, NTASKS=1, JOB_NAME="train", NODELIST="n1", PROCID=0, LOCALID=0, NODEID=0)
    environment = {f"SLURM_{name}": str(value) for name, value in names.items()}
    environment["PATH"] = f"{scontrol.parent}:{os.environ['PATH']}"
    attempts, said = killed(
        tmp_path / "exp", ["SIGUSR1"], 0, environment, num_workers=1, **TWO_ROUNDS
    )
    assert [status for _, status, _, _ in attempts] == [138, 0]
    assert attempts[0][2] > 0
    assert (tmp_path / "asked").read_text() == "requeue 7\n"
    assert "interrupted by SIGUSR1; " in said
    assert "job 7 is queued again. Run the same command" in said


def test_a_request_amid_validation_ends_it_and_it_begins_again(tmp_path, monkeypatch):
    listen = checkpointing.Requests.listen
    whole = train(tmp_path / "whole")

    def asked_at_once(requests):
        listen(requests)
        requests.received = 15

    with monkeypatch.context() as patch:
        patch.setattr(checkpointing.Requests, "listen", asked_at_once)
        # Between steps it is not looked at, as if it came after the last.
        patch.setattr(checkpointing.Checkpoints, "on_train_batch_start", lambda *a: None)
        with pytest.raises(Interrupted, match="SIGTERM; this validation begins again") as caught:
            train(tmp_path / "asked")
        assert caught.value.status == 143
    assert_same_to_the_bit(train(tmp_path / "asked").state_dict(), whole.state_dict())
