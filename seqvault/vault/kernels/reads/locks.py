"""The readers' side of the lock, taken and released inside compiled code, without the GIL.

    word 0     readers that look at index and tails now; WRITER is added while a writer changes them
    word 8     the epoch
    word 16    reads begun in an even epoch that have not ended
    word 24    the same for odd epochs

64 bytes lie between them: threads on two cores do not fight over a cache line that only one of them wants.
"""

import numpy as np
from numba import njit

from seqvault.vault.kernels.compiled import kernel
from seqvault.vault.kernels.reads.memory import add_atomic, load_atomic

__all__ = ["BUSY", "EPOCH", "PINS", "WRITER", "advance", "end", "enter", "leave", "quiet", "seize"]

EPOCH, PINS = 8, 16
WRITER = np.uint64(1 << 63)
BUSY = np.uint64(2)

_U1 = np.uint64(1)
_LESS = np.uint64(0xFFFFFFFFFFFFFFFF)
_EPOCH_BYTES, _PIN_BYTES, _LINE_BYTES = np.uint64(8 * EPOCH), np.uint64(8 * PINS), np.uint64(64)
# A few microseconds: most exclusive sections end within them, and sleeping takes longer.
_SPINS = 4000


@njit
def enter(lock):  # type: ignore[no-untyped-def]
    """Begin a read that looks at index and tails: the parity to end it with, or BUSY: a writer stays in."""
    spins = 0
    while add_atomic(lock, _U1) >= WRITER:
        add_atomic(lock, _LESS)
        while load_atomic(lock) >= WRITER:
            spins += 1
            if spins > _SPINS:
                return BUSY
    parity = load_atomic(lock + _EPOCH_BYTES) & _U1
    add_atomic(lock + _PIN_BYTES + parity * _LINE_BYTES, _U1)
    return parity


@njit
def leave(lock):  # type: ignore[no-untyped-def]
    """Stop looking; what the read copied stays readable until it ends."""
    add_atomic(lock, _LESS)


@njit
def end(lock, parity):  # type: ignore[no-untyped-def]
    """End a read: files it uses may be closed from now on."""
    add_atomic(lock + _PIN_BYTES + parity * _LINE_BYTES, _LESS)


@kernel("void(u8, u8)")
def seize(lock, amount):  # type: ignore[no-untyped-def]
    """Add WRITER: turn new readers away; or add it again: let them in (it wraps)."""
    add_atomic(lock, amount)


@kernel("u8(u8)")
def advance(lock):  # type: ignore[no-untyped-def]
    """Begin the next epoch; the parity of the one before."""
    return add_atomic(lock + _EPOCH_BYTES, _U1) & _U1


@kernel("b1(u8, u8)")
def quiet(word, value):  # type: ignore[no-untyped-def]
    """Whether the word at an address becomes `value` within a few microseconds."""
    spins = 0
    while load_atomic(word) != value and spins < _SPINS:
        spins += 1
    return load_atomic(word) == value
