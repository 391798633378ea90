"""Worker processes: limits of cores and memory, results, processes that die."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import psutil
import pytest

from asteroid_waveunet.experiment.evaluation import worker_pool
from asteroid_waveunet.experiment.evaluation.worker_pool import run_in_processes


def test_memory_limits_the_number_of_running_items(monkeypatch):
    threads = ThreadPoolExecutor  # faster to start than processes
    monkeypatch.setattr(worker_pool, "ProcessPoolExecutor", lambda jobs, **how: threads(jobs))
    for memory, expected in ((0.5, 1), (4.9, 2), (9, 3)):
        assert most_running(items=4, jobs=3, need=2.0, memory=memory) == expected, memory


def most_running(items: int, jobs: int, need: float, memory: float) -> int:
    most = started = ended = 0

    def start(submit, item):
        nonlocal most, started
        started += 1
        most = max(most, started - ended)
        return submit(time.sleep, 0.05)

    for _ in run_in_processes(range(items), start, lambda item: need, jobs, memory):
        ended += 1
    assert ended == items
    return most


def test_each_item_has_its_result_or_exception_without_processes():
    def start(submit, item):
        if item == 2:
            raise KeyError("raised by start")
        return submit(divmod, 7, item)

    found = dict(run_in_processes([0, 1, 2, 3], start, lambda item: 0.0, 0))
    assert isinstance(found[0], ZeroDivisionError) and isinstance(found[2], KeyError)
    assert found[1] == (7, 0) and found[3] == (2, 1)


def test_items_survive_the_death_of_another_items_process(monkeypatch):
    """One pool for all facts about real processes: results, exceptions, threads, environment."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    work = {
        "dies": (os._exit, 9),
        "fails": (divmod, 7, 0),
        "square": (pow, 3, 2),
        "threads": (os.getenv, "OMP_NUM_THREADS"),
    }
    found = dict(
        run_in_processes(work, lambda submit, item: submit(*work[item]), lambda item: 0.0, 2)
    )
    assert isinstance(found.pop("dies"), BrokenProcessPool)
    assert isinstance(found.pop("fails"), ZeroDivisionError)
    assert found == {"square": 9, "threads": "1"}
    assert os.environ["OMP_NUM_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ


SCRIPT = """
import os, signal, sys, time
from asteroid_waveunet.experiment.evaluation.worker_pool import run_in_processes

def endless(folder):
    open(os.path.join(folder, str(os.getpid())), "w").close()
    time.sleep(600)

def start(submit, item):
    return submit(endless, sys.argv[1])

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    list(run_in_processes([1, 2], start, lambda item: 0, 2))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_calling_process(tmp_path, number):
    script, pids = tmp_path / "script.py", tmp_path / "pids"
    script.write_text(SCRIPT)
    pids.mkdir()
    parent = subprocess.Popen([sys.executable, script, pids])
    assert wait_until(lambda: len(list(pids.iterdir())) == 2, 60)
    workers = [int(file.name) for file in pids.iterdir()]
    parent.send_signal(number)
    assert parent.wait(60) != 0
    assert wait_until(lambda: not any(map(is_alive, workers)), 60)


def wait_until(condition, seconds):
    deadline = time.time() + seconds
    while not condition() and time.time() < deadline:
        time.sleep(0.1)
    return condition()


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
