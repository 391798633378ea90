"""CRC-32C checksums, vectorised with NumPy.

CRC-32C is the remainder of a polynomial over GF(2), hence linear in the register that holds it.
This lets NumPy process all four-byte words at once: with an initial register of 0, the register
after one word is that word advanced by four zero bytes; the register after two pieces is that of
the first piece, advanced by as many zero bytes as the second piece has, XOR that of the second.
Words are merged in pairs, then pairs of pairs, up to the whole. Leading zeros change nothing and
pad to a power of two. A nonzero initial register is XORed to the first word.
"""

from __future__ import annotations

import functools

import numpy as np

__all__ = ["crc32c", "masked_crc32c"]

POLYNOMIAL = 0x82F63B78  # Castagnoli's, the lowest bit first
WORDS_AT_ONCE = 1 << 16


def crc32c(octets: np.ndarray) -> int:
    """Return the unmasked CRC-32C of bytes `(n,)`.

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


def masked_crc32c(octets: np.ndarray) -> int:
    """Return the CRC-32C of bytes `(n,)` as LevelDB stores it.

    The mask avoids computing the checksum of data that contains checksums.
    """
    crc = crc32c(octets)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _after_words(register: int, words: np.ndarray) -> int:
    """Return the register after words `(n,)`."""
    registers = np.zeros(1 << (len(words) - 1).bit_length(), np.uint32)
    pieces = registers[-len(words) :]
    pieces[:] = words
    pieces[0] ^= np.uint32(register)
    registers = _advance(registers, _advance_table(0))
    level = 0
    while len(registers) > 1:
        advance = _advance_table(level)
        registers = _advance(registers[::2], advance) ^ registers[1::2]
        level += 1
    return int(registers[0])


@functools.cache
def _advance_table(level: int) -> np.ndarray:
    """Return registers `(4, 256)` of each byte by position, after 4 * 2 ** level zero bytes."""
    if level:
        half = _advance_table(level - 1)
        return _advance(half, half)
    octets, shifts = np.arange(256, dtype=np.uint32), np.arange(0, 32, 8, dtype=np.uint32)
    registers = octets << shifts[:, None]
    for _ in range(32):
        registers = registers >> 1 ^ (registers & 1) * np.uint32(POLYNOMIAL)
    return registers


def _advance(registers: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Advance registers by the zero bytes of a table: the XOR over their four bytes."""
    octets = np.ascontiguousarray(registers, "<u4").view(np.uint8).reshape(*registers.shape, 4)
    advanced = table[0].take(octets[..., 0])
    for place in (1, 2, 3):
        advanced ^= table[place].take(octets[..., place])
    return advanced
