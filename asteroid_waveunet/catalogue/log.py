"""The results of songs on storage: a log in parts, and `catalogue.parquet` at the end.

A song's record beside its stems says that it is done. The log repeats that for all songs in few
files, so that a restarted run need not ask for each of a million records. Parts are named by their
time; the rows of later parts replace those of earlier ones. Each part names the recipe (weights and
options) that its run worked by. Rows from before a run with another recipe prove nothing, because
that run may have replaced any stems: such songs are looked up by their records.
"""

from __future__ import annotations

import contextlib
import io
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from asteroid_waveunet.catalogue.manifest import name_key, pyarrow
from asteroid_waveunet.catalogue.songs import CatalogueSong
from asteroid_waveunet.cloud import storage

__all__ = ["CATALOGUE", "DONE", "FAILED", "QUARANTINED", "Known", "Log", "Outcome"]

CATALOGUE = "catalogue.parquet"
FOLDER = ".waveunet/log"
DONE, FAILED, QUARANTINED = "done", "failed", "quarantined"
ROWS, SECONDS = 5000, 60.0  # a part is written after so many songs, or so long
PARTS = 64  # more are merged,
AT_ONCE = 16  # so many into one
MERGED = "-merged.parquet"
READERS = 16


@dataclass(frozen=True)
class Outcome:
    """The result of one song.

    Attributes:
        status: `DONE`, `FAILED` or `QUARANTINED`.
        separated: this run made its stems; False if they were done before.
        seconds: of work; audio_seconds: of music separated.
        stems: URL of each -> size in bytes and sha256.
        worker: name of the machine.
    """

    song: CatalogueSong
    status: str
    separated: bool = False
    seconds: float = 0.0
    audio_seconds: float = 0.0
    error: str = ""
    stems: dict[str, tuple[int, str]] = field(default_factory=dict)
    worker: str = ""

    def as_row(self) -> dict[str, Any]:
        """Return the values of a row of the log."""
        return {
            "key": name_key(self.song.name),
            "name": self.song.name,
            "song": self.song.address,
            "version": self.song.version,
            "status": self.status,
            "seconds": self.seconds,
            "audio_seconds": self.audio_seconds,
            "error": self.error,
            "stems": [*self.stems],
            "bytes": [size for size, _ in self.stems.values()],
            "sha256": [digest for _, digest in self.stems.values()],
            "worker": self.worker,
            "finished": time.time(),
        }


def _schema() -> Any:
    pa = pyarrow()
    text, many = pa.string(), pa.list_
    columns = {
        "key": pa.uint64(), "name": text, "song": text, "version": text, "status": text,
        "seconds": pa.float64(), "audio_seconds": pa.float64(), "error": text,
        "stems": many(text), "bytes": many(pa.int64()), "sha256": many(text), "worker": text,
        "finished": pa.float64(),
    }  # fmt: skip
    return pa.schema(list(columns.items()))


@dataclass(frozen=True)
class Known:
    """Songs that are done by the log: 16 bytes each.

    Attributes:
        keys: sorted `name_key`s.
        versions: hashes of the songs' versions, in the same order.
    """

    keys: np.ndarray
    versions: np.ndarray

    def holds(self, songs: Sequence[CatalogueSong]) -> np.ndarray:
        """Return for each song if one of this name and version is done, as booleans."""
        if not len(self.keys):
            return np.zeros(len(songs), bool)
        keys, versions = (
            np.fromiter(map(name_key, texts), np.uint64, len(songs))
            for texts in ([song.name for song in songs], [song.version for song in songs])
        )
        at = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        return (self.keys[at] == keys) & (self.versions[at] == versions)


