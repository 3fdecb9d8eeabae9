"""What a thread needs to decode blocks in kernels: scratch memory, a decompression context, dictionaries."""

import ctypes
import weakref
from collections.abc import Sequence

import numpy as np

from seqvault.vault.format.dictionary import Dictionary
from seqvault.vault.kernels.streams import WORK_BYTES
from seqvault.vault.kernels.zstd import LIBRARY

__all__ = ["Scratch"]

# ZSTD_d_format = ZSTD_f_zstd1_magicless
_FORMAT, _MAGICLESS = 1000, 1

LIBRARY.ZSTD_createDCtx.restype = ctypes.c_void_p
LIBRARY.ZSTD_DCtx_setParameter.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
LIBRARY.ZSTD_freeDCtx.argtypes = [ctypes.c_void_p]
LIBRARY.ZSTD_createDDict.restype = ctypes.c_void_p
LIBRARY.ZSTD_createDDict.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
LIBRARY.ZSTD_freeDDict.argtypes = [ctypes.c_void_p]


class Scratch:
    """One thread's memory for `decode_rows`; not to be shared between threads that read at once.

    Args:
        dictionaries: those that blocks may name. What kernels need of one is made once and shared.

    Attributes:
        work: u1 scratch memory, touched only as far as blocks are large.
        context: u8; the address of the decompression context, the number of dictionaries, a record of each.
    """

    def __init__(self, dictionaries: Sequence[Dictionary] = ()) -> None:
        zstd = LIBRARY.ZSTD_createDCtx()
        # Also runs at interpreter exit, before the library's wrapper is taken down.
        self._finalizer = weakref.finalize(self, LIBRARY.ZSTD_freeDCtx, zstd)
        LIBRARY.ZSTD_DCtx_setParameter(zstd, _FORMAT, _MAGICLESS)
        self._loaded = [_loaded(dictionary) for dictionary in dictionaries]
        self.work = np.empty(WORK_BYTES, "u1")
        records = [word for loaded in self._loaded for word in loaded.record]
        self.context = np.array([zstd, len(self._loaded), *records], "u8")

    def close(self) -> None:
        """Free the decompression context; the scratch must not be used after it."""
        self._finalizer()


class _Loaded:
    """A dictionary as kernels read it (see kernels/columns.py)."""

    def __init__(self, dictionary: Dictionary) -> None:
        made = [LIBRARY.ZSTD_createDDict(d, len(d)) if d else 0 for d in dictionary.trained]
        weakref.finalize(self, _free, [address for address in made if address])
        self._trained = np.array(made, "u8")
        items = dictionary.items
        self._values = np.ascontiguousarray(items.values) if items else np.empty(0, "u1")
        self._attributes = np.ascontiguousarray(items.attributes) if items else np.empty(0, "u1")
        tables = [(array.ctypes.data, array.itemsize) for array in (self._values, self._attributes)]
        self.record = [
            dictionary.id,
            len(made),
            self._trained.ctypes.data,
            self._values.size,
            *tables[0],
            *tables[1],
        ]


def _free(dictionaries: list[int]) -> None:
    for dictionary in dictionaries:
        LIBRARY.ZSTD_freeDDict(dictionary)


_cache: weakref.WeakKeyDictionary[Dictionary, _Loaded] = weakref.WeakKeyDictionary()


def _loaded(dictionary: Dictionary) -> _Loaded:
    if dictionary not in _cache:
        _cache[dictionary] = _Loaded(dictionary)
    return _cache[dictionary]
