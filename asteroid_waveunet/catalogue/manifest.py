"""Manifests: songs in the rows of a jsonl, csv or parquet file, read as a stream."""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import importlib
import json
import os.path
import re
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import IO, Any

import numpy as np

from asteroid_waveunet.catalogue.songs import CatalogueSong
from asteroid_waveunet.cloud import storage, web
from asteroid_waveunet.file_utils import first_line
from asteroid_waveunet.separation.stems import without_suffix

__all__ = ["keys_of", "name_key", "pyarrow", "read"]

PATH_COLUMNS = ("path", "url", "song")
ROWS_AT_ONCE = 10_000


def pyarrow(module: str = "") -> Any:
    """Import pyarrow or a module of it.

    Raises:
        ImportError: if it is not installed; says what to do.
    """
    try:
        return importlib.import_module(f"pyarrow.{module}".rstrip("."))
    except ImportError as reason:
        raise ImportError(
            "Catalogues need pyarrow: pip install 'asteroid-waveunet[cluster]'."
        ) from reason


def read(url: str) -> Iterator[CatalogueSong]:
    """Yield the songs of a manifest in constant memory.

    Columns: `path` (or `url`, `song`), a path or URL; relative ones are relative to the manifest.
    Optional: `name`, of the stems; by default the path without its suffix, and `version`, any text
    whose change separates the song again. Other columns are ignored.

    Args:
        url: path or URL of a .jsonl, .csv or .parquet file; jsonl and csv may end in .gz.
    Raises:
        OSError: if it cannot be read.
        ImportError: if the package that reads a URL's scheme is missing; names it.
        ValueError: if it is of another format, or a row has no path or an unknown scheme; names
            the line.
    """
    form = PurePosixPath(storage.basename(url).lower().removesuffix(".gz")).suffix
    shown = web.without_secrets(url)
    if form not in READERS:
        raise ValueError(f"{shown} ends in none of {', '.join(READERS)}, the formats of manifests.")
    folder = (re.split("[?#]", url)[0] if web.is_web(url) else url).rpartition("/")[0] or "."
    column, schemes = None, set[str]()
    with storage.open_file(url) as file, _naming(shown):
        for number, row in READERS[form](file, shown):
            if column is None:
                column = next((name for name in PATH_COLUMNS if name in row), None)
            if column is None:
                raise ValueError(
                    f"{shown} has no column {' or '.join(PATH_COLUMNS)}; it has "
                    f"{', '.join(map(str, row)) or 'none'}."
                )
            song = _song(row, column, f"{shown}, row {number}", folder)
            scheme = song.source.partition("://")[0]
            if scheme not in schemes and storage.is_url(song.source):
                _check_scheme(song, f"{shown}, row {number}")
                schemes.add(scheme)
            yield song


@contextlib.contextmanager
def _naming(url: str) -> Iterator[None]:
    """Name the manifest in errors of its decoding."""
    try:
        yield
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error, csv.Error) as reason:
        raise ValueError(f"{url} cannot be decoded: {reason}.") from reason
    except ValueError as reason:
        if str(reason).startswith(url):
            raise
        raise ValueError(f"{url} cannot be decoded: {first_line(reason)}") from reason


def _song(row: Mapping[str, Any], column: str, place: str, folder: str) -> CatalogueSong:
    path = row.get(column)
    if not isinstance(path, str) or not path.strip():
        raise ValueError(f"{place}: {column} is {path!r}; expected a path or URL.")
    relative = not storage.is_url(path) and not path.startswith(("/", "~"))
    name = row.get("name") or _default_name(path)
    name = os.path.normpath(str(name)).replace(os.sep, "/")
    if name.startswith(("/", "..")) or name in (".", ""):
        raise ValueError(f"{place}: the name {name!r} leaves the output folder; give a `name`.")
    if relative:
        path = storage.join(folder, path.replace("#", "%23") if web.is_web(folder) else path)
    version = row.get("version")
    return CatalogueSong(path, name, "" if version is None else str(version))


def _check_scheme(song: CatalogueSong, place: str) -> None:
    """Check that URLs of a song's scheme can be read.

    Raises:
        ImportError, ValueError: if they cannot.
    """
    try:
        storage.filesystem(song.source)
    except (ImportError, ValueError) as reason:
        raise type(reason)(f"{place}: {reason}") from reason


def _default_name(path: str) -> str:
    """Return a path below its root, bucket or host, without the suffix.

    >>> _default_name("s3://bucket/album/01.flac"), _default_name("/music/a.wav")
    ('album/01', 'music/a')
    """
    if web.is_web(path):
        path = web.path_of(path)
    elif storage.is_url(path):
        path = path.split("://", 1)[1].partition("/")[2]
    folder, _, file = path.strip("/").rpartition("/")
    name = without_suffix(file)
    return f"{folder}/{name}" if folder else name


def _json_rows(file: IO[bytes], url: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode())
        except json.JSONDecodeError as reason:
            raise ValueError(f"{url}, row {number} is no JSON: {reason.msg}.") from reason
        if not isinstance(row, dict):
            raise ValueError(f"{url}, row {number} is no JSON object with a path.")
        yield number, row


def _csv_rows(file: IO[bytes], url: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    lines = (line.decode("utf-8-sig" if n == 0 else "utf-8") for n, line in enumerate(file))
    reader = csv.DictReader(lines)
    for row in reader:
        yield reader.line_num, row
    if not reader.fieldnames:
        raise ValueError(f"{url} is empty; expected a header with the column path.")


def _parquet_rows(file: IO[bytes], url: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    table = pyarrow("parquet").ParquetFile(file)
    known = [
        name for name in (*PATH_COLUMNS, "name", "version") if name in table.schema_arrow.names
    ]
    number = 0
    for batch in table.iter_batches(ROWS_AT_ONCE, columns=known or None):
        for row in batch.to_pylist():
            number += 1
            yield number, row


READERS: dict[str, Callable[[IO[bytes], str], Iterator[tuple[int, Mapping[str, Any]]]]] = {
    ".jsonl": _json_rows,
    ".csv": _csv_rows,
    ".parquet": _parquet_rows,
}


def name_key(name: str) -> int:
    """Return a 64-bit hash of a song's name: millions of names fit in memory."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def keys_of(songs: Callable[[], Iterator[CatalogueSong]]) -> np.ndarray:
    """Return the sorted `name_key`s of songs: 8 bytes a song.

    Args:
        songs: yields them from the first one on, at each call.
    Raises:
        ValueError: if there are none, or two would write the same stems; names them.
    """
    keys = np.frombuffer(array("Q", (name_key(song.name) for song in songs())), np.uint64)
    if not len(keys):
        raise ValueError("There are no songs; expected a manifest with a row for each.")
    keys = np.sort(keys)
    twice = keys[1:][keys[1:] == keys[:-1]]
    if len(twice):
        key = int(twice[0])
        alike = [song for song in songs() if name_key(song.name) == key]
        sources = " and ".join(song.address for song in alike[:3])
        raise ValueError(
            f"{sources} would write the same stems ({alike[0].name}); give each a `name`, or "
            "remove one."
        )
    return keys
