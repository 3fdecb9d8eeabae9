"""All rows of a block through the compiled kernels; importing this imports numba."""

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from seqvault.schema import Array
from seqvault.vault.compiled.scratch import Scratch
from seqvault.vault.format.block import MAX_ROWS, BlockHeader
from seqvault.vault.format.damage import BAD_COLUMN, OK, BlockDamage
from seqvault.vault.kernels.decode import decode_rows

__all__ = ["decode_whole"]

_threads = threading.local()


def decode_whole(header: BlockHeader, block: Array, places: Sequence[tuple[int, DTypeLike]]) -> list[Array]:
    """See whole.whole_columns."""
    if header.rows > MAX_ROWS:
        raise BlockDamage(BAD_COLUMN)
    if not hasattr(_threads, "scratch"):
        _threads.scratch = Scratch()
    scratch: Scratch = _threads.scratch
    dtypes = [np.dtype(dtype) for _, dtype in places]
    wanted = np.zeros((len(places), 4), "u8")
    wanted[:, 0] = [column for column, _ in places]
    wanted[:, 1] = [dtype.itemsize for dtype in dtypes]
    wanted[:, 2] = 8 * header.rows * np.arange(len(places))
    out = np.empty(8 * header.rows * len(places), "u1")
    rows = (0, len(block), 0, header.rows)
    code = decode_rows(block, *rows, wanted, out, 0, scratch.work, scratch.context)
    if code != OK:
        raise BlockDamage(int(code))
    ends = wanted[:, 2] + header.rows * wanted[:, 1]
    return [out[at:end].view(dtype) for at, end, dtype in zip(wanted[:, 2], ends, dtypes, strict=True)]
