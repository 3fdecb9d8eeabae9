"""What numba lacks: arrays at an address, addresses of arrays, moves of memory, the bit length of an integer.

A view made here is not bounds-checked and keeps nothing alive: whoever makes one has checked that the bytes
are there. numba has most of it, as `carray`, `.ctypes.data`, `.view`, `array[:] = value`, which take
longer to compile.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

__all__ = [
    "address_in",
    "bit_length",
    "bytes_at",
    "memmove",
    "memset",
    "signed8",
    "view2",
    "view4",
    "view8",
]

# Addresses and sizes are plain u8 here: the calling convention is that of pointers.
memmove = types.ExternalFunction("memmove", types.uint64(types.uint64, types.uint64, types.uint64))
memset = types.ExternalFunction("memset", types.uint64(types.uint64, types.int32, types.uint64))


@intrinsic
def address_in(_context: Any, array: Any) -> Any:
    """Where a contiguous array lies."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = make_array(signature.args[0])(context, builder, arguments[0])  # type: ignore[no-untyped-call]
        data = array.data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.uint64(array), generate


@intrinsic
def bit_length(_context: Any, _value: Any) -> Any:
    """Bits of a u64: 0 for 0, 64 at most."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        zeros = builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))
        return builder.sub(ir.Constant(ir.IntType(64), 64), zeros)

    return types.uint64(types.uint64), generate


def _view(dtype: Any) -> Any:
    """(address, count) -> array of so many integers there."""
    made, item_bytes = types.Array(dtype, 1, "C"), dtype.bitwidth // 8

    @intrinsic
    def view(_context: Any, _address: Any, _count: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            address, count = arguments
            array = make_array(made)(context, builder)  # type: ignore[no-untyped-call]
            item = context.get_constant(types.intp, item_bytes)
            data = builder.inttoptr(address, context.get_data_type(dtype).as_pointer())
            populate_array(  # type: ignore[no-untyped-call]
                array, data=data, shape=[count], strides=[item], itemsize=item, meminfo=None
            )
            return array._getvalue()

        return made(types.uint64, types.intp), generate

    return view


bytes_at, view2, view4, view8, signed8 = (
    _view(dtype) for dtype in (types.uint8, types.uint16, types.uint32, types.uint64, types.int64)
)
