"""hash64, compiled: the same value as the numpy twin, at the speed of memory."""

import numpy as np
from numba import njit

from seqvault.schema import Array
from seqvault.vault.format.hash64 import FACTOR_1, FACTOR_2, STEP
from seqvault.vault.kernels.compiled import kernel
from seqvault.vault.kernels.views import address_in, bytes_at, view8

__all__ = ["hash64", "hash64_at", "hash64_words"]

_STEP, _FACTOR_1, _FACTOR_2 = np.uint64(STEP), np.uint64(FACTOR_1), np.uint64(FACTOR_2)
_U29, _U32 = np.uint64(29), np.uint64(32)


@njit(inline="always")
def _mix(word):  # type: ignore[no-untyped-def]
    word = word * _FACTOR_1
    word ^= word >> _U32
    word = word * _FACTOR_2
    return word ^ (word >> _U29)


@kernel("u8(u8, u8, u8)")
def hash64_at(address, size, seed):  # type: ignore[no-untyped-def]
    """Checksum of `size` bytes at an address."""
    count = size >> np.uint64(3)
    words = view8(address, count)
    total = np.uint64(0)
    for i in range(count):
        total += _mix(words[np.uint64(i)] + (np.uint64(i) + np.uint64(1)) * _STEP)
    rest = size & np.uint64(7)
    if rest:
        word = np.uint64(0)
        last = bytes_at(address + (size - rest), rest)
        for k in range(rest):
            word |= np.uint64(last[np.uint64(k)]) << (np.uint64(8) * np.uint64(k))
        total += _mix(word + (count + np.uint64(1)) * _STEP)
    return _mix(total + _mix(seed + size * _STEP))


@kernel("u8(u1[::1], u8, u8, u8)")
def hash64_words(data, at, size, seed):  # type: ignore[no-untyped-def]
    """Checksum of data[at : at + size], which the caller knows to exist; `at` a multiple of 8."""
    return hash64_at(address_in(data) + at, size, seed)


def hash64(data: Array | bytes | bytearray | memoryview, seed: int = 0) -> int:
    """The checksum of bytes; see seqvault.vault.format.hash64."""
    flat = np.ascontiguousarray(np.frombuffer(data, "u1"))
    return int(hash64_at(flat.ctypes.data, flat.size, seed))
