"""Signals are noted, and a SLURM job is put back into the queue."""

from __future__ import annotations

import signal
from contextlib import nullcontext

import pytest

from asteroid_waveunet.experiment import stages
from asteroid_waveunet.experiment.training import signals
from asteroid_waveunet.experiment.training.signals import Interrupted, Requests, requeue


@pytest.fixture
def handlers():
    before = {number: signal.getsignal(number) for number in signals.ASKING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", signals.ASKING)
def test_a_signal_is_noted_and_a_second_ctrl_c_obeyed(handlers, number):
    requests = Requests()
    requests.listen()
    assert requests.received == 0
    signal.raise_signal(number)
    assert requests.received == number
    with pytest.raises(Interrupted, match="is kept") if number == signal.SIGINT else nullcontext():
        signal.raise_signal(number)
    assert requests.received == number


@pytest.mark.parametrize(
    ("number", "status", "says"),
    [(15, 143, "interrupted by SIGTERM; all is saved"), (2, 130, "interrupted by Ctrl-C; all is")],
)
def test_a_stage_that_is_interrupted_says_how_to_go_on(capsys, number, status, says):
    def interrupted():
        raise Interrupted(number, "all is saved")

    with pytest.raises(SystemExit) as caught:
        stages.exit_on_error(interrupted)
    assert caught.value.code == status
    said = capsys.readouterr().err
    assert said.startswith(says) and "Run the same command again to go on." in said


def test_a_job_that_cannot_be_queued_is_said(monkeypatch, tmp_path):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert "no SLURM job" in requeue()
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "job 7 could not be queued again" in requeue()
    scontrol = tmp_path / "scontrol"
    scontrol.write_text("#!/bin/sh\necho Access denied >&2\nexit 1\n")
    scontrol.chmod(0o755)
    assert requeue() == "job 7 could not be queued again (Access denied)"


def test_of_an_array_its_own_job_is_queued(monkeypatch, tmp_path):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f"#!/bin/sh\necho $@ > {tmp_path}/asked\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, value in dict(JOB_ID=9, ARRAY_JOB_ID=7, ARRAY_TASK_ID=2).items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    assert requeue() == "job 7_2 is queued again"
    assert (tmp_path / "asked").read_text() == "requeue 7_2\n"
