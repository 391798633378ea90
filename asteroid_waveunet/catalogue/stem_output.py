"""Stems of songs in an output folder, on disk or on object storage, with their records.

Stems on disk are written in place. Those for object storage are written to a local folder. Then a
record names the stems that are about to come, they are uploaded, and the record that holds them
follows: it is the mark that the song is done. Objects appear whole, but a song has several. Those
that no record names are another program's, and kept.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asteroid_waveunet.catalogue.job import Job
from asteroid_waveunet.catalogue.songs import CatalogueSong
from asteroid_waveunet.cloud import storage
from asteroid_waveunet.file_locks import lock_file, locked
from asteroid_waveunet.separation.layout import Place
from asteroid_waveunet.separation.stem_record import FileState, StemRecord
from asteroid_waveunet.separation.stem_store import removing_empty_folders
from asteroid_waveunet.separation.stems import Target

__all__ = ["StemOutput"]


@dataclass(frozen=True)
class StemOutput:
    """The stems of one song.

    Args:
        job: the run's settings.
        song: whose stems they are.
        folder: local folder of the stems until they are uploaded; unused for an output on disk.
    """

    job: Job
    song: CatalogueSong
    folder: Path

    @property
    def target(self) -> Target:
        """The local files of the stems."""
        return self._place.target

    def read_record(self) -> StemRecord:
        """Return the song's record; it is empty if there is none."""
        file = self._place.record
        if self._on_disk:
            return StemRecord.read(file)
        try:
            content = storage.read_bytes(self._url(file))
        except FileNotFoundError:
            return StemRecord(file, None, {})
        return StemRecord.parse(file, content.decode("utf-8", "replace"))

    def is_done(self, record: StemRecord, song: FileState) -> bool:
        """Return True if the stems are there, from this song by this job's recipe.

        Raises:
            ValueError: if they are another song's.
        """
        if self.job.overwrite:
            return False
        if record.is_of_other(song):
            other = record.song.path if record.song else ""
            raise ValueError(
                f"{self.job.output} holds the stems of {other} under the name {self.song.name}; "
                "choose another folder with -o, or --overwrite."
            )
        unchanged = FileState.is_unchanged if self._on_disk else self._has_size
        paths = self.target.paths
        return record.holds(paths, song, self.job.weights, self.job.recorded, unchanged)

    def all_exist(self) -> bool:
        """Return True if there are files of all stems' names."""
        if self._on_disk:
            return all(path.exists() for path in self.target.paths)
        return all(storage.size(self._url(path)) is not None for path in self.target.paths)

    @contextlib.contextmanager
    def writing(self, record: StemRecord) -> Iterator[None]:
        """Write the stems in the block: those on disk, else their local files.

        On disk, the stems are forgotten in the record, their place is locked, and folders that a
        failure leaves empty are removed.

        Raises:
            FileExistsError: if files that another program has written would be replaced.
        """
        place, paths = self._place, self.target.paths
        if not self._on_disk:
            if not self.job.overwrite:
                self._check_replaceable(record)
            yield
            return
        # The files of a killed worker are not recorded; its lock is there.
        if not self.job.overwrite and not lock_file(place.path).exists():
            record.check_replaceable(paths)
        with removing_empty_folders(self.target, self._root), locked(place.path):
            if record.stems:  # a killed worker must not leave new stems under it
                self._write(record.without(paths))
            yield

    def check_song_stays(self) -> None:
        """Check that no stem replaces the song.

        Raises:
            ValueError: if one would.
        """
        source = storage.local_path(self.song.source)
        place = self.song.source if source is None else str(source.resolve())
        urls = [self._url(path.resolve() if self._on_disk else path) for path in self.target.paths]
        if place in urls:
            raise ValueError(
                f"{self.song.address} is a song to separate, and a stem would replace it; choose "
                "another output folder with -o."
            )

    def publish(self, record: StemRecord, song: FileState) -> dict[str, tuple[int, str]]:
        """Upload the stems, then the record; return each stem's URL, size and sha256."""
        paths = self.target.paths
        if not self._on_disk:  # whose they are, if this worker is killed
            self._write(record.without(paths).interrupted(paths))
        new = record.without(paths).with_stems(paths, song, self.job.weights, self.job.recorded)
        if not self._on_disk:
            for path in paths:
                storage.upload(path, self._url(path))
            new = dataclasses.replace(
                new, stems={name: self._as_remote(entry) for name, entry in new.stems.items()}
            )
        self._write(new)
        return self.described(new)

    def described(self, record: StemRecord) -> dict[str, tuple[int, str]]:
        """Return the URL, size and sha256 of each stem in a record."""
        states = {self._url(record.file.parent / k): e["state"] for k, e in record.stems.items()}
        wanted = [self._url(path) for path in self.target.paths]
        return {url: (states[url].stat[0], states[url].sha256) for url in wanted if url in states}

    def _check_replaceable(self, record: StemRecord) -> None:
        """Copy objects that are not as recorded, to check them as on disk.

        Raises:
            FileExistsError: if one is another program's.
        """
        for path in self.target.paths:
            url, known = self._url(path), record.state_of(path)
            size = storage.size(url)
            if size is None or (known is not None and known.stat[0] == size):
                continue
            storage.download(url, path)
            try:
                record.check_replaceable([path])
            except FileExistsError as reason:
                raise FileExistsError(str(reason).replace(str(path), url)) from reason

    @property
    def _on_disk(self) -> bool:
        return storage.local_path(self.job.output) is not None

    @property
    def _root(self) -> Path:
        return storage.local_path(self.job.output) or self.folder

    @property
    def _place(self) -> Place:
        return self.job.layout(self._root).place(Path(self.song.name))

    def _url(self, path: Path) -> str:
        if self._on_disk:
            return str(path)
        return storage.join(self.job.output, path.relative_to(self._root).as_posix())

    def _write(self, record: StemRecord) -> None:
        if self._on_disk:
            record.write()
        else:
            storage.write_bytes(self._url(record.file), record.as_json().encode())

    def _as_remote(self, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a stem's entry with the state of its object instead of the local file's."""
        state = entry["state"]
        url = self._url(Path(state.path)) if state.path.startswith(str(self._root)) else state.path
        return {**entry, "state": FileState(url, state.stat[:1], state.sha256)}

    def _has_size(self, state: FileState, path: Path) -> bool:
        return storage.size(self._url(path)) == state.stat[0]
