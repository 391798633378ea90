"""Write valid and invalid TensorFlow V2 checkpoints.

Slow and simple; shares no code with the reader, both follow the description of the format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

MAGIC = 0xDB4775248B80FB57
DTYPES = {
    "float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "complex64": 8,
    "int64": 9, "bool": 10, "uint16": 17, "complex128": 18, "float16": 19, "uint32": 22,
    "uint64": 23,
}  # fmt: skip


def unchanged(contents: bytes) -> bytes:
    return contents


def write(
    prefix: Path,
    variables: Mapping[str, np.ndarray],
    shards: int = 1,
    big_endian: bool = False,
    version: bytes | None = None,
    compression: int = 0,
    block_size: int = 300,
    restart_interval: int = 16,
    checksums: bool = True,
    edit: Callable[[str, dict[int, int | bytes]], None] = lambda name, entry: None,
    mutate: Callable[[bytes], bytes] = unchanged,
) -> Path:
    """Write a checkpoint with the given variables, distributed over its shards in turn.

    Args:
        version: VersionDef message; None for that of TensorFlow.
        compression: declared type of blocks, which are never compressed.
        block_size: bytes after which a data block ends.
        restart_interval: number of keys after which one is stored in full.
        checksums: False writes wrong checksums of tensors, which is faster.
        edit: modifies the fields of an entry before it is written; shape is field 2.
        mutate: modifies a data block before its checksum is computed.
    Returns:
        The prefix.
    """
    prefix.parent.mkdir(parents=True, exist_ok=True)
    data = [b""] * shards
    pairs = [(b"", header(shards, big_endian, field(1, 1) if version is None else version))]
    for number, name in enumerate(sorted(variables)):
        array, shard = np.asarray(variables[name]), number % shards
        stored = array.astype(array.dtype.newbyteorder(">" if big_endian else "<")).tobytes()
        entry: dict[int, int | bytes] = {
            1: DTYPES[array.dtype.name],
            2: shape(array.shape),
            3: shard,
            4: len(data[shard]),
            5: len(stored),
            6: masked(crc32c(stored if checksums else b"")).to_bytes(4, "little"),
        }
        edit(name, entry)
        data[shard] += stored
        pairs.append((name.encode(), message(entry)))
    for shard, content in enumerate(data):
        Path(f"{prefix}.data-{shard:05d}-of-{shards:05d}").write_bytes(content)
    index = table(pairs, compression, block_size, restart_interval, mutate)
    Path(f"{prefix}.index").write_bytes(index)
    return prefix


def header(shards: int, big_endian: bool, version: bytes) -> bytes:
    return field(1, shards) + field(2, int(big_endian)) + field(3, version)


def shape(sizes: tuple[int, ...]) -> bytes:
    return b"".join(field(2, field(1, size)) for size in sizes)


def message(fields: Mapping[int, int | bytes]) -> bytes:
    """Encode fields in order; number 6 has four bytes, like the checksum of an entry."""
    return b"".join(
        varint(number << 3 | 5) + value if number == 6 else field(number, value)
        for number, value in fields.items()
    )


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    octets = []
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*octets, value])


def table(
    pairs: list[tuple[bytes, bytes]],
    compression: int = 0,
    block_size: int = 300,
    restart_interval: int = 16,
    mutate: Callable[[bytes], bytes] = unchanged,
) -> bytes:
    """Encode data blocks, an empty metaindex, the index of the blocks and the footer."""
    written, handles, open_pairs = b"", [], []
    for number, pair in enumerate(pairs):
        open_pairs.append(pair)
        full = sum(len(key) + len(value) for key, value in open_pairs) >= block_size
        if full or number == len(pairs) - 1:
            contents = mutate(block(open_pairs, restart_interval))
            handles.append((pair[0], varint(len(written)) + varint(len(contents))))
            written += sealed(contents, compression)
            open_pairs = []
    ends = b""
    for contents in (block([], 1), block(handles, 1)):
        ends += varint(len(written)) + varint(len(contents))
        written += sealed(contents, compression)
    return written + ends.ljust(40, b"\0") + MAGIC.to_bytes(8, "little")


def block(pairs: list[tuple[bytes, bytes]], restart_interval: int) -> bytes:
    written, restarts, last = b"", [], b""
    for number, (key, value) in enumerate(pairs):
        shared = 0
        if number % restart_interval == 0:
            restarts.append(len(written))
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        written += varint(shared) + varint(len(key) - shared) + varint(len(value))
        written += key[shared:] + value
        last = key
    numbers = [*(restarts or [0]), len(restarts or [0])]
    return written + b"".join(number.to_bytes(4, "little") for number in numbers)


def sealed(contents: bytes, compression: int = 0) -> bytes:
    """Append the trailer to a block."""
    contents += bytes([compression])
    return contents + masked(crc32c(contents)).to_bytes(4, "little")


def after_octet(register: int) -> int:
    for _ in range(8):
        register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register


AFTER_OCTET = [after_octet(octet) for octet in range(256)]


def crc32c(octets: bytes) -> int:
    """Compute the CRC-32C byte by byte."""
    register = 0xFFFFFFFF
    for octet in octets:
        register = register >> 8 ^ AFTER_OCTET[(register ^ octet) & 0xFF]
    return register ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    rotated = crc >> 15 | (crc & 0x7FFF) << 17
    return (rotated + 0xA282EAD8) % 2**32
