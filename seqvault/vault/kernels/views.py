"""What numba lacks: arrays at an address, and the bit length of an integer.

A view made here is not bounds-checked and keeps nothing alive: whoever makes one has checked that the bytes
are there.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types  # type: ignore[attr-defined]
from numba.extending import intrinsic

__all__ = ["bit_length", "bytes_at", "view2", "view4", "view8"]


@intrinsic
def _pointer(_context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.uint64), generate


@intrinsic
def bit_length(_context: Any, _value: Any) -> Any:
    """Bits of a u64: 0 for 0, 64 at most."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        zeros = builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))
        return builder.sub(ir.Constant(ir.IntType(64), 64), zeros)

    return types.uint64(types.uint64), generate


@njit(inline="always")
def bytes_at(address, count):  # type: ignore[no-untyped-def]
    """`count` bytes at an address."""
    return carray(_pointer(np.uint64(address)), (count,), np.uint8)


@njit(inline="always")
def view2(address, count):  # type: ignore[no-untyped-def]
    """`count` u2 at an address."""
    return carray(_pointer(np.uint64(address)), (count,), np.uint16)


@njit(inline="always")
def view4(address, count):  # type: ignore[no-untyped-def]
    """`count` u4 at an address."""
    return carray(_pointer(np.uint64(address)), (count,), np.uint32)


@njit(inline="always")
def view8(address, count):  # type: ignore[no-untyped-def]
    """`count` u8 at an address."""
    return carray(_pointer(np.uint64(address)), (count,), np.uint64)
