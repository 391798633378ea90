"""Run the recipe at its smallest: its shell scripts, or Python commands in this process."""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from helpers.paths import RECIPE
from helpers.scores import score_in_this_process

SETTINGS = {
    "demo_train_songs": 2, "demo_test_songs": 1, "demo_seconds": 3, "demo_sample_rate": 8000,
    "valid": 0.5, "sample_rate": 8000, "levels": 3, "initial_filters": 4, "segment_length": 2048,
    "batch_size": 2, "epoch_length": 4, "max_epochs": 1, "num_workers": 0, "jobs": 1,
    "fast": "true",
}  # fmt: skip


def options(**changes) -> list[str]:
    """Return the options of the smallest experiment, with some changed."""
    return [f"--{name}={value}" for name, value in {**SETTINGS, **changes}.items()]


def command(storage, *arguments: str, python=sys.executable) -> list[str]:
    """Return the command line of run.sh."""
    script = ["bash", str(RECIPE / "run.sh"), "--storage", str(storage)]
    return [*script, "--python_path", str(python), *arguments]


def run(
    storage, *arguments: str, python=sys.executable, cwd=None, **environment
) -> subprocess.CompletedProcess:
    """Run run.sh to its end."""
    return subprocess.run(
        command(storage, *arguments, python=python),
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
    )


def run_script(name: str, *arguments: object) -> None:
    """Run a Python script of the recipe in this process; it scores in this process, too."""

    script = str(RECIPE / f"{name}.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RECIPE))
        patch.setattr(sys, "excepthook", sys.excepthook)
        patch.setattr(sys, "argv", [script, *map(str, arguments)])
        score_in_this_process(patch)
        terminate = signal.getsignal(signal.SIGTERM)
        try:
            runpy.run_path(script, run_name="__main__")
        finally:
            signal.signal(signal.SIGTERM, terminate)


RUN = subprocess.run


def run_python(command: Sequence[str], **options) -> subprocess.CompletedProcess:
    """Replace `subprocess.run`: run `python -m MODULE` and `python -c CODE` in this process."""
    python, *words = command
    if python != sys.executable:
        return RUN(command, **options)
    if words[0] == "-W":
        words = words[2:]
    option, program, *arguments = words
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(sys, "argv", [option, *arguments])
        if option == "-m":
            patch.delitem(sys.modules, program, raising=False)
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            assert option == "-c"
            exec(program, {"__name__": "__main__"})
    return subprocess.CompletedProcess(command, 0, printed.getvalue(), "")


RECORDER = """#!/bin/sh
for word; do printf '%s\\n' "$word"; done >> "$0.calls"
echo "--end" >> "$0.calls"
"""


def stand_in(folder: Path, actions: str = "") -> Path:
    """Write a replacement of Python for the shell scripts: record arguments, then do `actions`.

    Args:
        actions: shell code; its exit status is the script's.
    """
    python = folder / "python"
    python.write_text(RECORDER + actions)
    python.chmod(0o755)
    return python


def calls(python: Path) -> list[list[str]]:
    """Return the words of each call of a stand-in: the script's name, then its arguments."""
    recorded = Path(f"{python}.calls")
    if not recorded.exists():
        return []
    found = [call.splitlines() for call in recorded.read_text().split("--end\n")[:-1]]
    return [[Path(script).name, *words] for script, *words in found]
