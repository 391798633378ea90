"""Run the recipe's shell script at its smallest."""

from __future__ import annotations

import os
import subprocess
import sys

from helpers.paths import RECIPE

SETTINGS = {
    "demo_train_songs": 2, "demo_test_songs": 1, "demo_seconds": 3, "demo_sample_rate": 8000,
    "valid": 0.5, "sample_rate": 8000, "levels": 3, "initial_filters": 4, "segment_length": 2048,
    "batch_size": 2, "epoch_length": 4, "max_epochs": 1, "num_workers": 0, "jobs": 1,
}  # fmt: skip


def options(**changes) -> list[str]:
    """Return the options of the smallest experiment, with some changed."""
    return [f"--{name}={value}" for name, value in {**SETTINGS, **changes}.items()]


def command(storage, *arguments: str) -> list[str]:
    """Return the command line of run.sh with this Python."""
    script = ["bash", str(RECIPE / "run.sh"), "--storage", str(storage)]
    return [*script, "--python_path", sys.executable, *arguments]


def run(storage, *arguments: str, cwd=None, **environment) -> subprocess.CompletedProcess:
    """Run the recipe to its end."""
    return subprocess.run(
        command(storage, *arguments),
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
    )
