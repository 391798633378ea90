"""Work off a catalogue with workers of any kind; retry songs whose workers died."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from asteroid_waveunet.catalogue.log import QUARANTINED, Outcome
from asteroid_waveunet.catalogue.songs import CatalogueSong

__all__ = ["Engine", "Finished", "Lost", "work_off"]

STRIKES = 3  # a song whose worker dies so often is set aside
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Lost:
    """The song's worker died.

    Attributes:
        reason: in one line.
        strike: the song may be the cause; False if its whole machine is gone.
    """

    reason: str
    strike: bool


Finished = tuple[CatalogueSong, Outcome | Lost]


class Engine(Protocol):
    """Workers that separate songs."""

    @property
    def n_running(self) -> int:
        """Number of songs in work."""

    @property
    def n_workers(self) -> int:
        """Number of workers that are ready."""

    def start(self, song: CatalogueSong, alone: bool = False) -> bool:
        """Start a song and return True, or return False if no worker has room.

        Args:
            alone: on a worker that does nothing else meanwhile.
        """

    def finished(self, seconds: float) -> list[Finished]:
        """Return finished and lost songs; wait for some at most so long.

        Raises:
            OSError: if no worker can be started.
        """

    def close(self) -> None:
        """Stop all workers."""


def work_off(
    songs: Iterator[CatalogueSong], engine: Engine, take: Callable[[Outcome], None]
) -> None:
    """Separate songs until none is left.

    A worker reads, computes and writes several songs at a time. When it dies, each of them gets a
    strike and is repeated alone, so that the next death shows which one is at fault; with three
    strikes a song is set aside. The songs of a machine that is gone are repeated as they were.

    Args:
        songs: read as there is room.
        take: receives the outcome of each song.
    """
    retried: deque[CatalogueSong] = deque()
    suspects: deque[CatalogueSong] = deque()
    strikes: Counter[CatalogueSong] = Counter()
    following = next(songs, None)
    while following or retried or suspects or engine.n_running:
        if suspects and engine.start(suspects[0], alone=True):
            suspects.popleft()
            continue
        while not suspects and (song := retried[0] if retried else following):
            if not engine.start(song):
                break
            if retried:
                retried.popleft()
            else:
                following = next(songs, None)
        for song, outcome in engine.finished(POLL_SECONDS):
            if isinstance(outcome, Outcome):
                strikes.pop(song, None)
                take(outcome)
            elif not outcome.strike:
                (suspects if strikes[song] else retried).append(song)
            else:
                strikes[song] += 1
                if strikes[song] < STRIKES:
                    suspects.append(song)
                    continue
                error = f"killed its worker {STRIKES} times: {outcome.reason}"
                take(Outcome(song, QUARANTINED, error=error))
