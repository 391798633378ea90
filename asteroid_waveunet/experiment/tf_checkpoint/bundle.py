"""Read TensorFlow V2 checkpoints without TensorFlow: variables by name, as NumPy arrays.

A checkpoint NAME consists of an index, NAME.index (see `index_table`), and data files (shards),
NAME.data-00000-of-00001, ... A shard is the concatenated bytes of its tensors, in either byte
order.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from asteroid_waveunet.experiment.tf_checkpoint import index_table
from asteroid_waveunet.experiment.tf_checkpoint.crc32c import masked_crc32c
from asteroid_waveunet.experiment.tf_checkpoint.index_table import MAGIC, ByteOrder, Entry
from asteroid_waveunet.file_utils import expanded

__all__ = ["entries", "locate", "read"]

SUFFIX = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")
NEWEST = re.compile(r'^model_checkpoint_path:\s*"(?:.*[/\\])?(.+)"', re.MULTILINE)
LFS_POINTER = b"version https://git-lfs"

# TensorFlow's DataType -> NumPy's, which lacks bfloat16, quantised numbers, strings and objects.
DTYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 8: "complex64",
    9: "int64", 10: "bool", 17: "uint16", 18: "complex128", 19: "float16", 22: "uint32",
    23: "uint64",
}  # fmt: skip


def read(
    path: str | os.PathLike, verify: bool = False, select: Callable[[str], object] | None = None
) -> dict[str, np.ndarray]:
    """Read the variables of a checkpoint, in native byte order.

    Args:
        path: see `locate`.
        verify: verify the checksums of the variables too; those of the index always are.
        select: returns true for names to read; None for all.
    Raises:
        FileNotFoundError: if a file of the checkpoint is missing.
        ValueError: if the checkpoint is truncated, corrupt, compressed, of another version or of
            another format.
    """
    prefix = locate(path)
    n_shards, byte_order, all_entries = _read_index(prefix)
    chosen = {name: entry for name, entry in all_entries.items() if select is None or select(name)}
    with _naming_file(_index_file(prefix)):
        for name, entry in chosen.items():
            _check_entry(name, entry)
    arrays: dict[str, np.ndarray] = {}
    for shard in sorted({entry.shard for entry in chosen.values()}):
        file = prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{n_shards:05d}")
        in_shard = {name: entry for name, entry in chosen.items() if entry.shard == shard}
        arrays.update(_read_shard(file, in_shard, byte_order, verify))
    return {name: arrays[name] for name in chosen}


def entries(path: str | os.PathLike) -> dict[str, Entry]:
    """Read the index entries of all variables but not their values; raises as `read` does."""
    return _read_index(locate(path))[2]


def locate(path: str | os.PathLike) -> Path:
    """Return the common prefix of a checkpoint's files.

    Args:
        path: the prefix, one of the files (`.index`, `.data-...`, `.meta`), or a folder with one
            checkpoint, or with several and TensorFlow's file `checkpoint` that names the newest.
    Raises:
        FileNotFoundError: if the path or its `.index` does not exist.
        ValueError: if it is another kind of file, or a folder with several checkpoints.
    """
    path = expanded(path)
    prefix = path.parent / SUFFIX.sub("", path.name)
    if _index_file(prefix).is_file():
        return prefix
    if path.is_dir():
        return _newest(path)
    if path.is_file() and prefix != path:
        raise FileNotFoundError(f"{path} needs {_index_file(prefix).name} in the same folder.")
    if path.is_file():
        raise ValueError(f"{path} is not a TensorFlow V2 checkpoint: {_describe(path)}.")
    raise FileNotFoundError(
        f"{_index_file(prefix)} does not exist; expected the common prefix of a checkpoint's files "
        ".index and .data-..., one of these files, or their folder."
    )


def _newest(folder: Path) -> Path:
    """Return the newest checkpoint of a folder."""
    prefixes = sorted(file.with_suffix("") for file in folder.glob("*.index"))
    state = folder / "checkpoint"
    text = state.read_text(encoding="utf-8", errors="replace") if state.is_file() else ""
    if match := NEWEST.search(text):
        # The last part only: it may be an absolute path on the machine that trained it.
        newest = folder / match[1]
        if newest in prefixes:
            return newest
    if len(prefixes) == 1:
        return prefixes[0]
    if not prefixes:
        raise FileNotFoundError(f"Found no TensorFlow checkpoint (*.index) in the folder {folder}.")
    names = ", ".join(prefix.name for prefix in prefixes)
    raise ValueError(f"Found several checkpoints in the folder {folder}; name one of {names}.")


def _index_file(prefix: Path) -> Path:
    return prefix.parent / f"{prefix.name}.index"


def _describe(path: Path) -> str:
    """Describe a file that does not belong to a V2 checkpoint."""
    with path.open("rb") as file:
        start = file.read(len(LFS_POINTER))
        file.seek(-min(len(MAGIC), path.stat().st_size), os.SEEK_END)
        end = file.read()
    if start == LFS_POINTER:
        return "it is a Git LFS pointer to the file; fetch it with `git lfs pull`"
    if end == MAGIC:
        return (
            "it has the older format V1; restore it in TensorFlow and save it with "
            "Saver(write_version=SaverDef.V2)"
        )
    return "expected a file .index and files .data-... of the same name"


@contextlib.contextmanager
def _naming_file(path: Path) -> Iterator[None]:
    """Prefix the reason of a ValueError with the name of the file."""
    try:
        yield
    except ValueError as reason:
        raise ValueError(f"Cannot read {path}: {reason}.") from reason


@contextlib.contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    """Open a file of a checkpoint."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}, a file of the checkpoint, does not exist.")
    with _naming_file(path), path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise ValueError(_describe(path))
        file.seek(0)
        yield file


