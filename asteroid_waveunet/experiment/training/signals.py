"""Signals that ask a training to end: it saves where it is first, and says how to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from types import FrameType

__all__ = ["Interrupted", "Requests", "ignore", "requeue"]

ASKING = [signal.SIGTERM, signal.SIGINT, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else [])]


class Interrupted(Exception):
    """Training was asked to end before it was done, and did.

    Attributes:
        status: what the process ends with, 128 and the signal's number, as a shell has it.
    """

    def __init__(self, number: int, where: str) -> None:
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        super().__init__(f"interrupted by {name}; {where}. Run the same command again to go on.")
        self.status = 128 + number


class Requests:
    """Notes a signal that asks to end; only a second Ctrl-C is obeyed on the spot.

    Nothing is saved in the handler: a signal comes at any instruction, when an optimiser's step
    may be half done. SIGTERM is what `kill`, Docker and SLURM send, SIGINT is Ctrl-C, and
    SIGUSR1 what SLURM sends with `--signal=USR1@300`, 300 s before a job's time is over. They may
    come twice, from whoever sent them and from the script that passes them on.

    Attributes:
        received: the signal's number, 0 for none.
    """

    def __init__(self) -> None:
        self.received = 0

    def listen(self) -> None:
        """From now on, in a process's main thread: no other can."""
        if threading.current_thread() is threading.main_thread():
            for number in ASKING:
                signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == self.received == signal.SIGINT:
            raise Interrupted(number, "the last checkpoint is kept")
        self.received = number


def ignore(*_: int) -> None:
    """A DataLoader's `worker_init_fn`: its process goes on until the one that trains ends it.

    Ctrl-C, SLURM and `kill` with a group's number reach workers as well. Without them nothing
    could be trained up to where it can be saved.
    """
    for number in ASKING:
        signal.signal(number, signal.SIG_IGN)


def requeue() -> str:
    """Puts the SLURM job that this is back into the queue; says so, or that this is none."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return "it is no SLURM job, which would have been queued again"
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as reason:
        details = getattr(reason, "stderr", None) or reason
        return f"job {job} could not be queued again ({str(details).strip()})"
    return f"job {job} is queued again"
