"""What a thread needs to decode blocks in kernels: scratch memory, a decompression context."""

import ctypes
import weakref

import numpy as np

from seqvault.vault.kernels.streams import WORK_BYTES
from seqvault.vault.kernels.zstd import LIBRARY

__all__ = ["Scratch"]

# ZSTD_d_format = ZSTD_f_zstd1_magicless
_FORMAT, _MAGICLESS = 1000, 1

LIBRARY.ZSTD_createDCtx.restype = ctypes.c_void_p
LIBRARY.ZSTD_DCtx_setParameter.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
LIBRARY.ZSTD_freeDCtx.argtypes = [ctypes.c_void_p]


class Scratch:
    """One thread's memory for `decode_rows`; not to be shared between threads that read at once.

    Attributes:
        work: u1 scratch memory, touched only as far as blocks are large.
        context: address of the decompression context.
    """

    def __init__(self) -> None:
        self.context: int = LIBRARY.ZSTD_createDCtx()
        # Also runs at interpreter exit, before the library's wrapper is taken down.
        self._finalizer = weakref.finalize(self, LIBRARY.ZSTD_freeDCtx, self.context)
        LIBRARY.ZSTD_DCtx_setParameter(self.context, _FORMAT, _MAGICLESS)
        self.work = np.empty(WORK_BYTES, "u1")

    def close(self) -> None:
        """Free the decompression context; the scratch must not be used after it."""
        self._finalizer()
