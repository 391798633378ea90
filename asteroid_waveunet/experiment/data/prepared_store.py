"""Store of decoded tracks: memory-mappable 16-bit arrays and an index.

Each track is one array with one row per *group*: each source of the model, and "rest" for the
stems of no source; or each stem, in the order of the sources. A group's samples are its int16
values times its gain.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from asteroid_waveunet.file_utils import checksum, remove_leftovers, replacing

__all__ = ["Index", "Prepared", "Record", "dequantize", "quantize"]

VERSION = 3
INDEX_FILE = "prepared.json"

LARGEST = np.iinfo(np.int16).max
PCM = 2.0**-15  # the gain of 16-bit audio files


@dataclass(frozen=True)
class Prepared:
    """A decoded track.

    Attributes:
        name: of the track.
        path: the .npy file.
        length: samples per channel.
        groups: names of the rows: the model's sources in their order, then possibly "rest"; or
            their stems.
        owners: index of the source that each group belongs to, ascending; n_src for the rest.
        n_src: number of sources.
        channels: of every group.
        sample_rate: in Hz.
        gains: one per group, see `quantize`.
        sha256: of the file; empty if unknown.
    """

    name: str
    path: Path
    length: int
    groups: tuple[str, ...]
    owners: tuple[int, ...]
    n_src: int
    channels: int
    sample_rate: int
    gains: tuple[float, ...]
    sha256: str = ""

    def map(self) -> np.ndarray:
        """Map the int16 values `(groups, channels, time)` into memory, read-only."""
        # As a plain array: slicing np.memmap takes several times as long.
        return np.asarray(np.load(self.path, mmap_mode="r"))

    def load(self) -> np.ndarray:
        """Read the samples, float32 `(groups, channels, time)`."""
        return dequantize(self.map(), self.gains)


def quantize(samples: np.ndarray) -> tuple[np.ndarray, tuple[float, ...]]:
    """Convert samples `(groups, channels, time)` to int16 values and one gain per group.

    The rounding error is at most half a gain. Samples within the range of 16-bit audio get its
    gain, so that those of a 16-bit file are stored exactly. For louder ones (sums, resampled
    music) the peak becomes the largest int16.

    >>> values, gains = quantize(np.array([[[0.5, -1.0]], [[0.0, -2.0]]]))
    >>> values[:, 0].tolist(), gains[0] == 1 / 32768, gains[1] == 2 / 32767
    ([[16384, -32768], [0, -32767]], True, True)
    """
    gains = []
    values = np.empty(samples.shape, np.int16)
    for group, row in zip(samples, values, strict=True):
        low, high = (float(f(group, initial=0.0)) for f in (np.min, np.max))
        fits = low >= -1 and high <= LARGEST * PCM
        gain = PCM if fits else max(-low, high) / LARGEST
        scaled = group * (1 / gain)
        row[...] = np.rint(scaled, out=scaled)
        gains.append(gain)
    return values, tuple(gains)


def dequantize(values: np.ndarray, gains: tuple[float, ...]) -> np.ndarray:
    """Invert `quantize`, up to rounding, in float32."""
    return values * np.array(gains, np.float32)[:, None, None]


@dataclass
class Record:
    """Index entry of a track.

    Attributes:
        length: samples per channel.
        gains: one per group.
        source: name of each source file -> its `file_state`.
        file: `file_state` of the array's file.
        sha256: of the array's file.
    """

    length: int
    gains: list[float]
    source: dict[str, list[int]]
    file: list[int]
    sha256: str


@dataclass
class Index:
    """Settings and finished tracks of a store.

    Attributes:
        folder: of the store.
        settings: everything that the arrays depend on apart from the tracks: "sources", "groups",
            "owners", "sample_rate", "channels", and "missing_stems" and "lengths" unless they are
            "error".
        tracks: name -> record of a finished track.
    """

    folder: Path
    settings: dict[str, Any]
    tracks: dict[str, Record] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, settings: Mapping[str, Any]) -> Index:
        """Open the index of a folder; empty if missing, damaged or of other settings.

        Arrays of other settings are deleted, after the index that declared them valid. The caller
        holds the folder's lock.
        """
        index = cls(folder, {"version": VERSION, **settings})
        earlier, records = _read(folder / INDEX_FILE)
        if earlier == index.settings:
            index.tracks = records
        elif (folder / INDEX_FILE).is_file():
            index.save()
            for array in folder.glob("*.npy"):
                array.unlink()
        remove_leftovers(folder)
        return index

    def path(self, name: str) -> Path:
        """Return the path of a track's array."""
        return self.folder / f"{name}.npy"

    def prepared(self, name: str) -> Prepared:
        """Return a finished track."""
        record = self.tracks[name]
        return Prepared(
            name=name,
            path=self.path(name),
            length=record.length,
            groups=tuple(self.settings["groups"]),
            owners=tuple(self.settings["owners"]),
            n_src=len(self.settings["sources"]),
            channels=self.settings["channels"],
            sample_rate=self.settings["sample_rate"],
            gains=tuple(record.gains),
            sha256=record.sha256,
        )

    def save(self) -> None:
        """Write the index."""
        tracks = {name: asdict(record) for name, record in self.tracks.items()}
        with replacing(self.folder / INDEX_FILE) as partial:
            partial.write_text(
                json.dumps({**self.settings, "tracks": tracks}, indent=1), encoding="utf-8"
            )

    def add(self, name: str, samples: np.ndarray, source: dict[str, list[int]]) -> None:
        """Store a track, `(groups, channels, time)`.

        Raises:
            OSError: if the disk is full; nothing of the track is left.
        """
        values, gains = quantize(samples)
        with replacing(self.path(name)) as partial:
            np.save(partial, values)
            digest = checksum(partial, "sha256")
        stored = file_state(self.path(name))
        self.tracks[name] = Record(samples.shape[-1], list(gains), source, stored, digest)
        self.save()

    def keep_only(self, names: Collection[str]) -> None:
        """Delete all other tracks."""
        removed = self.tracks.keys() - names
        if removed:
            self.tracks = {name: self.tracks[name] for name in self.tracks if name in names}
            self.save()
        for name in removed:
            self.path(name).unlink(missing_ok=True)

    def holds(self, name: str, source: dict[str, list[int]], verify: bool = False) -> bool:
        """Check that a track is stored undamaged and that its source files are unchanged.

        By default the checksum is computed only for arrays whose modification time has changed,
        because computing all would read the whole store on every start.

        Args:
            source: `file_state` of the source files.
            verify: always compute the checksum.
        """
        record, path = self.tracks.get(name), self.path(name)
        if record is None or record.source != source or not path.is_file():
            return False
        if file_state(path) == record.file and not verify:
            return True
        if file_state(path)[0] != record.file[0] or checksum(path, "sha256") != record.sha256:
            return False
        record.file = file_state(path)  # of a copy, or after `touch`
        self.save()
        return True


def file_state(file: Path) -> list[int]:
    """Return size in bytes and modification time in ns, which change with the content."""
    found = file.stat()
    return [found.st_size, found.st_mtime_ns]


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Record]]:
    """Read settings and records of an index; both are empty if it is missing or damaged."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        records = {name: Record(**record) for name, record in found.pop("tracks").items()}
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return {}, {}
    return found, records