class Log:
    """The log of an output folder, written by one run at a time.

    Args:
        output: path or URL.
        recipe: fingerprint of the weights and options.
    """

    def __init__(self, output: str, recipe: str):
        self._output, self._recipe = output, recipe
        self._folder = storage.join(output, FOLDER)
        self._rows: list[dict[str, Any]] = []
        self._written = time.monotonic()
        self._schema = _schema().with_metadata({"recipe": recipe})

    def start(self) -> None:
        """Write an empty part: rows of other recipes prove nothing from now on."""
        self._write_part([])

    def add(self, outcome: Outcome) -> None:
        """Add a song's outcome; write a part when there are enough, or after a while."""
        self._rows.append(outcome.as_row())
        if len(self._rows) >= ROWS or time.monotonic() - self._written > SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was added."""
        if self._rows:
            self._write_part(self._rows)
            self._rows = []
        self._written = time.monotonic()

    def known(self) -> Known:
        """Return the songs that are done by this recipe."""
        keys, versions = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
        done = [np.empty(0, bool)]
        for recipe, table in self._tables(self._parts(), ["key", "version", "status"]):
            if recipe != self._recipe:
                keys, versions, done = keys[:1], versions[:1], done[:1]
                continue
            keys.append(table["key"].to_numpy())
            texts = table["version"].to_pylist()
            versions.append(np.fromiter(map(name_key, texts), np.uint64, len(texts)))
            done.append(np.fromiter((s == DONE for s in table["status"].to_pylist()), bool))
        newest_first = np.concatenate(keys)[::-1]
        unique, at = np.unique(newest_first, return_index=True)
        is_done = np.concatenate(done)[::-1][at]
        return Known(unique[is_done], np.concatenate(versions)[::-1][at][is_done])

    def write_catalogue(self, keys: np.ndarray) -> str:
        """Write `catalogue.parquet` with the newest row of each song; return its URL.

        Args:
            keys: the sorted `name_key`s of the songs.
        """
        self.flush()
        self._merge()
        url = storage.join(self._output, CATALOGUE)
        wanted = np.ones(len(keys), bool)
        pa = pyarrow()
        schema = pa.schema([column for column in _schema() if column.name != "key"])
        with _writing(url, schema) as writer:
            for _, table in self._tables(self._parts()[::-1], newest_first=True):
                table = table.take(np.arange(table.num_rows)[::-1])
                column = table["key"].to_numpy()
                at = np.searchsorted(keys, column).clip(max=max(len(keys) - 1, 0))
                first = np.zeros(len(column), bool)
                first[np.unique(column, return_index=True)[1]] = True
                chosen = first & (keys[at] == column) & wanted[at] if len(keys) else first & False
                wanted[at[chosen]] = False
                writer.write_table(table.filter(pa.array(chosen)).select(schema.names))
        return url

    def _merge(self) -> None:
        """Merge small parts since the last run with another recipe if they are many."""
        parts = self._parts()
        if len(parts) <= PARTS:
            return
        with ThreadPoolExecutor(READERS) as pool:
            recipes = list(pool.map(lambda part: _recipe_of(_opened(part)), parts))
        others = [number for number, recipe in enumerate(recipes) if recipe != self._recipe]
        own = [part for part in parts[others[-1] + 1 if others else 0 :] if MERGED not in part]
        for begin in range(0, len(own), AT_ONCE):
            merged = own[begin : begin + AT_ONCE]
            with _writing(merged[-1].replace(".parquet", MERGED), self._schema) as writer:
                for _, table in self._tables(merged):
                    writer.write_table(table.cast(self._schema))
            with ThreadPoolExecutor(READERS) as pool:
                list(pool.map(storage.remove, merged))

    def _write_part(self, rows: Sequence[dict[str, Any]]) -> None:
        table = pyarrow().Table.from_pylist(list(rows), self._schema)
        content = io.BytesIO()
        pyarrow("parquet").write_table(table, content, compression="zstd")
        name = f"{time.time_ns():020}-{secrets.token_hex(4)}.parquet"
        storage.write_bytes(storage.join(self._folder, name), content.getvalue())
        self._written = time.monotonic()

    def _parts(self) -> list[str]:
        """Return the URLs of all parts, the oldest first."""
        fs, folder = storage.filesystem(self._folder)
        try:
            with storage.explaining(self._folder, "listed"):
                names = fs.ls(folder, detail=False)
        except FileNotFoundError:
            return []
        files = [name.rsplit("/", 1)[1] for name in names if name.endswith(".parquet")]
        return [storage.join(self._folder, name) for name in sorted(files)]

    def _tables(
        self,
        parts: Sequence[str],
        columns: Sequence[str] | None = None,
        newest_first: bool = False,
    ) -> Iterator[tuple[str, Any]]:
        """Yield the recipe and the rows of parts, some thousands at a time."""
        with ThreadPoolExecutor(READERS) as pool:
            for begin in range(0, len(parts), READERS):
                for file in pool.map(_opened, parts[begin : begin + READERS]):
                    groups = range(file.num_row_groups)[:: -1 if newest_first else 1]
                    for group in groups:
                        yield _recipe_of(file), file.read_row_group(group, columns)
                    if not groups:
                        yield _recipe_of(file), file.read(columns)


def _opened(part: str) -> Any:
    """Return a part in memory, undecoded."""
    return pyarrow("parquet").ParquetFile(io.BytesIO(storage.read_bytes(part)))


def _recipe_of(file: Any) -> str:
    return (file.schema_arrow.metadata or {}).get(b"recipe", b"").decode()


@contextlib.contextmanager
def _writing(url: str, schema: Any) -> Iterator[Any]:
    """Write a parquet file to storage table by table, through a local file."""
    with tempfile.TemporaryDirectory(prefix="waveunet.") as folder:
        path = Path(folder, "part.parquet")
        with pyarrow("parquet").ParquetWriter(path, schema, compression="zstd") as writer:
            yield writer
        storage.upload(path, url)
