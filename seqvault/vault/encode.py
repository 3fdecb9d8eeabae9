"""Many blocks from columns, in one call that holds no lock of the interpreter."""

import ctypes
import threading
import weakref
from collections.abc import Mapping

import numpy as np

from seqvault.schema import CODECS, Array, HistorySchema
from seqvault.vault.block import MAX_ROWS
from seqvault.vault.kernels.choose import COLUMN_ROWS, ROW_BYTES, SHARED_ROWS
from seqvault.vault.kernels.encode import encode_many, most_bytes
from seqvault.vault.kernels.pack import PACK_BYTES
from seqvault.vault.kernels.zstd import LIBRARY
from seqvault.vault.zstd import LEVEL

__all__ = ["encode_blocks"]

# Room for the first try, in bytes a value; most columns take one.
_USUAL_BYTES = 2

# ZSTD_cParameter
_LEVEL, _CONTENT_SIZE, _CHECKSUM, _DICT_ID, _FORMAT = 100, 200, 201, 202, 10
_MAGICLESS = 1

LIBRARY.ZSTD_createCCtx.restype = ctypes.c_void_p
LIBRARY.ZSTD_CCtx_setParameter.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
LIBRARY.ZSTD_freeCCtx.argtypes = [ctypes.c_void_p]


class _Scratch(threading.local):
    """A thread's memory for encoding, touched only as far as blocks are large, and its compression context."""

    def __init__(self) -> None:
        self.zstd = LIBRARY.ZSTD_createCCtx()
        for parameter, value in ((_LEVEL, LEVEL), (_CONTENT_SIZE, 0), (_CHECKSUM, 0), (_DICT_ID, 0)):
            LIBRARY.ZSTD_CCtx_setParameter(self.zstd, parameter, value)
        LIBRARY.ZSTD_CCtx_setParameter(self.zstd, _FORMAT, _MAGICLESS)
        weakref.finalize(self, LIBRARY.ZSTD_freeCCtx, self.zstd)
        self.pack = np.empty(PACK_BYTES, "u1")
        self.rows = np.empty(0, "u1")

    def addresses(self, columns: int) -> Array:
        """Addresses of rows for this many columns, and of pack's scratch."""
        size = (SHARED_ROWS + COLUMN_ROWS * columns) * ROW_BYTES
        if self.rows.size < size:
            self.rows = np.empty(size, "u1")
        return np.array([self.rows.ctypes.data, self.pack.ctypes.data], "u8")


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
        bounds: (K+1,) ascending; block k holds rows bounds[k]..bounds[k+1]-1, 1 to 65,536 of them, times sorted.
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
    described = np.array(
        [
            (a.ctypes.data, a.itemsize, a.dtype.kind == "i", CODECS.index(c.codec))
            for a, c in zip(arrays, schema.columns, strict=True)
        ],
        "u8",
    )
    users, starts = np.ascontiguousarray(users, "u8"), np.ascontiguousarray(starts, "u8")
    ids = (schema.id if schema_id is None else schema_id, 0)
    zstd = _scratch.zstd if codec == "zstd" else 0
    offsets = np.zeros(len(users) + 1, "u8")
    worst = int(most_bytes(int(sizes.max(initial=0)), len(arrays)))
    out = np.empty(_USUAL_BYTES * len(arrays) * int(sizes.sum()) + worst, "u1")
    done = 0
    while done < len(users):
        done = encode_many(
            users, starts, bounds, described, ids, zstd, out, offsets, done, _scratch.addresses(len(arrays))
        )
        if done < len(users):
            out = np.concatenate([out[: offsets[done]], np.empty(out.size, "u1")])
    return out[: offsets[-1]].copy(), offsets.astype("i8")
