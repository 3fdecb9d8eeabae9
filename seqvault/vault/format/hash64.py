"""The checksum of every stored byte range: 64 bits, position-dependent, as fast as memory.

    hash64 = mix(sum over words i of mix(word_i + (i + 1) K)  +  mix(seed + bytes K))        modulo 2**64
    mix(x) = x M1;  x ^ x >> 32;  x M2;  x ^ x >> 29

over little-endian 8-byte words, the last one filled up with zeros. `mix` is a bijection, so damage within one
word changes the sum with certainty, and damage anywhere else passes with a chance near 2**-64. Every word is
mixed by itself: the sum has no chain of dependent steps, and both the kernel and this numpy twin vectorise.
"""

import numpy as np

from seqvault.schema import Array

__all__ = ["FACTOR_1", "FACTOR_2", "STEP", "hash64", "hash64_rows"]

# The odd constants of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
STEP = 0x9E3779B97F4A7C15
FACTOR_1 = 0xBF58476D1CE4E5B9
FACTOR_2 = 0x94D049BB133111EB

_CHUNK_WORDS = 1 << 14
_WORD = 0xFFFFFFFFFFFFFFFF


def hash64(data: Array | bytes | bytearray | memoryview, seed: int = 0) -> int:
    """The checksum of bytes.

    Args:
        data: (N,) u1, or any bytes.
        seed: 64 bits mixed in: bytes kept apart from `data` that the checksum covers as well.
    """
    data = np.ascontiguousarray(np.frombuffer(data, "u1"))
    whole = data.size // 8
    total = 0
    for start in range(0, whole, _CHUNK_WORDS):
        count = min(_CHUNK_WORDS, whole - start)
        words = np.frombuffer(data[start * 8 : (start + count) * 8], "<u8")
        places = np.arange(start + 1, start + count + 1, dtype="u8") * np.uint64(STEP)
        total += int(_mix(words + places).sum())
    if data.size % 8:
        total += _mix_one(int.from_bytes(data[whole * 8 :].tobytes(), "little") + (whole + 1) * STEP)
    return _mix_one(total + _mix_one(seed + data.size * STEP))


def hash64_rows(words: Array, seeds: Array) -> Array:
    """The checksums of many short ranges: (K,) u8.

    Args:
        words: (K, W) u8, each row a range.
        seeds: (K,) u8 of each.
    """
    width = words.shape[1]
    places = np.arange(1, width + 1, dtype="u8") * np.uint64(STEP)
    length = np.uint64(8 * width * STEP & _WORD)
    return _mix(_mix(words + places).sum(axis=1, dtype="u8") + _mix(seeds + length))


def _mix(words: Array) -> Array:
    words = words * np.uint64(FACTOR_1)
    words ^= words >> np.uint64(32)
    words *= np.uint64(FACTOR_2)
    words ^= words >> np.uint64(29)
    return words


def _mix_one(word: int) -> int:
    word = word * FACTOR_1 & _WORD
    word ^= word >> 32
    word = word * FACTOR_2 & _WORD
    return word ^ word >> 29
