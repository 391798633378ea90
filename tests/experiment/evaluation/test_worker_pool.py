"""Many items in processes: bounds on cores and memory, processes that die."""

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
from asteroid_waveunet.experiment.evaluation.worker_pool import in_processes


def small(item) -> float:
    return 0.0


def test_memory_decides_how_many_items_are_worked_on_at_once(monkeypatch):
    threads = ThreadPoolExecutor  # as processes are, and quicker to start
    monkeypatch.setattr(worker_pool, "ProcessPoolExecutor", lambda jobs, **how: threads(jobs))
    for memory, at_once in ((0.5, 1), (4.9, 2), (9, 3)):
        assert most_at_once(items=4, jobs=3, need=2.0, memory=memory) == at_once, memory


def most_at_once(items: int, jobs: int, need: float, memory: float) -> int:
    most = started = ended = 0

    def start(submit, item):
        nonlocal most, started
        started += 1
        most = max(most, started - ended)
        return submit(time.sleep, 0.05)

    for _ in in_processes(range(items), start, lambda item: need, jobs, memory):
        ended += 1
    assert ended == items
    return most


@pytest.mark.parametrize("jobs", [0, 2])
def test_each_item_has_its_result_or_its_exception(jobs):
    def start(submit, item):
        if item == 2:
            raise KeyError("here")
        return submit(divmod, 7, item)

    found = dict(in_processes([0, 1, 2, 3], start, small, jobs))
    assert isinstance(found[0], ZeroDivisionError) and isinstance(found[2], KeyError)
    assert found[1] == (7, 0) and found[3] == (2, 1)


def test_an_item_whose_process_dies_costs_no_other_its_result():
    def start(submit, item):
        return submit(os._exit, 9) if item == 1 else submit(pow, item, 2)

    found = dict(in_processes(range(5), start, small, jobs=2))
    assert isinstance(found.pop(1), BrokenProcessPool)
    assert found == {0: 0, 2: 4, 3: 9, 4: 16}


def test_a_dead_process_is_replaced():
    with worker_pool._processes(1) as submit:
        assert isinstance(submit(os._exit, 1).exception(), BrokenProcessPool)
        assert submit(abs, -2).result() == 2


def test_processes_are_started_with_one_thread_and_the_environment_is_put_back(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with worker_pool._processes(1) as submit:
        assert submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ


ENDLESS = """
import sys, time
from asteroid_waveunet.experiment.evaluation.worker_pool import in_processes
if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    print("ready", flush=True)
    list(in_processes([1, 2], lambda submit, item: submit(endless, sys.argv[1]), lambda i: 0, 2))
"""


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_one_that_called(tmp_path, by):
    """However that ends: promptly where it can, and in any case without orphans."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, time\n"
        "def endless(folder):\n"
        "    open(os.path.join(folder, str(os.getpid())), 'w').close()\n"
        "    time.sleep(600)\n" + ENDLESS
    )
    (tmp_path / "pids").mkdir()
    parent = subprocess.Popen([sys.executable, script, tmp_path / "pids"])
    assert wait_until(lambda: len(list((tmp_path / "pids").iterdir())) == 2, 60)
    pids = [int(file.name) for file in (tmp_path / "pids").iterdir()]
    parent.send_signal(by)
    assert parent.wait(30) != 0
    assert wait_until(lambda: not any(map(is_alive, pids)), 30)


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
