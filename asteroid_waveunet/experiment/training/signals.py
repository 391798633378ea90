"""Stop training on a signal after saving a checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from types import FrameType

__all__ = ["InterruptedBySignal", "StopSignals", "ignore_in_worker", "requeue_slurm_job"]

STOP_SIGNALS = [
    signal.SIGTERM,
    signal.SIGINT,
    *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []),
]


class InterruptedBySignal(Exception):
    """A signal stopped the work before it was done; it can be resumed.

    Args:
        number: the signal's number.
        details: what was saved.

    Attributes:
        status: exit status of the process, 128 + the signal's number as in a shell.
    """

    def __init__(self, number: int, details: str) -> None:
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        super().__init__(f"interrupted by {name}; {details}. Run the same command again to resume.")
        self.status = 128 + number


class StopSignals:
    """Record stop signals; only a second Ctrl-C takes effect immediately.

    The handler saves nothing: a signal can arrive at any instruction, even in the middle of an
    optimizer step. `kill`, Docker and SLURM send SIGTERM, Ctrl-C sends SIGINT, and SLURM sends
    SIGUSR1 with `--signal=USR1@300`, 300 s before the job's time limit. A signal may arrive twice,
    from its sender and from a script that forwards it.

    Attributes:
        received: number of the last signal, 0 for none.
    """

    def __init__(self) -> None:
        self.received = 0

    def install(self) -> None:
        """Install the handlers; a no-op outside the main thread."""
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                signal.signal(number, self._record)

    def _record(self, number: int, frame: FrameType | None) -> None:
        if number == self.received == signal.SIGINT:
            raise InterruptedBySignal(number, "the last checkpoint is kept")
        self.received = number


def ignore_in_worker(*_: int) -> None:
    """Ignore stop signals in a DataLoader worker (`worker_init_fn`).

    Ctrl-C, SLURM and `kill` on a process group also signal the workers, which training needs
    until it has reached a step where it can save. The training process ends its workers.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def requeue_slurm_job() -> str:
    """Requeue the current SLURM job and return a message about the result."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return "nothing to requeue: this process does not run in a SLURM job"
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as reason:
        details = getattr(reason, "stderr", None) or reason
        return f"SLURM job {job} could not be requeued ({str(details).strip()})"
    return f"SLURM job {job} was requeued"