def _read_shard(
    path: Path, entries: dict[str, Entry], byte_order: ByteOrder, verify: bool
) -> Iterator[tuple[str, np.ndarray]]:
    """Read variables of a shard, after checking that it is large enough."""
    with _open(path) as file:
        available = path.stat().st_size
        needed = max(entry.offset + entry.size for entry in entries.values())
        if needed > available:
            raise ValueError(
                f"it is truncated: it has {available} bytes, expected {needed} or more; copy or "
                "download it again"
            )
        if sum(entry.size for entry in entries.values()) > available:
            raise ValueError("its index is corrupt: variables overlap")
        for name, entry in entries.items():
            file.seek(entry.offset)
            octets = np.fromfile(file, np.uint8, entry.size)
            if verify and masked_crc32c(octets) != entry.checksum:
                raise ValueError(f"it is corrupt: the checksum of {name} does not match")
            stored = np.dtype(DTYPES[entry.dtype]).newbyteorder(byte_order)
            array = octets.view(stored).reshape(entry.shape)
            yield name, array.astype(stored.newbyteorder("="), copy=False)


def _check_entry(name: str, entry: Entry) -> None:
    """Raise ValueError if a variable cannot be read."""
    if entry.sliced:
        raise ValueError(
            f"{name} is saved in slices; restore it in TensorFlow and save it as a whole"
        )
    if entry.dtype not in DTYPES:
        supported = ", ".join(DTYPES.values())
        raise ValueError(f"{name} has TensorFlow's dtype {entry.dtype}; expected {supported}")
    dtype = np.dtype(DTYPES[entry.dtype])
    expected = math.prod(entry.shape) * dtype.itemsize
    if entry.size != expected:
        raise ValueError(
            f"it is corrupt: {name} has {entry.size} bytes, but {dtype} {entry.shape} needs "
            f"{expected}"
        )


def _read_index(prefix: Path) -> tuple[int, ByteOrder, dict[str, Entry]]:
    """Read the number of shards, their byte order, and the entries of all variables."""
    with _open(_index_file(prefix)) as file:
        return index_table.parse(file.read())
