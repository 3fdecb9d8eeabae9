"""Where arrays lie, for callers in Python, and counters that threads share."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from seqvault.schema import Array
from seqvault.vault.kernels.compiled import kernel
from seqvault.vault.kernels.views import address_in

__all__ = ["add_atomic", "address_of", "load_atomic"]


def _word(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, ir.IntType(64).as_pointer())


@intrinsic
def add_atomic(_context: Any, _address: Any, _value: Any) -> Any:
    """Add to the word at an address, wrapping; the word's value before. Orders all memory accesses."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("add", _word(builder, arguments[0]), arguments[1], "seq_cst")

    return types.uint64(types.uint64, types.uint64), generate


@intrinsic
def load_atomic(_context: Any, _address: Any) -> Any:
    """The word at an address as it is now; orders all memory accesses."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_word(builder, arguments[0]), "seq_cst", 8)

    return types.uint64(types.uint64), generate


@kernel(*(f"u8({dtype}[::1])" for dtype in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")))
def _address(values):  # type: ignore[no-untyped-def]
    return address_in(values)


def address_of(values: Array) -> int:
    """Where a contiguous one-dimensional array of integers lies.

    numpy's own ways to say so take 2 µs: as long as adding a hundred behaviours to the tails.
    """
    if values.flags.writeable:
        return int(_address(values))
    return int(values.__array_interface__["data"][0])
