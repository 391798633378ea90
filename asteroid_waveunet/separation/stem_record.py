"""Record of the song, weights and options of stems, in a hidden file beside them.

A song is done if its stems are those that were written from the same song, by the same weights
and with the same options. Files are compared by their contents; one whose size and times are
those of the last time is not read again. Files that another program has written are kept.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asteroid_waveunet._version import __version__
from asteroid_waveunet.audio import io as audio_io
from asteroid_waveunet.file_utils import checksum, replacing

__all__ = ["FileState", "StemRecord"]


@dataclass(frozen=True)
class FileState:
    """A file's path and content at one time.

    Attributes:
        path: absolute.
        stat: size, times of change in ns, and inode, or of an object its size and version: equal
            ones mean an unchanged file.
        sha256: of its content.
    """

    path: str
    stat: list[Any]
    sha256: str

    @classmethod
    def of(cls, path: Path, known: FileState | None = None) -> FileState | None:
        """Return the state of a regular file; None for others, which can only be read once.

        Args:
            known: an earlier state; its checksum is taken over if the file has not changed.
        """
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return None
        now: list[Any] = [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
        if known is not None and known.stat == now:
            return cls(str(path), now, known.sha256)
        return cls(str(path), now, checksum(path, "sha256"))

    def is_unchanged(self, path: Path) -> bool:
        """Return True if a file has this content."""
        with contextlib.suppress(OSError):
            found = FileState.of(path, self)
            return found is not None and found.sha256 == self.sha256
        return False


@dataclass(frozen=True)
class StemRecord:
    """The record of one song's stems.

    Attributes:
        file: the record's path.
        song: the song at the last separation; None if unknown.
        stems: path of each stem relative to the record's folder, with slashes -> "song" and
            "weights" (their sha256), "options", and the stem's own "state".
        unfinished: paths of stems that a run began to replace; it has not recorded them.
    """

    file: Path
    song: FileState | None
    stems: Mapping[str, Mapping[str, Any]]
    unfinished: frozenset[str] = frozenset()

    @classmethod
    def read(cls, file: Path) -> StemRecord:
        """Read a record; it is empty if the file is missing, unreadable or damaged."""
        try:
            return cls.parse(file, file.read_text("utf-8"))
        except (OSError, ValueError):
            return cls(file, None, {})

    @classmethod
    def parse(cls, file: Path, text: str) -> StemRecord:
        """Read a record from its text; it is empty if that is damaged."""
        try:
            content = json.loads(text)
            stems = {name: dict(entry) for name, entry in content["stems"].items()}
            for entry in stems.values():
                entry["state"] = FileState(**entry["state"])
            song = content["song"] and FileState(**content["song"])
            return cls(file, song, stems, frozenset(content.get("unfinished", ())))
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls(file, None, {})

    def is_of_other(self, song: FileState) -> bool:
        """Return True if the stems are of a song of another path and another content."""
        known = self.song
        return known is not None and known.path != song.path and known.sha256 != song.sha256

    def holds(
        self,
        files: Iterable[Path],
        song: FileState,
        weights: str,
        options: Mapping[str, Any],
        is_unchanged: Callable[[FileState, Path], bool] = FileState.is_unchanged,
    ) -> bool:
        """Return True if all files are unchanged stems of this song, made in this way."""
        wanted = {"song": song.sha256, "weights": weights, "options": _as_json(options)}
        for file in files:
            entry = dict(self.stems.get(self._key(file), {}))
            state = entry.pop("state", None)
            if entry != wanted or state is None or not is_unchanged(state, file):
                return False
        return True

    def state_of(self, file: Path) -> FileState | None:
        """Return the state in which a stem was recorded; None if it was not."""
        entry = self.stems.get(self._key(file))
        return None if entry is None else entry["state"]

    def check_replaceable(self, files: Iterable[Path]) -> None:
        """Check that no file that another program has written would be replaced.

        Files that were recorded and no longer hold audio are damaged, and may be.

        Raises:
            FileExistsError: if there is one.
        """
        for file in files:
            entry = self.stems.get(self._key(file))
            is_empty = file.is_file() and not file.stat().st_size
            if not os.path.lexists(file) or is_empty or self._key(file) in self.unfinished:
                continue
            if entry is None:
                reason = "exists and is no recorded output of this command"
            elif not entry["state"].is_unchanged(file) and _is_audio(file):
                reason = "was changed by another program"
            else:
                continue
            raise FileExistsError(
                f"{file} {reason}: --overwrite replaces it, --skip-existing keeps it, and another "
                "folder (-o) leaves it alone."
            )

    def without(self, files: Iterable[Path]) -> StemRecord:
        """Return the record without the entries of some files, which are about to be replaced."""
        gone = {self._key(file) for file in files}
        kept = {name: entry for name, entry in self.stems.items() if name not in gone}
        unfinished = self.unfinished.union(gone.intersection(self.stems))
        return StemRecord(self.file, self.song, kept, unfinished)

    def interrupted(self, files: Iterable[Path]) -> StemRecord:
        """Return the record of a run that has failed after it had written some files."""
        written = self.unfinished.union(self._key(file) for file in files)
        return dataclasses.replace(self, unfinished=written)

    def with_stems(
        self, files: Iterable[Path], song: FileState, weights: str, options: Mapping[str, Any]
    ) -> StemRecord:
        """Return the record with entries of files that have been written."""
        made = {"song": song.sha256, "weights": weights, "options": _as_json(options)}
        new = {self._key(file): {**made, "state": FileState.of(file)} for file in files}
        return StemRecord(self.file, song, {**self.stems, **new}, self.unfinished - new.keys())

    def as_json(self) -> str:
        """Return the record's text; names of any bytes survive."""
        content = {
            "written_by": f"asteroid-waveunet {__version__}",
            "song": None if self.song is None else asdict(self.song),
            "stems": {
                name: {**entry, "state": asdict(entry["state"])}
                for name, entry in self.stems.items()
            },
            **({"unfinished": sorted(self.unfinished)} if self.unfinished else {}),
        }
        return json.dumps(content, indent=1)

    def write(self) -> None:
        """Write the record's file."""
        with replacing(self.file) as partial:
            partial.write_text(self.as_json(), encoding="utf-8")

    def _key(self, file: Path) -> str:
        return Path(os.path.relpath(file, self.file.parent)).as_posix()


def _is_audio(file: Path) -> bool:
    """Return True for a file that can be read to its end."""
    try:
        return audio_io.count_frames(file) > 0
    except (OSError, ValueError):
        return False


def _as_json(options: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(options, default=str))
