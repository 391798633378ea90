"""Workers of a catalogue as threads of this process."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from asteroid_waveunet.catalogue.engine import Finished
from asteroid_waveunet.catalogue.job import Job
from asteroid_waveunet.catalogue.songs import CatalogueSong
from asteroid_waveunet.catalogue.worker import READ_AHEAD, Worker
from asteroid_waveunet.separation.batch import Stopped

__all__ = ["LocalEngine"]


class LocalEngine:
    """Separates songs in threads.

    Args:
        job: the run's settings.
        model: dictionary of `SourceModel.serialize`.
        jobs: number of songs that compute at the same time.
    """

    def __init__(self, job: Job, model: dict[str, Any], jobs: int = 1):
        self._worker = Worker(job, model, jobs)
        self._room = jobs + READ_AHEAD
        self._pool = ThreadPoolExecutor(self._room)
        self._running: dict[Future, CatalogueSong] = {}
        self._stopped = threading.Event()

    @property
    def n_running(self) -> int:
        """Number of songs in work."""
        return len(self._running)

    @property
    def n_workers(self) -> int:
        """Number of workers that are ready."""
        return 1

    def start(self, song: CatalogueSong, alone: bool = False) -> bool:
        """Start a song if there is room; see `Engine`."""
        if len(self._running) >= (1 if alone else self._room):
            return False
        self._running[self._pool.submit(self._worker.separate, song, self._check)] = song
        return True

    def finished(self, seconds: float) -> list[Finished]:
        """Wait for songs; see `Engine`."""
        done = wait(self._running, seconds, FIRST_COMPLETED).done
        return [(self._running.pop(future), future.result()) for future in done]

    def close(self) -> None:
        """Stop all songs and wait for them."""
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)
        self._worker.close()

    def _check(self) -> None:
        if self._stopped.is_set():
            raise Stopped
