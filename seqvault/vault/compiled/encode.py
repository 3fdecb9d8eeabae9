"""Many blocks from columns, in one call that holds no lock of the interpreter."""

import ctypes
import threading
import weakref
from collections.abc import Mapping

import numpy as np

from seqvault.schema import CODECS, Array, HistorySchema
from seqvault.vault.format.block import MAX_ROWS
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
LIBRARY.ZSTD_freeCCtx.argtypes = [ctypes.c_void_p]


class _Context:
    """A compression context."""

    def __init__(self) -> None:
        self.address: int = LIBRARY.ZSTD_createCCtx()
        weakref.finalize(self, LIBRARY.ZSTD_freeCCtx, self.address)
        for parameter, value in _PARAMETERS:
            LIBRARY.ZSTD_CCtx_setParameter(self.address, parameter, value)


class _Scratch(threading.local):
    """A thread's memory for encoding, touched only as far as blocks are large."""

    def __init__(self) -> None:
        self._context: _Context | None = None
        self._pack = np.empty(PACK_BYTES, "u1")
        self._rows = np.empty(0, "u1")

    def addresses(self, columns: int) -> tuple[int, int]:
        """Of rows for this many columns, and of pack's scratch."""
        size = (SHARED_ROWS + COLUMN_ROWS * columns) * ROW_BYTES
        if self._rows.size < size:
            self._rows = np.empty(size, "u1")
        return self._rows.ctypes.data, self._pack.ctypes.data

    def zstd(self) -> int:
        """Address of a compression context."""
        if self._context is None:
            self._context = _Context()
        return self._context.address


_scratch = _Scratch()


def encode_blocks(
    schema: HistorySchema,
    users: Array,
    starts: Array,
    bounds: Array,
    columns: Mapping[str, Array],
    *,
    schema_id: int | None = None,
    codec: str = "packed",
) -> tuple[Array, Array]:
    """Many blocks, one behind the other.

    Args:
        users: (K,) user of each block.
        starts: (K,) rank of its first row in the user's history.
        bounds: (K+1,) ascending; block k holds rows bounds[k]..bounds[k+1]-1, 1 to 65,536, times sorted.
        columns: every column of the schema, (N,) each, in its dtype.
        schema_id: id to name in the blocks; None for the schema's own.
        codec: "packed", or "zstd" for compressed byte planes where they are smaller.

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
    schema_id = schema.id if schema_id is None else schema_id
    given = (*_scratch.addresses(len(arrays)), _scratch.zstd() if codec == "zstd" else 0)
    offsets = np.zeros(len(users) + 1, "u8")
    worst = int(most_bytes(int(sizes.max(initial=0)), len(arrays)))
    out = np.empty(_USUAL_BYTES * len(arrays) * int(sizes.sum()) + worst, "u1")
    done = 0
    while done < len(users):
        done = int(encode_many(users, starts, bounds, described, schema_id, out, offsets, done, given))
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
