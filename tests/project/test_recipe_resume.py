"""The recipe's training killed, interrupted and resumed; invalid command lines."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time

import pytest
import torch

from helpers.recipe import command, options, run

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the recipe is a bash script")

ENDLESS = {"max_epochs": 100_000, "schedule": "constant", "patience": 100_000}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Storage with the demo songs generated and decoded."""
    storage = tmp_path_factory.mktemp("storage")
    result = run(storage, *options(), "--stop_stage", "1")
    assert result.returncode == 0, result.stderr[-3000:]
    return storage


def start_training(storage, tag: str, **changes) -> subprocess.Popen:
    """Start stage 2 in a process group and wait for its first checkpoint."""
    arguments = options(**{**ENDLESS, **changes}, tag=tag, stage=2, stop_stage=2)
    process = subprocess.Popen(
        command(storage, *arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    checkpoint = storage / "exp" / tag / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 300
    while not checkpoint.exists():
        assert process.poll() is None, process.stderr.read()[-3000:]
        assert time.monotonic() < deadline, "no checkpoint after 5 minutes"
        time.sleep(0.05)
    return process


def test_killed_training_resumes_from_its_checkpoint(prepared):
    exp = prepared / "exp" / "killed"
    process = start_training(prepared, "killed")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (exp / "best_model.pth").exists()
    epochs = torch.load(exp / "checkpoints" / "last.ckpt", weights_only=True)["epoch"]

    shorter = options(**{**ENDLESS, "max_epochs": epochs + 3}, tag="killed", stage=2, stop_stage=2)
    result = run(prepared, *shorter, "--resume")
    assert result.returncode == 0, result.stderr[-3000:]
    assert (exp / "best_model.pth").exists()
    assert f"Epoch {epochs + 1}" in result.stdout + result.stderr
    assert "Epoch 0:" not in result.stdout + result.stderr


def test_interrupted_training_saves_a_checkpoint_first(prepared):
    """The signal goes to the process group, DataLoader workers included, as Ctrl-C does."""
    process = start_training(prepared, "interrupted", num_workers=1)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr[-3000:]
    assert "interrupted by" in stderr and "Run the same command again" in stderr
    assert "Traceback" not in stderr and "failed" not in stderr


def test_invalid_command_lines_are_refused_before_anything_is_written(tmp_path):
    for arguments, message in {
        ("--batch_sise", "4"): "'batch_sise' (the command line). Did you mean 'batch_size'",
        ("--stage", "7"): "stage is '7'; expected 0, 1, 2, 3 or 4",
        ("--stage", "3", "--stop-stage", "2"): "--stage 3 is after --stop_stage 2",
        ("--lr",): "--lr needs a value",
        ("lr",): "'lr' is not an option",
        ("--tag", "a/b"): "'a/b' cannot name a folder",
        ("--tag", ".."): "'..' cannot name a folder",
    }.items():
        result = run(tmp_path, *arguments)
        assert result.returncode == 1, arguments
        assert message in result.stderr, arguments
        assert "Traceback" not in result.stderr, arguments
        assert list(tmp_path.iterdir()) == [], arguments


def test_help_lists_the_options():
    result = run("unused", "--help")
    assert result.returncode == 0
    assert "--stop_stage N" in result.stdout and "set -euo" not in result.stdout
