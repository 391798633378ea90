"""Worker processes for many items, limited by cores and memory."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import active_children, get_context, parent_process
from typing import Any, Generic, TypeVar

import psutil

__all__ = ["run_in_processes"]

Item = TypeVar("Item")
Submit = Callable[..., Future]


def run_in_processes(
    items: Iterable[Item],
    start: Callable[[Submit, Item], Future],
    need: Callable[[Item], float],
    jobs: int | None = None,
    memory: float | None = None,
) -> Generator[tuple[Item, Any], None, None]:
    """Yield each item with its result or its exception, in order of completion.

    A process that dies, for example for lack of memory, breaks the whole pool. All items lost in
    this way are run again one by one; the item whose process dies again is at fault.

    Args:
        start: `(submit, item)` -> `submit(function, *arguments)`, whose result is the item's. Its
            other work runs in this process, before the item is started.
        need: memory of an item in GB (1e9 bytes).
        jobs: number of processes, each with one thread; by default the number of cores. They
            import the calling script, which needs its `if __name__ == "__main__":`. 0 runs in this
            process.
        memory: limit of the running items' memory in GB; one item is started in any case. By
            default four fifths of the free memory.
    """
    n_jobs = (os.cpu_count() or 1) if jobs is None else jobs
    bound = 0.8e-9 * psutil.virtual_memory().available if memory is None else memory
    lost = []
    for item, outcome in _run(items, start, need, n_jobs, bound):
        if isinstance(outcome, BrokenProcessPool):
            lost.append(item)
        else:
            yield item, outcome
    yield from _run(lost, start, need, min(n_jobs, 1), bound)


def _run(
    items: Iterable[Item],
    start: Callable[[Submit, Item], Future],
    need: Callable[[Item], float],
    n_jobs: int,
    memory: float,
) -> Iterator[tuple[Item, Any]]:
    pending: Pending[Item] = Pending()
    with _processes(n_jobs) as submit:
        for item in items:
            try:
                needed = need(item)
                while pending and (len(pending) >= n_jobs or pending.memory + needed > memory):
                    yield from pending.ready()
                pending.add(start(submit, item), item, needed)
            except Exception as reason:  # of any kind; the other items continue
                yield item, reason
        while pending:
            yield from pending.ready()


@dataclass(frozen=True)
class Pending(Generic[Item]):
    """The running items and the memory in GB of each."""

    _running: dict[Future, tuple[Item, float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._running)

    @property
    def memory(self) -> float:
        return sum(needed for _, needed in self._running.values())

    def add(self, future: Future, item: Item, needed: float) -> None:
        self._running[future] = item, needed

    def ready(self) -> Iterator[tuple[Item, Any]]:
        """Wait for at least one item; remove and yield the finished ones."""
        for future in wait(self._running, return_when=FIRST_COMPLETED).done:
            item, _ = self._running.pop(future)
            yield item, future.exception() or future.result()


# Warnings on import have already been shown by the calling process.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore",
}


@contextmanager
def _processes(n_jobs: int) -> Iterator[Callable[..., Future]]:
    """Yield the `submit` of a pool of single-threaded processes, replaced when one of them dies."""

    def start() -> Executor:
        if n_jobs == 0:
            return _InThisProcess()
        context = get_context("spawn")
        return ProcessPoolExecutor(n_jobs, mp_context=context, initializer=_exit_with_parent)

    others, pool = active_children(), start()

    def submit(function: Callable, *arguments: object) -> Future:
        nonlocal pool
        with _ignoring_interrupts():
            try:
                return pool.submit(function, *arguments)
            except BrokenProcessPool:
                pool = start()
                return pool.submit(function, *arguments)

    with _environment(**WORKER_ENVIRONMENT):
        try:
            yield submit
        except BaseException:  # the running items' results are not needed
            for process in active_children():
                if process not in others:
                    process.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Let processes started meanwhile ignore Ctrl-C, which the calling process handles."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _exit_with_parent() -> None:
    """End this worker process when the calling process ends, even if it was killed."""

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _InThisProcess(Executor):
    """An executor that runs each call at once in this process."""

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as reason:
            future.set_exception(reason)
        return future


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set environment variables for processes started meanwhile.

    Numerical libraries read them on import, so this process, which has imported them, keeps its
    threads.
    """
    earlier = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in earlier.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
