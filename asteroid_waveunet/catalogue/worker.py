"""The work on one song: read, compute, write; songs beside it do the other two meanwhile."""

from __future__ import annotations

import contextlib
import itertools
import platform
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from asteroid_waveunet.catalogue.job import Job
from asteroid_waveunet.catalogue.log import DONE, FAILED, Outcome
from asteroid_waveunet.catalogue.scratch import worker_folder
from asteroid_waveunet.catalogue.songs import CatalogueSong
from asteroid_waveunet.catalogue.stem_output import StemOutput
from asteroid_waveunet.cloud import storage, web
from asteroid_waveunet.file_locks import shorten
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.models.by_name import find_device
from asteroid_waveunet.separation.separate import separate_file
from asteroid_waveunet.separation.stem_record import FileState, StemRecord
from asteroid_waveunet.system_errors import explain

__all__ = ["READ_AHEAD", "Worker"]

READ_AHEAD = 2  # songs in work besides those that compute: one is read, one is written
LONGEST_NAME = 100  # bytes of a song's name on the local disk


class Worker:
    """Separates songs with one model; `separate` may be called from several threads.

    Close it at the end. The local disk holds at most `computing + READ_AHEAD` songs with their
    stems.

    Args:
        job: the run's settings.
        model: dictionary of `SourceModel.serialize`.
        computing: number of songs that compute at the same time.
    """

    def __init__(self, job: Job, model: dict[str, Any], computing: int = 1):
        self.job, self._machine = job, platform.node()
        self._model = SourceModel.from_pretrained(model).to(find_device(job.device))
        self._model = self._model.without_clipping()
        self._how = job.options.separation(self._model)
        self._computing = threading.Semaphore(computing)
        self._room = threading.Semaphore(computing + READ_AHEAD)
        self._open = contextlib.ExitStack()
        self._scratch = self._open.enter_context(worker_folder(job.scratch))
        self._numbers = itertools.count()

    def close(self) -> None:
        """Delete the temporary folder."""
        self._open.close()

    def separate(self, song: CatalogueSong, check: Callable[[], None] | None = None) -> Outcome:
        """Write the stems of a song unless they are done; errors become the outcome's.

        Args:
            check: called regularly; what it raises ends the work on the song.
        """
        begun = time.monotonic()
        folder = self._scratch / str(next(self._numbers))
        try:
            return self._separate(song, folder, begun, check or (lambda: None))
        except Exception as error:  # even a bug must not stop the other songs
            reason = explain(error).replace(str(_local_copy(song, folder)), song.address)
            seconds = time.monotonic() - begun
            return Outcome(song, FAILED, seconds=seconds, error=reason, worker=self._machine)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _separate(
        self, song: CatalogueSong, folder: Path, begun: float, check: Callable[[], None]
    ) -> Outcome:
        check()
        output = StemOutput(self.job, song, folder / "out")
        output.check_song_stays()
        record = output.read_record()
        skipped = self.job.skip_existing and output.all_exist()
        state = None if skipped else _known_state(song, record)
        if skipped or (state and output.is_done(record, state)):
            return Outcome(song, DONE, stems=output.described(record), worker=self._machine)
        with self._room:
            path, state = _fetch(song, folder, state)
            if output.is_done(record, state):  # the same content under another date
                return Outcome(song, DONE, stems=output.described(record), worker=self._machine)
            check()
            with output.writing(record):
                with self._computing_alone():
                    audio_seconds = self._compute(path, output, check)
                stems = output.publish(record, state)
        seconds = time.monotonic() - begun
        return Outcome(song, DONE, True, seconds, audio_seconds, "", stems, self._machine)

    @contextlib.contextmanager
    def _computing_alone(self) -> Iterator[None]:
        with self._computing:
            if self.job.threads is not None:
                torch.set_num_threads(self.job.threads)
            yield

    def _compute(self, path: Path, output: StemOutput, check: Callable[[], None]) -> float:
        options = self.job.options
        return separate_file(
            self._model,
            path,
            output.target,
            clip=options.clip,
            options=self._how,
            progress=lambda *_: check(),
            start=options.start,
            duration=options.duration,
            refuse_silence=True,
            **options.selection,
        )


def _known_state(song: CatalogueSong, record: StemRecord) -> FileState | None:
    """Return the song's state if that needs no reading of its content, else None.

    Raises:
        OSError: if the song does not exist or cannot be accessed.
    """
    local, known = storage.local_path(song.source), record.song
    if known is None:
        return None
    if local is not None:
        return FileState.of(local, known)
    now = _remote_stat(song.source)
    is_same = now[1] and (known.path, known.stat) == (song.address, now)
    return known if is_same else None


def _remote_stat(url: str) -> list[Any]:
    fs, remote = storage.filesystem(url)
    with storage.explaining(url, "read"):
        return storage.version(web.with_retries(lambda: fs.info(remote)))


def _local_copy(song: CatalogueSong, folder: Path) -> Path:
    return folder / "in" / (shorten(storage.basename(song.source), LONGEST_NAME) or "song")


def _fetch(song: CatalogueSong, folder: Path, known: FileState | None) -> tuple[Path, FileState]:
    """Return the path of a song on disk, which may be a copy, and its state.

    Raises:
        FileNotFoundError: if it does not exist.
        OSError: if it cannot be read, or is no file.
    """
    local = storage.local_path(song.source)
    if local is not None:
        state = known or FileState.of(local)
        if state is None:
            raise OSError(f"{local} is no file.")
        return local, state
    path = _local_copy(song, folder)
    stat = _remote_stat(song.source)
    storage.download(song.source, path)
    copied = FileState.of(path)
    assert copied is not None  # just written
    return path, FileState(song.address, stat, copied.sha256)
