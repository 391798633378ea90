"""Work on many items in processes of their own, as many at once as there are cores and memory."""

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

__all__ = ["in_processes"]

Item = TypeVar("Item")
Submit = Callable[..., Future]


def in_processes(
    items: Iterable[Item],
    start: Callable[[Submit, Item], Future],
    need: Callable[[Item], float],
    jobs: int | None = None,
    memory: float | None = None,
) -> Generator[tuple[Item, Any], None, None]:
    """Each item with its result, or with the exception that came of it, as they get ready.

    A process that dies, as one does for which there is no memory, takes those beside it along. All
    items that were lost so are done again, each alone; the one that dies again is the culprit.

    Args:
        start: `(submit, item)` -> `submit(function, *arguments)`, whose result is the item's. What
            it does besides is done in this process, before the item counts as begun.
        need: GB (1e9 bytes) that an item takes.
        jobs: processes, each with one thread; by default as many as there are cores. They import
            the calling script, which therefore needs its `if __name__ == "__main__":`. 0 works in
            this process.
        memory: GB that items may take together; one is begun in any case. By default four
            fifths of what is free.
    """
    n_jobs = (os.cpu_count() or 1) if jobs is None else jobs
    bound = 0.8e-9 * psutil.virtual_memory().available if memory is None else memory
    lost = []
    for item, outcome in _in_turn(items, start, need, n_jobs, bound):
        if isinstance(outcome, BrokenProcessPool):
            lost.append(item)
        else:
            yield item, outcome
    yield from _in_turn(lost, start, need, min(n_jobs, 1), bound)


def _in_turn(
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
            except Exception as reason:  # whatever it is, the others go on
                yield item, reason
        while pending:
            yield from pending.ready()


@dataclass(frozen=True)
class Pending(Generic[Item]):
    """Items that are being worked on, and the GB that each needs."""

    _begun: dict[Future, tuple[Item, float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._begun)

    @property
    def memory(self) -> float:
        return sum(needed for _, needed in self._begun.values())

    def add(self, future: Future, item: Item, needed: float) -> None:
        self._begun[future] = item, needed

    def ready(self) -> Iterator[tuple[Item, Any]]:
        """Waits for one item at least; takes out those that are done."""
        for future in wait(self._begun, return_when=FIRST_COMPLETED).done:
            item, _ = self._begun.pop(future)
            yield item, future.exception() or future.result()


# The libraries' warnings on import have been seen once, in the calling process.
FOR_WORKERS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore",
}


@contextmanager
def _processes(n_jobs: int) -> Iterator[Callable[..., Future]]:
    """Gives `submit`, to processes with one thread each; all are replaced when one of them dies."""

    def start() -> Executor:
        if n_jobs == 0:
            return _InThisProcess()
        context = get_context("spawn")
        return ProcessPoolExecutor(n_jobs, mp_context=context, initializer=_end_with_parent)

    others, pool = active_children(), start()

    def submit(function: Callable, *arguments: object) -> Future:
        nonlocal pool
        with _deaf_to_interrupts():
            try:
                return pool.submit(function, *arguments)
            except BrokenProcessPool:
                pool = start()
                return pool.submit(function, *arguments)

    with _environment(**FOR_WORKERS):
        try:
            yield submit
        except BaseException:  # nobody waits for what is being worked on
            for process in active_children():
                if process not in others:
                    process.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """For processes started meanwhile: Ctrl-C goes to all, and the caller alone answers it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_with_parent() -> None:
    """In a process of a pool: no orphan, however the calling process ended."""

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _InThisProcess(Executor):
    """Runs at once what is submitted."""

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as reason:
            future.set_exception(reason)
        return future


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Environment variables for the processes started meanwhile; numerical libraries read them
    when they are loaded, so in this process, where they are loaded, nothing changes."""
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
