"""TensorFlow's V2 checkpoints without TensorFlow: variables by name, as NumPy arrays.

A checkpoint NAME is a file NAME.index and shards NAME.data-00000-of-00001, ... A shard is its
tensors' bytes, one after another. The index says where, as a LevelDB table:

    table    data blocks, metaindex block, index block, footer
    footer   where the metaindex and the index block are, padding, magic number; 48 bytes
    block    entries, where some of them start (uint32 each), how many those are (uint32)
             then, beyond the block's size: compression (1 byte), checksum of it all (uint32)
    entry    shared, unshared, length (varints), last unshared bytes of the key, value;
             the key's first `shared` bytes are those of the key before it

The index block's values are where the data blocks are: offset and size. Of theirs, the key ""
has the header (BundleHeaderProto), and a variable's name what it is and where it is
(BundleEntryProto), as protocol buffers. Numbers are little-endian, but tensors may be either.

[1] tensorflow/core/util/tensor_bundle/tensor_bundle.cc, tensorflow/core/protobuf/
    tensor_bundle.proto and tensorflow/core/lib/io/format.cc in TensorFlow's repository.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

__all__ = ["Entry", "crc32c", "entries", "locate", "read"]

ByteOrder = Literal["<", ">"]

SUFFIX = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")
NEWEST = re.compile(r'^model_checkpoint_path:\s*"(?:.*[/\\])?(.+)"', re.MULTILINE)
LFS_POINTER = b"version https://git-lfs"
MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
FOOTER_SIZE = 48
TRAILER_SIZE = 5
COMPRESSIONS = {1: "Snappy", 2: "Zstandard"}
VERSION = 1
BYTE_ORDERS: dict[int, ByteOrder] = {0: "<", 1: ">"}

# TensorFlow's DataType -> NumPy's; bfloat16, quantised numbers, strings and objects it has not.
DTYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 8: "complex64",
    9: "int64", 10: "bool", 17: "uint16", 18: "complex128", 19: "float16", 22: "uint32",
    23: "uint64",
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """What the index says of a variable.

    Attributes:
        dtype: TensorFlow's number of it; `DTYPES` has those that can be read.
        shape: of the variable.
        shard: which file holds it.
        offset, size: which of that file's bytes.
        checksum: of them, masked.
        sliced: whether it is spread over several entries.
    """

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    sliced: bool


def read(
    path: str | os.PathLike, verify: bool = False, wanted: Callable[[str], object] | None = None
) -> dict[str, np.ndarray]:
    """The variables of a checkpoint, in the machine's byte order.

    Args:
        path: see `locate`.
        verify: check the variables' checksums too; those of the index always are.
        wanted: which names to read; all of them if None.
    Raises:
        FileNotFoundError: if a file of the checkpoint is not there.
        ValueError: if it is truncated, corrupt, compressed, of another version or no checkpoint.
    """
    prefix = locate(path)
    n_shards, byte_order, found = _index(prefix)
    chosen = {name: entry for name, entry in found.items() if wanted is None or wanted(name)}
    with _telling_of(_index_of(prefix)):
        for name, entry in chosen.items():
            _check_entry(name, entry)
    arrays: dict[str, np.ndarray] = {}
    for shard in sorted({entry.shard for entry in chosen.values()}):
        file = prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{n_shards:05d}")
        of_this = {name: entry for name, entry in chosen.items() if entry.shard == shard}
        arrays.update(_read_shard(file, of_this, byte_order, verify))
    return {name: arrays[name] for name in chosen}


def entries(path: str | os.PathLike) -> dict[str, Entry]:
    """What the index says of each variable, without reading any; raises as `read` does."""
    return _index(locate(path))[2]


def locate(path: str | os.PathLike) -> Path:
    """The name that the files of a checkpoint begin with.

    Args:
        path: that name, one of the files (`.index`, `.data-...`, `.meta`), or a folder with one
            checkpoint, or with several and TensorFlow's file `checkpoint`, which names the newest.
    Raises:
        FileNotFoundError: if there is nothing there, or no `.index`.
        ValueError: if it is another kind of file, or a folder with several checkpoints.
    """
    path = Path(path).expanduser()
    prefix = path.parent / SUFFIX.sub("", path.name)
    if _index_of(prefix).is_file():
        return prefix
    if path.is_dir():
        return _newest(path)
    if path.is_file() and prefix != path:
        raise FileNotFoundError(f"{path} needs {_index_of(prefix).name} beside it.")
    if path.is_file():
        raise ValueError(f"{path} is no TensorFlow V2 checkpoint: {_kind_of(path)}.")
    raise FileNotFoundError(
        f"There is no {_index_of(prefix)}; expected the name that a checkpoint's files .index and "
        ".data-... begin with, one of these files, or their folder."
    )


def _newest(folder: Path) -> Path:
    """The checkpoint of a folder."""
    found = sorted(file.with_suffix("") for file in folder.glob("*.index"))
    state = folder / "checkpoint"
    if state.is_file() and (match := NEWEST.search(state.read_text(errors="replace"))):
        # Only its last part: it may be an absolute path on the machine that it was trained on.
        named = folder / match[1]
        if named in found:
            return named
    if len(found) == 1:
        return found[0]
    if not found:
        raise FileNotFoundError(f"The folder {folder} holds no TensorFlow checkpoint (*.index).")
    names = ", ".join(file.name for file in found)
    raise ValueError(f"The folder {folder} holds several checkpoints; name one of {names}.")


def _index_of(prefix: Path) -> Path:
    return prefix.parent / f"{prefix.name}.index"


def _kind_of(path: Path) -> str:
    """What a file is that is none of a checkpoint's."""
    with path.open("rb") as file:
        start = file.read(len(LFS_POINTER))
        file.seek(-min(len(MAGIC), path.stat().st_size), os.SEEK_END)
        end = file.read()
    if start == LFS_POINTER:
        return "it is a Git LFS pointer to the file; `git lfs pull` fetches it"
    if end == MAGIC:
        return (
            "it is one of the older format V1; restore it in TensorFlow, and save it with "
            "Saver(write_version=SaverDef.V2)"
        )
    return "such have a file .index and files .data-... of the same name"


