"""Decoded tracks on disk: 16-bit samples to be mapped into memory, and an index beside them.

One array a track, one row a *group*: each source of the model, and "rest" for the stems that are
in none of them. A group's samples are whole numbers times its gain.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from asteroid_waveunet.file_utils import checksum, replacing

__all__ = ["Index", "Prepared", "Record", "decoded", "encoded"]

VERSION = 2
INDEX_FILE = "prepared.json"
PARTIAL = ".partial."  # in the names of files that are being written, see `files.replacing`

LARGEST = np.iinfo(np.int16).max
PCM = 2.0**-15  # the gain of 16-bit audio files


@dataclass(frozen=True)
class Prepared:
    """A decoded track.

    Attributes:
        name: the track's.
        path: the .npy file.
        length: samples a channel.
        groups: what the rows are: the model's sources in their order, then maybe "rest".
        n_src: how many of the groups are sources.
        channels: of every group.
        sample_rate: in Hz.
        gains: a group's samples are its whole numbers times its gain.
        sha256: of the file; empty where nobody has asked.
    """

    name: str
    path: Path
    length: int
    groups: tuple[str, ...]
    n_src: int
    channels: int
    sample_rate: int
    gains: tuple[float, ...]
    sha256: str = ""

    def map(self) -> np.ndarray:
        """The whole numbers, int16 `(groups, channels, time)`, mapped into memory, read-only."""
        # As a plain array: slicing numpy's own class of mapped arrays takes several times as long.
        return np.asarray(np.load(self.path, mmap_mode="r"))

    def load(self) -> np.ndarray:
        """The samples, float32 `(groups, channels, time)`, read into memory."""
        return decoded(self.map(), self.gains)


def encoded(samples: np.ndarray) -> tuple[np.ndarray, tuple[float, ...]]:
    """Samples `(groups, channels, time)` as int16, and each group's gain.

    The rounding error is at most half a gain. What fits the range of 16-bit audio has its gain
    too, so that samples which come from such a file are kept to the bit. Sums and resampled music
    may be louder: then the peak is the largest whole number.

    >>> whole, gains = encoded(np.array([[[0.5, -1.0]], [[0.0, -2.0]]]))
    >>> whole[:, 0].tolist(), gains[0] == 1 / 32768, gains[1] == 2 / 32767
    ([[16384, -32768], [0, -32767]], True, True)
    """
    gains = []
    whole = np.empty(samples.shape, np.int16)
    for group, row in zip(samples, whole, strict=True):
        low, high = (float(f(group, initial=0.0)) for f in (np.min, np.max))
        fits = low >= -1 and high <= LARGEST * PCM
        gain = PCM if fits else max(-low, high) / LARGEST
        scaled = group * (1 / gain)
        row[...] = np.rint(scaled, out=scaled).clip(-LARGEST - 1, LARGEST, out=scaled)
        gains.append(gain)
    return whole, tuple(gains)


def decoded(whole: np.ndarray, gains: tuple[float, ...]) -> np.ndarray:
    """What `encoded` was given, to rounding, in float32."""
    return whole * np.array(gains, np.float32)[:, None, None]


@dataclass
class Record:
    """What the index holds of a track.

    Attributes:
        length: samples a channel.
        gains: of the groups.
        source: the file that it was decoded from -> its bytes and time of change.
        file: bytes and time of change of the array's file.
        sha256: of that file.
    """

    length: int
    gains: list[float]
    source: dict[str, list[int]]
    file: list[int]
    sha256: str


@dataclass
class Index:
    """What a store was made with, and which tracks are done.

    Attributes:
        folder: of the store.
        settings: all that the arrays depend on besides the tracks.
        tracks: name -> record of a track that is done.
    """

    folder: Path
    settings: dict[str, Any]
    tracks: dict[str, Record] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, settings: Mapping[str, Any]) -> Index:
        """The index of a folder, empty if there is none, or it is damaged or of other settings.

        In that case the arrays are removed, after the index that said they were valid. The folder
        is this process's own meanwhile, see `disk.alone`.
        """
        index = cls(folder, {"version": VERSION, **settings})
        earlier, records = _read(folder / INDEX_FILE)
        if earlier == index.settings:
            index.tracks = records
        elif (folder / INDEX_FILE).is_file():
            index.save()
            for array in folder.glob("*.npy"):
                array.unlink()
        for leftover in folder.glob(f".*{PARTIAL}*"):  # of writers that were killed
            leftover.unlink()
        return index

    def path(self, name: str) -> Path:
        """Where a track's array is."""
        return self.folder / f"{name}.npy"

    def save(self) -> None:
        tracks = {name: asdict(record) for name, record in self.tracks.items()}
        with replacing(self.folder / INDEX_FILE) as partial:
            partial.write_text(json.dumps({**self.settings, "tracks": tracks}, indent=1))

    def add(self, name: str, samples: np.ndarray, source: dict[str, list[int]]) -> None:
        """Stores a track, `(groups, channels, time)`.

        Raises:
            OSError: if there is no space left; nothing of the track stays.
        """
        whole, gains = encoded(samples)
        with replacing(self.path(name)) as partial:
            np.save(partial, whole)
            checksum = _sha256(partial)
        stored = state(self.path(name))
        self.tracks[name] = Record(samples.shape[-1], list(gains), source, stored, checksum)
        self.save()

    def keep(self, names: Collection[str]) -> None:
        """Removes tracks of other names."""
        gone = self.tracks.keys() - names
        if gone:
            self.tracks = {name: self.tracks[name] for name in self.tracks if name in names}
            self.save()
        for name in gone:
            self.path(name).unlink(missing_ok=True)

    def holds(self, name: str, source: dict[str, list[int]], verify: bool = False) -> bool:
        """Whether a track is stored, undamaged, as its source files are now.

        The checksum is computed where the array's file was changed since it was written, and not
        otherwise: that would read all of the store at every start.

        Args:
            source: `state` of the files to decode it from.
            verify: whether to compute it in any case.
        """
        record, path = self.tracks.get(name), self.path(name)
        if record is None or record.source != source or not path.is_file():
            return False
        if state(path) == record.file and not verify:
            return True
        if state(path)[0] != record.file[0] or _sha256(path) != record.sha256:
            return False
        record.file = state(path)  # a copy, or touched
        self.save()
        return True


def state(file: Path) -> list[int]:
    """Bytes and time of change (ns) of a file: another state is, as a rule, another content."""
    found = file.stat()
    return [found.st_size, found.st_mtime_ns]


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Record]]:
    """An index's settings and records; nothing if it is not there or damaged."""
    try:
        found = json.loads(file.read_text())
        records = {name: Record(**record) for name, record in found.pop("tracks").items()}
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return {}, {}
    return found, records


def _sha256(file: Path) -> str:
    return checksum(file, "sha256")
