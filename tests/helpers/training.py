"""Train a tiny model on generated songs, in this process or in forked ones.

`start` forks from a server that has imported everything once; `python -m helpers.training FOLDER
SETTINGS` is a script that Lightning can start again for each device.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
import sys
import warnings
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import tensorboard.compat.proto.event_pb2  # noqa: F401 - imported once, before the forks
import torch

from asteroid_waveunet.experiment import stages
from asteroid_waveunet.experiment.segments.dataset import Segments
from asteroid_waveunet.experiment.settings import Training
from asteroid_waveunet.experiment.training.fit import fit
from helpers.models import tiny
from helpers.paths import ROOT, TESTS
from helpers.songs import write_prepared

SETTINGS = Training(batch_size=2, max_epochs=4, lr=3e-3, num_workers=0, fine_tuning_lr=1e-3)
RATE = 100
CONTEXT = multiprocessing.get_context("forkserver")


class Songs(torch.utils.data.Dataset):
    """Generate an endless sequence of segments; each depends on its index only."""

    endless = True

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


def train(exp_dir, train_set=None, valid_set=None, on_device=False, **settings):
    torch.manual_seed(3)
    model = tiny(sample_rate=RATE)
    return fit(
        model,
        train_set or Songs(model, 8),
        valid_set or Songs(model, 4),
        exp_dir,
        dataclasses.replace(SETTINGS, **settings),
        config={"training": {"augmentation": ["a", "b"]}},
        on_device=on_device,
    )


def tracks(folder: Path, lengths=(455, 80, 300, 1)) -> Segments:
    """Write several tracks of noise and return their validation segments."""
    folder.mkdir(parents=True, exist_ok=True)
    prepared = [
        write_prepared(
            folder, str(t), np.random.default_rng(t).normal(0, 0.2, (2, 1, length)), "ab", rate=RATE
        )
        for t, length in enumerate(lengths)
    ]
    model = tiny()
    lengths, left = model.geometry.fit(50), model.geometry.left_context
    return Segments(prepared, lengths, left, random=False)


def kill_at_write(n: int) -> None:
    """Kill this process in its n-th checkpoint write, before the file gets its name."""
    written, fsync = [], os.fsync

    def killing(descriptor):
        fsync(descriptor)
        written.append(descriptor)
        if len(written) == n:
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = killing


def signal_at_step(number: int, n: int) -> None:
    """Send a signal to this process and its workers after its n-th optimizer update."""
    done, step = [], torch.optim.Adam.step

    def signalling(*args, **kwargs):
        result = step(*args, **kwargs)
        done.append(n)
        if len(done) == n:
            os.killpg(0, number)
        return result

    torch.optim.Adam.step = signalling


def main(folder: str, settings: str) -> None:
    """Train with settings in JSON; exit like a stage of the recipe."""
    pl.seed_everything(0, verbose=False)
    chosen = json.loads(settings)
    if chosen.pop("tracks", False):
        chosen["valid_set"] = tracks(Path(folder) / f"tracks_{os.getpid()}")
    stages.exit_on_error(lambda: train(Path(folder), **chosen))


def start(
    folder: Path,
    settings: dict[str, Any],
    output: Path,
    environment: dict[str, str] | None = None,
    kill: tuple[str | None, int] = (None, 0),
) -> BaseProcess:
    """Start `main`, in its own process group.

    Args:
        output: folder; stdout and stderr are appended to files of these names.
        kill: (kind, n): the process ends itself in its n-th optimizer step by the signal `kind`,
            or by SIGKILL in its n-th checkpoint write if `kind` is "write".
    """
    output.mkdir(exist_ok=True)
    arguments = str(folder), json.dumps(settings), output, environment or {}, kill
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{TESTS}")  # of the server
        CONTEXT.set_forkserver_preload(["helpers.training"])
        process = CONTEXT.Process(target=_main_of_process, args=arguments)
        process.start()
    return process


def wait(process: BaseProcess, seconds: float = 200) -> int:
    """Return the exit status, negative for a signal."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        pytest.fail(f"training has not ended after {seconds} s")
    return process.exitcode


def _main_of_process(
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
        kill_at_write(n)
    elif kind is not None:
        signal_at_step(signal.Signals[kind], n)
    main(folder, settings)


if __name__ == "__main__":
    main(*sys.argv[1:])
