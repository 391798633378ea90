"""Trains over and over, killed and started again until it is done: python killing.py FOLDER ...

One process that has imported everything forks a child for each attempt, for speed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import tensorboard.compat.proto.event_pb2  # noqa: F401 - imported once, before the forks
import torch

from helpers import endless


def attempt(folder: Path, settings: str, write: int) -> int:
    """Begins, in a child; its process id."""
    child = os.fork()
    os.setpgid(child, child)  # in both: whichever comes first; 0 is the child itself
    if child:
        return child
    status = 1
    try:
        if write:
            endless.die_at_write(write)
        endless.main(str(folder), settings)
        status = 0
    except SystemExit as reason:
        status = int(reason.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main(folder: str, settings: str, signals: str, seed: str) -> None:
    """Signal after signal, each some time after a checkpoint; "write" is one amid its writing."""
    last = Path(folder) / "checkpoints" / "last.ckpt"
    draw = random.Random(int(seed))
    for name in [*json.loads(signals), None]:
        before = stamp(last)
        child = attempt(Path(folder), settings, draw.randint(1, 5) if name == "write" else 0)
        if name not in (None, "write"):
            done = False
            while stamp(last) == before and not done:
                time.sleep(0.002)
                done = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
            time.sleep(draw.uniform(0, 0.25))
            os.killpg(child, signal.Signals[name])  # the loader's workers as well
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        partial = len(list(last.parent.glob(".*.partial.*")))
        step = torch.load(last, weights_only=True)["global_step"] if last.exists() else 0
        print(f"RESULT {name} {status} {step} {partial}", flush=True)


def stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


if __name__ == "__main__":
    main(*sys.argv[1:])