@contextlib.contextmanager
def _telling_of(path: Path) -> Iterator[None]:
    """What is wrong with a file, as a sentence with its name."""
    try:
        yield
    except ValueError as reason:
        raise ValueError(f"{path} cannot be read: {reason}.") from reason


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    """A file of a checkpoint."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}, which the checkpoint needs.")
    with _telling_of(path), path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise ValueError(_kind_of(path))
        file.seek(0)
        yield file


# The shards.


def _read_shard(
    path: Path, wanted: dict[str, Entry], byte_order: ByteOrder, verify: bool
) -> Iterator[tuple[str, np.ndarray]]:
    """The variables that a shard holds, once it is known that it can hold them."""
    with _reading(path) as file:
        available = path.stat().st_size
        needed = max(entry.offset + entry.size for entry in wanted.values())
        if needed > available:
            raise ValueError(
                f"it is truncated, {available} bytes long instead of {needed} or more; copy or "
                "download it again"
            )
        if sum(entry.size for entry in wanted.values()) > available:
            raise ValueError("its index is corrupt: variables share bytes of it")
        for name, entry in wanted.items():
            file.seek(entry.offset)
            octets = np.fromfile(file, np.uint8, entry.size)
            if verify and _masked(crc32c(octets)) != entry.checksum:
                raise ValueError(f"it is corrupt: the checksum of {name} is another")
            stored = np.dtype(DTYPES[entry.dtype]).newbyteorder(byte_order)
            array = octets.view(stored).reshape(entry.shape)
            yield name, array.astype(stored.newbyteorder("="), copy=False)


def _check_entry(name: str, entry: Entry) -> None:
    """Raises ValueError if a variable is none that can be read."""
    if entry.sliced:
        raise ValueError(f"{name} is saved in slices; restore it and save it whole")
    if entry.dtype not in DTYPES:
        known = ", ".join(DTYPES.values())
        raise ValueError(f"{name} is of TensorFlow's dtype {entry.dtype}; expected {known}")
    dtype = np.dtype(DTYPES[entry.dtype])
    expected = math.prod(entry.shape) * dtype.itemsize
    if entry.size != expected:
        raise ValueError(
            f"it is corrupt: {name} has {entry.size} bytes, but {dtype} {entry.shape} takes "
            f"{expected}"
        )


# The index.


def _index(prefix: Path) -> tuple[int, ByteOrder, dict[str, Entry]]:
    """Number of shards, their byte order, and the variables' entries."""
    with _reading(_index_of(prefix)) as file:
        table = _table(file.read())
        if b"" not in table:
            raise ValueError("it has no header, as a TensorFlow checkpoint's has")
        n_shards, byte_order = _header(table.pop(b""))
        # Slices have keys of their own, which are no names and begin with a zero byte.
        names = [key for key in table if not key.startswith(b"\0")]
        found = {key.decode(errors="backslashreplace"): _entry(table[key]) for key in names}
        for name, entry in found.items():
            if entry.shard >= n_shards:
                raise ValueError(f"{name} is in shard {entry.shard}, but it has {n_shards} of them")
        return n_shards, byte_order, found


