"""Stop signals are recorded, and SLURM jobs requeued."""

from __future__ import annotations

import signal

import pytest

from asteroid_waveunet.experiment.training import signals
from asteroid_waveunet.experiment.training.signals import (
    InterruptedBySignal,
    StopSignals,
    requeue_slurm_job,
)


@pytest.fixture
def handlers():
    before = {number: signal.getsignal(number) for number in signals.STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signals_are_recorded_and_a_second_ctrl_c_interrupts(handlers):
    for number in signals.STOP_SIGNALS:
        stop_signals = StopSignals()
        stop_signals.install()
        assert stop_signals.received == 0
        signal.raise_signal(number)
        assert stop_signals.received == number
        if number == signal.SIGINT:
            with pytest.raises(InterruptedBySignal, match="is kept"):
                signal.raise_signal(number)
        else:
            signal.raise_signal(number)
        assert stop_signals.received == number


def test_interruption_has_a_shells_exit_status_and_says_how_to_resume():
    for number, status, name in ((15, 143, "SIGTERM"), (2, 130, "Ctrl-C")):
        error = InterruptedBySignal(number, "saved")
        assert error.status == status
        assert name in str(error) and "saved" in str(error) and "same command" in str(error)


def test_failed_requeue_is_reported(monkeypatch, tmp_path):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert "not run in a SLURM job" in requeue_slurm_job()
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "job 7 could not be requeued" in requeue_slurm_job()
    scontrol = tmp_path / "scontrol"
    scontrol.write_text("#!/bin/sh\necho Access denied >&2\nexit 1\n")
    scontrol.chmod(0o755)
    assert requeue_slurm_job() == "SLURM job 7 could not be requeued (Access denied)"


def test_requeue_of_an_array_job(monkeypatch, tmp_path):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f"#!/bin/sh\necho $@ > {tmp_path}/calls\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, value in dict(JOB_ID=9, ARRAY_JOB_ID=7, ARRAY_TASK_ID=2).items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    assert requeue_slurm_job() == "SLURM job 7_2 was requeued"
    assert (tmp_path / "calls").read_text() == "requeue 7_2\n"
