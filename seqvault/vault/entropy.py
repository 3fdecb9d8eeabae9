"""What an entropy coder would make of bytes: an estimate in integers, equal in numpy and in kernels."""

import numpy as np

from seqvault.schema import Array

__all__ = ["LOG2", "SHARE_BITS", "byte_bits"]

# log2 of 1..65536 in 1/256 bits; 0 for 0. Rounded once here, so that no floating point is left to differ.
LOG2 = np.zeros(65537, "u4")
LOG2[1:] = np.rint(256 * np.log2(np.arange(1, 65537)))
# A Huffman table costs about this for each symbol that occurs.
SHARE_BITS = 5
_FRAME_BITS = 80


def byte_bits(plane: Array) -> int:
    """Estimated bits of u1 values as one Huffman-coded zstd frame, its header and table included."""
    counts = np.bincount(plane, minlength=256)
    present = counts[counts > 0].astype("u8")
    information = (present * (LOG2[len(plane)] - LOG2[present]).astype("u8")).sum()
    return int(information >> np.uint64(8)) + SHARE_BITS * len(present) + _FRAME_BITS