def _header(message: bytes) -> tuple[int, ByteOrder]:
    """Number of shards and byte order of a BundleHeaderProto, if its version is known."""
    fields = _fields(message)
    version = (_messages(fields, 3) or [{}])[-1]
    producer, min_consumer = _number(version, 1), _number(version, 2)
    if producer != VERSION or min_consumer > VERSION or 3 in version:  # 3: bad_consumers
        raise ValueError(
            f"its format has the version {producer}, for readers of version {min_consumer} or "
            f"newer; this one reads version {VERSION}, which is all that TensorFlow has written"
        )
    endianness = _number(fields, 2)
    if endianness not in BYTE_ORDERS:
        raise ValueError(f"it is corrupt: its byte order is {endianness}, expected 0 or 1")
    return _number(fields, 1), BYTE_ORDERS[endianness]


def _entry(message: bytes) -> Entry:
    """What a BundleEntryProto says."""
    fields = _fields(message)
    of_shape = (_messages(fields, 2) or [{}])[-1]
    shape = tuple(_number(dimension, 1) for dimension in _messages(of_shape, 2))
    offset, size = _number(fields, 4), _number(fields, 5)
    if max(*shape, offset, size) >= 2**63:
        raise ValueError("it is corrupt: a size is negative")
    return Entry(
        dtype=_number(fields, 1),
        shape=shape,
        shard=_number(fields, 3),
        offset=offset,
        size=size,
        checksum=_number(fields, 6),
        sliced=7 in fields,
    )


def _table(data: bytes) -> dict[bytes, bytes]:
    """The keys and values of all data blocks."""
    if len(data) < FOOTER_SIZE or not data.endswith(MAGIC):
        raise ValueError("it is truncated, or no index of a TensorFlow checkpoint")
    footer = data[-FOOTER_SIZE:]
    _, at = _handle(footer, 0)
    index, _ = _handle(footer, at)
    table: dict[bytes, bytes] = {}
    for _, value in _block(data, *index):
        block, _ = _handle(value, 0)
        for key, message in _block(data, *block):
            if key in table:
                raise ValueError(f"it is corrupt: the name {key!r} comes twice")
            table[key] = message
    return table


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Where a block is, its offset and size; and the position after it."""
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a block."""
    block = _octets(table, offset, size + TRAILER_SIZE)
    compression, checksum = block[size], int.from_bytes(block[size + 1 :], "little")
    if compression:
        raise ValueError(
            f"it is compressed ({COMPRESSIONS.get(compression, f'type {compression}')}), which "
            "TensorFlow's Saver does not do, or corrupt; restore and save it in TensorFlow"
        )
    if _masked(crc32c(np.frombuffer(block[: size + 1], np.uint8))) != checksum:
        raise ValueError("it is corrupt: the checksum of a block is another")
    n_restarts = int.from_bytes(block[max(0, size - 4) : size], "little")
    pairs = _octets(block, 0, size - 4 * (n_restarts + 1))
    at, key = 0, b""
    while at < len(pairs):
        shared, at = _varint(pairs, at)
        unshared, at = _varint(pairs, at)
        length, at = _varint(pairs, at)
        key = _octets(key, 0, shared) + _octets(pairs, at, unshared)
        at += unshared
        yield key, _octets(pairs, at, length)
        at += length


# Protocol buffers.


def _fields(message: bytes) -> dict[int, list[int | bytes]]:
    """The values of each field of a message, by the fields' numbers."""
    fields: dict[int, list[int | bytes]] = {}
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        value: int | bytes
        if kind == 0:
            value, at = _varint(message, at)
        elif kind == 2:
            size, at = _varint(message, at)
            value, at = _octets(message, at, size), at + size
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value, at = int.from_bytes(_octets(message, at, size), "little"), at + size
        else:
            raise ValueError(f"it is corrupt: a field is of the unknown kind {kind}")
        fields.setdefault(number, []).append(value)
    return fields


