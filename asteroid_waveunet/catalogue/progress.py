"""Progress of a catalogue for a person, and its summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tqdm import tqdm

from asteroid_waveunet.catalogue.log import DONE, QUARANTINED, Outcome

__all__ = ["Progress", "Summary"]

LINE_SECONDS = 60.0  # between lines where there is no terminal
MOST_REASONS = 100


@dataclass
class Summary:
    """The results of a run over a catalogue, counted.

    Attributes:
        songs: their number.
        separated: in this run; known: done before it.
        failed, quarantined: number of songs without stems.
        reasons: of the first of these, by their paths.
        hours: that the run took; audio_hours: of music that it separated.
        catalogue: URL of `catalogue.parquet`.
    """

    songs: int = 0
    separated: int = 0
    known: int = 0
    failed: int = 0
    quarantined: int = 0
    reasons: dict[str, str] = field(default_factory=dict)
    hours: float = 0.0
    audio_hours: float = 0.0
    catalogue: str = ""

    @property
    def finished(self) -> int:
        """Number of songs with an outcome."""
        return self.separated + self.known + self.failed + self.quarantined

    def add(self, outcome: Outcome) -> None:
        """Count a song."""
        if outcome.status == DONE:
            self.separated += outcome.separated
            self.known += not outcome.separated
            self.audio_hours += outcome.audio_seconds / 3600
            return
        self.quarantined += outcome.status == QUARANTINED
        self.failed += outcome.status != QUARANTINED
        if len(self.reasons) < MOST_REASONS:
            self.reasons[outcome.song.address] = outcome.error

    def as_text(self) -> str:
        """Return the counts and rates in two lines."""
        hours = max(self.hours, 1e-9)
        set_aside = f", {self.quarantined} set aside" if self.quarantined else ""
        return (
            f"{self.separated} songs separated, {self.known} done before, {self.failed} failed"
            f"{set_aside}, of {self.songs}; {self.separated / hours:.0f} songs/hour, "
            f"{self.audio_hours / hours:.1f} hours of audio per hour\n{self.catalogue}"
        )


class Progress:
    """Shows a summary while it grows: a bar on a terminal, a line a minute elsewhere.

    Args:
        summary: of the run.
        running: returns the numbers of songs in work and of workers.
        shown: False shows nothing.
    """

    def __init__(self, summary: Summary, running: Callable[[], tuple[int, int]], shown: bool):
        self._summary, self._running, self._shown = summary, running, shown
        self._begun = self._said = time.monotonic()
        is_terminal = shown and sys.stderr.isatty()
        self._bar = tqdm(
            total=summary.songs, unit="song", disable=not is_terminal, bar_format="{bar:20} {desc}"
        )

    def update(self) -> None:
        """Show the present state."""
        now = time.monotonic()
        self._summary.hours = (now - self._begun) / 3600
        if not self._bar.disable:
            self._bar.n = self._summary.finished
            self._bar.set_description_str(self._line(), refresh=now - self._said > 0.2)
            self._said = now if now - self._said > 0.2 else self._said
        elif self._shown and now - self._said > LINE_SECONDS:
            print(self._line(), file=sys.stderr, flush=True)
            self._said = now

    def close(self) -> None:
        """Leave the last state on the terminal."""
        self.update()
        self._bar.close()

    def _line(self) -> str:
        """Return done, failed and running songs, the rate and the time left."""
        found, (running, workers) = self._summary, self._running()
        worked = found.separated + found.failed + found.quarantined
        rate = worked / max(found.hours, 1e-9)
        left = f"{(found.songs - found.finished) / rate:.1f} h left" if rate else "no rate yet"
        waiting = "" if workers else ", waiting for workers"
        return (
            f"{found.separated + found.known} of {found.songs} done, "
            f"{found.failed + found.quarantined} failed, {running} running, "
            f"{rate:.0f} songs/hour, {left}{waiting}"
        )
