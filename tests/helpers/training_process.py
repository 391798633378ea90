"""Train in other processes, forked from a server that has imported everything once."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import warnings
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import tensorboard.compat.proto.event_pb2  # noqa: F401 - imported once, before the forks

from helpers import endless
from helpers.paths import ROOT, TESTS

CONTEXT = multiprocessing.get_context("forkserver")


def start(
    folder: Path,
    settings: dict[str, Any],
    output: Path,
    environment: dict[str, str] | None = None,
    kill: tuple[str | None, int] = (None, 0),
) -> BaseProcess:
    """Start `endless.main`, in its own process group.

    Args:
        output: folder; stdout and stderr are appended to files of these names.
        kill: (kind, n): the process ends itself in its n-th optimizer step by the signal `kind`,
            or by SIGKILL in its n-th checkpoint write if `kind` is "write".
    """
    output.mkdir(exist_ok=True)
    arguments = str(folder), json.dumps(settings), output, environment or {}, kill
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{TESTS}")  # of the server
        CONTEXT.set_forkserver_preload(["helpers.training_process"])
        process = CONTEXT.Process(target=_main, args=arguments)
        process.start()
    return process


def wait(process: BaseProcess, seconds: float = 200) -> int:
    """Return the exit status, negative for a signal."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        pytest.fail(f"training has not ended after {seconds} s")
    return process.exitcode


def _main(
    folder: str,
    settings: str,
    output: Path,
    environment: dict[str, str],
    kill: tuple[str | None, int],
) -> None:
    os.setpgid(0, 0)
    multiprocessing.set_start_method("fork", force=True)  # of DataLoader workers, as in a script
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(output / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.update(environment)
    warnings.simplefilter("ignore")
    kind, n = kill
    if kind == "write":
        endless.kill_at_write(n)
    elif kind is not None:
        endless.signal_at_step(signal.Signals[kind], n)
    endless.main(folder, settings)
