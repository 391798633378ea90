"""Index file of a TensorFlow V2 checkpoint: a LevelDB table of protocol buffers.

    table    data blocks, metaindex block, index block, footer
    footer   positions of the metaindex and the index block, padding, magic number; 48 bytes
    block    entries, positions of some entries (uint32 each), their number (uint32);
             followed by a compression type (1 byte) and a checksum of both (uint32)
    entry    shared, unshared, length (varints), last unshared bytes of the key, value;
             the first `shared` bytes of the key are those of the previous key

The values of the index block are offsets and sizes of the data blocks. In the data blocks, the
key "" holds the header (BundleHeaderProto), and the name of a variable its description and
position (BundleEntryProto), as protocol buffers. Numbers are little-endian.

[1] tensorflow/core/util/tensor_bundle/tensor_bundle.cc, tensorflow/core/protobuf/
    tensor_bundle.proto and tensorflow/core/lib/io/format.cc in TensorFlow's repository.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from asteroid_waveunet.experiment.tf_checkpoint.crc32c import masked_crc32c

__all__ = ["MAGIC", "ByteOrder", "Entry", "parse"]

ByteOrder = Literal["<", ">"]

MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
FOOTER_SIZE = 48
TRAILER_SIZE = 5
COMPRESSIONS = {1: "Snappy", 2: "Zstandard"}
VERSION = 1
BYTE_ORDERS: dict[int, ByteOrder] = {0: "<", 1: ">"}


@dataclass(frozen=True)
class Entry:
    """Index entry of a variable.

    Attributes:
        dtype: TensorFlow's DataType number; see `bundle.DTYPES`.
        shape: of the variable.
        shard: number of the data file.
        offset, size: position in the data file, in bytes.
        checksum: masked CRC-32C of these bytes.
        sliced: the variable is spread over several entries.
    """

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    sliced: bool


def parse(data: bytes) -> tuple[int, ByteOrder, dict[str, Entry]]:
    """Return the number of shards, their byte order, and the entries of all variables.

    Raises:
        ValueError: if the index is truncated, corrupt, compressed or of another version.
    """
    table = _table(data)
    if b"" not in table:
        raise ValueError("it lacks the header of a TensorFlow checkpoint")
    n_shards, byte_order = _header(table.pop(b""))
    # Slices have separate keys, which begin with a zero byte.
    names = [key for key in table if not key.startswith(b"\0")]
    entries = {key.decode(errors="backslashreplace"): _entry(table[key]) for key in names}
    for name, entry in entries.items():
        if entry.shard >= n_shards:
            raise ValueError(f"{name} is in shard {entry.shard}, but there are only {n_shards}")
    return n_shards, byte_order, entries


def _header(message: bytes) -> tuple[int, ByteOrder]:
    """Parse the number of shards and byte order of a BundleHeaderProto of a known version."""
    fields = _fields(message)
    version = (_messages(fields, 3) or [{}])[-1]
    producer, min_consumer = _number(version, 1), _number(version, 2)
    if producer != VERSION or min_consumer > VERSION or 3 in version:  # 3: bad_consumers
        raise ValueError(
            f"its format version is {producer} and needs a reader of version {min_consumer}; "
            f"expected version {VERSION}, the only one that TensorFlow has written"
        )
    endianness = _number(fields, 2)
    if endianness not in BYTE_ORDERS:
        raise ValueError(f"it is corrupt: its byte order is {endianness}, expected 0 or 1")
    return _number(fields, 1), BYTE_ORDERS[endianness]


def _entry(message: bytes) -> Entry:
    """Parse a BundleEntryProto."""
    fields = _fields(message)
    shape_fields = (_messages(fields, 2) or [{}])[-1]
    shape = tuple(_number(dimension, 1) for dimension in _messages(shape_fields, 2))
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
    """Parse the keys and values of all data blocks."""
    if len(data) < FOOTER_SIZE or not data.endswith(MAGIC):
        raise ValueError("it is truncated or not the index of a TensorFlow checkpoint")
    footer = data[-FOOTER_SIZE:]
    _, at = _handle(footer, 0)
    index, _ = _handle(footer, at)
    table: dict[bytes, bytes] = {}
    for _, value in _block(data, *index):
        block, _ = _handle(value, 0)
        for key, message in _block(data, *block):
            if key in table:
                raise ValueError(f"it is corrupt: the name {key!r} occurs twice")
            table[key] = message
    return table


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Parse a block's offset and size; return them and the position after them."""
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a block."""
    block = _octets(table, offset, size + TRAILER_SIZE)
    compression, checksum = block[size], int.from_bytes(block[size + 1 :], "little")
    if compression:
        raise ValueError(
            f"it is compressed ({COMPRESSIONS.get(compression, f'type {compression}')}), unlike "
            "checkpoints of TensorFlow's Saver, or corrupt; restore and save it in TensorFlow"
        )
    if masked_crc32c(np.frombuffer(block[: size + 1], np.uint8)) != checksum:
        raise ValueError("it is corrupt: the checksum of a block does not match")
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
    """Parse the values of each field of a message, by field number."""
    fields: dict[int, list[int | bytes]] = {}
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire_type = key >> 3, key & 7
        value: int | bytes
        if wire_type == 0:
            value, at = _varint(message, at)
        elif wire_type == 2:
            size, at = _varint(message, at)
            value, at = _octets(message, at, size), at + size
        elif wire_type in (1, 5):
            size = 8 if wire_type == 1 else 4
            value, at = int.from_bytes(_octets(message, at, size), "little"), at + size
        else:
            raise ValueError(f"it is corrupt: a field has the unknown wire type {wire_type}")
        fields.setdefault(number, []).append(value)
    return fields


def _number(fields: dict[int, list[int | bytes]], number: int) -> int:
    """Return the last number in a field; 0, the default, if it is missing."""
    value = fields.get(number, [0])[-1]
    if not isinstance(value, int):
        raise ValueError(f"it is corrupt: field {number} is not a number")
    return value


def _messages(fields: dict[int, list[int | bytes]], number: int) -> list[dict]:
    """Parse the messages in a field."""
    values = fields.get(number, [])
    if not all(isinstance(value, bytes) for value in values):
        raise ValueError(f"it is corrupt: field {number} is not a message")
    return [_fields(value) for value in values if isinstance(value, bytes)]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Parse a number in groups of seven bits, lowest first; return it and the position after it.

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
    raise ValueError("it is corrupt: a number has more than 64 bits")


def _octets(data: bytes, start: int, size: int) -> bytes:
    """Return `size` bytes from `start`; raise ValueError if there are fewer."""
    if not 0 <= size <= len(data) - start:
        raise ValueError("it is truncated or corrupt: unexpected end of data")
    return data[start : start + size]
