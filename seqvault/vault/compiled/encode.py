"""Many blocks from columns, in one call that holds no lock of the interpreter."""

import ctypes
import threading
import weakref
from collections.abc import Mapping

import numpy as np

from seqvault.schema import CODECS, Array, HistorySchema
from seqvault.vault.format.block import MAX_ROWS
from seqvault.vault.format.dictionary import Dictionary
from seqvault.vault.format.items import words_of
from seqvault.vault.format.zstd import HASH_LOG, LEVEL, MIN_MATCH
from seqvault.vault.kernels.encode import encode_many, most_bytes
from seqvault.vault.kernels.pack import PACK_BYTES
from seqvault.vault.kernels.room import COLUMN_ROWS, ROW_BYTES, SHARED_ROWS
from seqvault.vault.kernels.zstd import LIBRARY

__all__ = ["encode_blocks"]

# Room for the first try, in bytes a value; most columns take one.
_USUAL_BYTES = 2

# ZSTD_cParameter and their values.
_PARAMETERS = (
    (100, LEVEL),
    (102, HASH_LOG),
    (105, MIN_MATCH),
    (200, 0),  # content size
    (201, 0),  # checksum
    (202, 0),  # dictionary id
    (10, 1),  # format: magicless
)

LIBRARY.ZSTD_createCCtx.restype = ctypes.c_void_p
LIBRARY.ZSTD_CCtx_setParameter.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
LIBRARY.ZSTD_CCtx_loadDictionary.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
LIBRARY.ZSTD_freeCCtx.argtypes = [ctypes.c_void_p]


class _Contexts:
    """Compression contexts of one thread: one a kind of stream with a dictionary, one for the rest."""

    def __init__(self, trained: tuple[bytes, ...], kinds: int) -> None:
        self.trained = trained
        own = [_context(dictionary) for dictionary in trained if dictionary] + [_context(b"")]
        weakref.finalize(self, _free, own)
        made = iter(own)
        # (address, whether trained) of every kind; the same again, with those that have a dictionary.
        self.planes = np.array([(own[-1], 0)] * (2 * kinds), "u8")
        for kind, dictionary in enumerate(trained[:kinds]):
            if dictionary:
                self.planes[kinds + kind] = next(made), 1


def _context(dictionary: bytes) -> int:
    context: int = LIBRARY.ZSTD_createCCtx()
    for parameter, value in _PARAMETERS:
        LIBRARY.ZSTD_CCtx_setParameter(context, parameter, value)
    if dictionary:
        LIBRARY.ZSTD_CCtx_loadDictionary(context, dictionary, len(dictionary))
    return context


def _free(contexts: list[int]) -> None:
    for context in contexts:
        LIBRARY.ZSTD_freeCCtx(context)


class _Items:
    """The item table of a dictionary, as kernels see it."""

    def __init__(self, dictionary: Dictionary) -> None:
        items = dictionary.items
        assert items is not None
        names, bounds = items.groups()
        self._arrays = names, bounds.astype("u8"), words_of(items.values)
        addresses = [array.ctypes.data for array in self._arrays]
        self.words = np.array([items.key, items.attribute, len(names), *addresses], "u8")


class _Scratch(threading.local):
    """A thread's memory for encoding, touched only as far as blocks are large."""

    def __init__(self) -> None:
        self._contexts: _Contexts | None = None
        self._pack = np.empty(PACK_BYTES, "u1")
        self._rows = np.empty(0, "u1")

    def addresses(self, columns: int) -> tuple[int, int]:
        """Of rows for this many columns, and of pack's scratch."""
        size = (SHARED_ROWS + COLUMN_ROWS * columns) * ROW_BYTES
        if self._rows.size < size:
            self._rows = np.empty(size, "u1")
        return self._rows.ctypes.data, self._pack.ctypes.data

    def planes(self, trained: tuple[bytes, ...], columns: int) -> int:
        """Address of the compression contexts of these dictionaries, kept until others are asked for."""
        contexts = self._contexts
        if contexts is None or contexts.trained is not trained or len(contexts.planes) != 4 * columns:
            contexts = self._contexts = _Contexts(trained, 2 * columns)
        return contexts.planes.ctypes.data


_scratch = _Scratch()
_items: weakref.WeakKeyDictionary[Dictionary, _Items] = weakref.WeakKeyDictionary()


def encode_blocks(
    schema: HistorySchema,
    users: Array,
    starts: Array,
    bounds: Array,
    columns: Mapping[str, Array],
    *,
    schema_id: int | None = None,
    codec: str = "packed",
    dictionary: Dictionary | None = None,
) -> tuple[Array, Array]:
    """Many blocks, one behind the other.

    Args:
        users: (K,) user of each block.
        starts: (K,) rank of its first row in the user's history.
        bounds: (K+1,) ascending; block k holds rows bounds[k]..bounds[k+1]-1, 1 to 65,536, times sorted.
        columns: every column of the schema, (N,) each, in its dtype.
        schema_id: id to name in the blocks; None for the schema's own.
        codec: "packed", or "zstd" for compressed byte planes where they are smaller.
        dictionary: trained dictionaries and item table to write with, made for this schema.

    Returns:
        the bytes, (B,) u1, and where each block begins in them, (K+1,) i8.
    """
    bounds = np.ascontiguousarray(bounds, "u8")
    sizes = np.diff(bounds.astype("i8"))
    assert sizes.size == 0 or (sizes.min() > 0 and sizes.max() <= MAX_ROWS), "blocks of 1..65,536 rows"
    arrays = [np.ascontiguousarray(columns[c.name], c.dtype) for c in schema.columns]
    assert all(bounds[-1] <= a.size for a in arrays)
    described = _described(schema, arrays)
    users, starts = np.ascontiguousarray(users, "u8"), np.ascontiguousarray(starts, "u8")
    ids = (schema.id if schema_id is None else schema_id, dictionary.id if dictionary else 0)
    trained = dictionary.trained if dictionary else ()
    planes = _scratch.planes(trained, len(arrays)) if codec == "zstd" else 0
    table = _table(dictionary)
    given = (*_scratch.addresses(len(arrays)), planes, table.words.ctypes.data if table else 0)
    offsets = np.zeros(len(users) + 1, "u8")
    worst = int(most_bytes(int(sizes.max(initial=0)), len(arrays)))
    out = np.empty(_USUAL_BYTES * len(arrays) * int(sizes.sum()) + worst, "u1")
    done = 0
    while done < len(users):
        done = int(encode_many(users, starts, bounds, described, ids, out, offsets, done, given))
        if done < len(users):
            out = np.concatenate([out[: offsets[done]], np.empty(out.size, "u1")])
    return out[: offsets[-1]].copy(), offsets.astype("i8")


def _described(schema: HistorySchema, arrays: list[Array]) -> Array:
    """(C, 4) u8: address, bytes of a value, whether signed, hint."""
    described = [
        (array.ctypes.data, array.itemsize, array.dtype.kind == "i", CODECS.index(column.codec))
        for array, column in zip(arrays, schema.columns, strict=True)
    ]
    return np.array(described, "u8")


def _table(dictionary: Dictionary | None) -> _Items | None:
    if dictionary is None or dictionary.items is None:
        return None
    if dictionary not in _items:
        _items[dictionary] = _Items(dictionary)
    return _items[dictionary]