def _number(fields: dict[int, list[int | bytes]], number: int) -> int:
    """A field's number; 0 if it is not there, as is usual for zeros."""
    value = fields.get(number, [0])[-1]
    if not isinstance(value, int):
        raise ValueError(f"it is corrupt: field {number} is no number")
    return value


def _messages(fields: dict[int, list[int | bytes]], number: int) -> list[dict]:
    """The fields of each message in a field."""
    values = fields.get(number, [])
    if not all(isinstance(value, bytes) for value in values):
        raise ValueError(f"it is corrupt: field {number} is no message")
    return [_fields(value) for value in values if isinstance(value, bytes)]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first; and the position after it.

    >>> _varint(bytes([0b10010110, 0b00000001]), 0)
    (150, 2)
    """
    value = 0
    for shift in range(0, 70, 7):
        (octet,) = _octets(data, at, 1)
        value |= (octet & 0x7F) << shift
        at += 1
        if octet < 0x80:
            return value, at
    raise ValueError("it is corrupt: a number in it has more than 64 bits")


def _octets(data: bytes, start: int, size: int) -> bytes:
    """`size` bytes of some that must have them."""
    if not 0 <= size <= len(data) - start:
        raise ValueError("it is truncated or corrupt: something in it ends early")
    return data[start : start + size]


# The checksum, CRC-32C: the remainder of a polynomial over GF(2), hence linear in the register
# that holds it. So that NumPy can take all words of four bytes at once: a register that begins
# as 0 is, after one word, that word advanced by four zero bytes; and after two pieces, what the
# first piece left, advanced by as many zero bytes as the second piece has, XOR what the second
# leaves by itself. Pairs of words, then pairs of those, ... up to the whole. Zeros in front
# change nothing, so they fill up to a power of two. A register that does not begin as 0 is one
# that does, with it XORed to the first word.

POLYNOMIAL = 0x82F63B78  # Castagnoli's, the lowest bit first
WORDS_AT_ONCE = 1 << 16


def crc32c(octets: np.ndarray) -> int:
    """The CRC-32C of bytes `(n,)`, not masked.

    >>> hex(crc32c(np.frombuffer(b"123456789", np.uint8)))
    '0xe3069283'
    """
    register = 0xFFFFFFFF
    whole = len(octets) // 4
    words = octets[: 4 * whole].view("<u4")
    for start in range(0, whole, WORDS_AT_ONCE):
        register = _after_words(register, words[start : start + WORDS_AT_ONCE])
    for octet in octets[4 * whole :].tolist():
        register ^= octet
        for _ in range(8):
            register = register >> 1 ^ (register & 1) * POLYNOMIAL
    return register ^ 0xFFFFFFFF


def _masked(crc: int) -> int:
    """A checksum as it is stored, so that one of data with checksums in it is as good."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _after_words(register: int, words: np.ndarray) -> int:
    """The register after words `(n,)`."""
    registers = np.zeros(1 << (len(words) - 1).bit_length(), np.uint32)
    pieces = registers[-len(words) :]
    pieces[:] = words
    pieces[0] ^= np.uint32(register)
    registers = _advanced(registers, _table_of_advance(0))
    level = 0
    while len(registers) > 1:
        advance = _table_of_advance(level)
        registers = _advanced(registers[::2], advance) ^ registers[1::2]
        level += 1
    return int(registers[0])


@functools.cache
def _table_of_advance(level: int) -> np.ndarray:
    """Registers of one byte, `(4, 256)` by its place, after 4 * 2 ** level zero bytes."""
    if level:
        half = _table_of_advance(level - 1)
        return _advanced(half, half)
    octets, shifts = np.arange(256, dtype=np.uint32), np.arange(0, 32, 8, dtype=np.uint32)
    registers = octets << shifts[:, None]
    for _ in range(32):
        registers = registers >> 1 ^ (registers & 1) * np.uint32(POLYNOMIAL)
    return registers


def _advanced(registers: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Registers after the zero bytes of a table: by linearity, the XOR over their four bytes."""
    octets = np.ascontiguousarray(registers, "<u4").view(np.uint8).reshape(*registers.shape, 4)
    advanced = table[0].take(octets[..., 0])
    for place in (1, 2, 3):
        advanced ^= table[place].take(octets[..., place])
    return advanced
