"""Train repeatedly, killed and resumed, until done: python killing.py FOLDER SETTINGS KILLS.

KILLS is a JSON list of [kind, n]: attempt i ends itself in its n-th optimizer step by the signal
`kind`, or by SIGKILL in its n-th checkpoint write if `kind` is "write". One process imports
everything and forks a child per attempt, for speed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import tensorboard.compat.proto.event_pb2  # noqa: F401 - imported once, before the forks
import torch

from helpers import endless


def start_attempt(folder: Path, settings: str, kind: str | None, n: int) -> int:
    """Fork a child that trains; return its process id."""
    child = os.fork()
    os.setpgid(child, child)  # in parent and child (0: itself), whichever runs first
    if child:
        return child
    status = 1
    try:
        if kind == "write":
            endless.kill_at_write(n)
        elif kind is not None:
            endless.signal_at_step(signal.Signals[kind], n)
        endless.main(str(folder), settings)
        status = 0
    except SystemExit as reason:
        status = int(reason.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main(folder: str, settings: str, kills: str) -> None:
    last = Path(folder) / "checkpoints" / "last.ckpt"
    for kind, n in [*json.loads(kills), (None, 0)]:
        child = start_attempt(Path(folder), settings, kind, n)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        partial = len(list(last.parent.glob(".*.partial.*")))
        step = torch.load(last, weights_only=True)["global_step"] if last.exists() else 0
        print(f"RESULT {kind} {status} {step} {partial}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
