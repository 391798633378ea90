"""The stems of songs on disk: where each song's are written, and which are done."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asteroid_waveunet.file_locks import AlreadyLocked, lock_file, locked
from asteroid_waveunet.separation.batch import Song
from asteroid_waveunet.separation.layout import Layout, Place
from asteroid_waveunet.separation.stem_record import FileState, StemRecord
from asteroid_waveunet.separation.stems import Target

__all__ = ["SongStems", "StemStore", "removing_empty_folders"]

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class SongStems:
    """A song's stems on disk.

    Attributes:
        place: of the stems.
        record: of what they were made from.
        song: the song's state; None if it can only be read once, such as a pipe.
        done: they are the stems that would be written.
    """

    place: Place
    record: StemRecord
    song: FileState | None
    done: bool

    @property
    def exist(self) -> bool:
        """True if some of the files exist."""
        return any(map(os.path.lexists, self.place.target.paths))


@dataclass(frozen=True)
class StemStore:
    """Finds, locks and records the stems of songs.

    Attributes:
        layout: names of the stems.
        weights: `serialization.fingerprint` of the model.
        options: of the separation that change the stems, as JSON values.
        overwrite: no song is done.
        skip_existing: a song is done if files of its stems' names exist, whatever they hold.
    """

    layout: Layout
    weights: str
    options: Mapping[str, Any]
    overwrite: bool = False
    skip_existing: bool = False

    def find(self, song: Song) -> SongStems:
        """Return the place of a song's stems, which no other song's stems occupy.

        Raises:
            OSError: if the song or the place is inaccessible.
            FileExistsError: if files that another program has written would be replaced.
            ValueError: if another song's stems are there, and the layout does not name songs.
        """
        state, other = None, ""
        for place in self.layout.places(song.name):
            record, files = StemRecord.read(place.record), place.target.paths
            if self.skip_existing and all(file.exists() for file in files):
                return SongStems(place, record, None, done=True)
            if state is None:
                state = FileState.of(song.path, record.song)
            stems = SongStems(place, record, state, done=False)
            if state is not None and stems.exist and record.is_of_other(state):
                other = record.song.path if record.song else ""
                continue
            if self.overwrite:
                return stems
            done = state is not None and record.holds(files, state, self.weights, self.options)
            # The files of a killed run are not recorded; its lock is there.
            if not done and not lock_file(place.path).exists():
                record.check_replaceable(files)
            return SongStems(place, record, state, done)
        raise ValueError(
            f"{self.layout.output} holds the stems of {other}; add {{song}} to --name, or choose "
            "another folder with -o."
        )

    @contextlib.contextmanager
    def writing(self, song: Song, check: Callable[[], None]) -> Iterator[Target | None]:
        """Lock the place of a song's stems; record what is written to it in the block.

        Args:
            check: called while another process writes there; it may raise to end the wait.
        Yields:
            Where to write the stems; None if another process has written them meanwhile.
        """
        target = self.find(song).place.target
        with removing_empty_folders(target, self.layout.output), contextlib.ExitStack() as stack:
            stems = self._locked(stack, song, check)
            if stems.done:
                yield None
                return
            files = stems.place.target.paths
            record = stems.record.without(files)
            if stems.record.stems:
                record.write()  # a killed run must not leave new stems under old entries
            with _recording_what_is_written(files, record):
                yield stems.place.target
                if stems.song is not None:
                    record.with_stems(files, stems.song, self.weights, self.options).write()

    def _locked(
        self, stack: contextlib.ExitStack, song: Song, check: Callable[[], None]
    ) -> SongStems:
        """Lock the place of a song's stems until the stack ends, and return them."""
        while True:
            place = self.find(song).place
            with contextlib.ExitStack() as attempt:
                _lock(attempt, place.path, check)
                stems = self.find(song)
                if stems.place.path == place.path:  # no other song's stems were written there
                    stack.push(attempt.pop_all())
                    return stems


@contextlib.contextmanager
def _recording_what_is_written(files: Sequence[Path], record: StemRecord) -> Iterator[None]:
    """Record which files the block has replaced if it fails: they are ours."""
    before = [_identity(file) for file in files]
    try:
        yield
    except BaseException:
        known = zip(files, before, strict=True)
        if new := [file for file, old in known if _identity(file) not in (None, old)]:
            record.interrupted(new).write()
        raise


def _identity(file: Path) -> tuple[int, int] | None:
    """Return what tells a file from the one that replaces it; None if there is none."""
    with contextlib.suppress(OSError):
        found = file.lstat()
        return found.st_ino, found.st_ctime_ns
    return None


def _lock(stack: contextlib.ExitStack, path: Path, check: Callable[[], None]) -> None:
    """Lock a place until the stack ends; wait for other processes."""
    said = False
    while True:
        check()
        try:
            stack.enter_context(locked(path, wait=False))
            return
        except AlreadyLocked:
            if not said:
                print(f"Waiting for another process that writes {path}.", file=sys.stderr)
                said = True
            time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def removing_empty_folders(target: Target, output: Path) -> Iterator[None]:
    """Remove the folders of stems, below the output folder, that a failure leaves empty."""
    try:
        yield
    except BaseException:
        for file in target.paths:
            for folder in file.parents:
                if output not in folder.parents:
                    break
                with contextlib.suppress(OSError):
                    folder.rmdir()
        raise
