"""libzstd inside kernels: the functions of the library that the `zstandard` package carries.

Its `_cffi` extension exports libzstd whole (`backend_c` hides it). Each address is registered with LLVM under
a name of ours, so compiled code calls it without a wrapper and cached code finds it in the next process.
Pointers and sizes pass as u8.
"""

import ctypes
import importlib.util

import llvmlite.binding
from numba import types

__all__ = ["LIBRARY", "ZSTD_compress2", "ZSTD_decompressDCtx"]


def _library() -> ctypes.CDLL:
    found = importlib.util.find_spec("zstandard._cffi")
    if found is None or found.origin is None:
        raise ImportError("zstandard was built without its _cffi extension: the kernels cannot reach libzstd")
    return ctypes.CDLL(found.origin)


LIBRARY = _library()


def _function(name: str, arguments: int) -> types.ExternalFunction:
    address = ctypes.cast(getattr(LIBRARY, name), ctypes.c_void_p).value
    llvmlite.binding.add_symbol(f"sv_{name}", address)
    return types.ExternalFunction(f"sv_{name}", types.uint64(*[types.uint64] * arguments))


# Each: context, destination, its size, source, its size -> bytes, or an error: a huge number.
ZSTD_compress2 = _function("ZSTD_compress2", 5)
ZSTD_decompressDCtx = _function("ZSTD_decompressDCtx", 5)
