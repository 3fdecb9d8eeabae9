"""What an entropy coder would make of bytes: an estimate in integers, equal in numpy and in kernels."""

import numpy as np

from seqvault.schema import Array

__all__ = ["FRACTION", "FRAME_BITS", "SYMBOL_BITS", "byte_bits"]

# 256 log2(1 + i / 256), rounded once here, so that no floating point is left to differ.
FRACTION = np.rint(256 * np.log2(1 + np.arange(256) / 256)).astype("u4")
# A Huffman table costs about this for each symbol that occurs.
SYMBOL_BITS = 5
FRAME_BITS = 80


def byte_bits(plane: Array) -> int:
    """Estimated bits of u1 values as one zstd frame, its header and table included."""
    counts = np.bincount(plane, minlength=256)
    present = counts[counts > 0].astype("u8")
    information = (present * (_log2(np.array([len(plane)])) - _log2(present)).astype("u8")).sum()
    return int(information >> np.uint64(8)) + SYMBOL_BITS * len(present) + FRAME_BITS


def _log2(counts: Array) -> Array:
    """256 log2 of 1..65536, from the highest nine bits."""
    exponent = np.frexp(counts)[1].astype("i8") - 1
    log2: Array = 256 * exponent + FRACTION[(counts.astype("i8") << 8 >> exponent) - 256]
    return log2
