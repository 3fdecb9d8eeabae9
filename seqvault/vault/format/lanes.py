"""Bit packing that reads back at the speed of copying: sixteen rows over parallel lanes.

`count` values of `width` bits are laid out in lanes = ceil(count / 16) columns and 16 rows, row after row, so
value i stands in row i // lanes, lane i % lanes. A lane is a string of 16 * width bits in u2 words, and word
k of all lanes lies side by side:

             lane 0     lane 1     lane 2    ...
    word 0  +----------+----------+----------+
            | row 0, 1 | row 0, 1 | row 0, 1 |     e.g. width 11: bits 0..10 row 0, bits 11..15 begin row 1
    word 1  +----------+----------+----------+
            | row 1, 2 | ...

Unpacking a row is one shift and mask of consecutive words, the same for all lanes: it vectorises for any
width, and any range of rows is read without the others. Widths above 16 are cut into planes of 16 bits,
lowest first. Size: 2 * width * lanes bytes. This is the numpy twin of kernels/lanes.py. Source of the
layout's idea: FastLanes (Afroozeh and Boncz, VLDB 2023).
"""

import numpy as np

from seqvault.schema import Array

__all__ = ["lane_words", "pack_lanes", "unpack_lanes"]

_ROWS = 16


def lane_words(count: int, width: int) -> int:
    """u2 words that `count` values of `width` bits take."""
    return -(-count // _ROWS) * width


def pack_lanes(values: Array, width: int) -> Array:
    """u8 values, cut to their lowest `width` bits, as u2 words."""
    lanes = -(-len(values) // _ROWS)
    grid = np.zeros(lanes * _ROWS, "u8")
    grid[: len(values)] = values
    planes = [_pack_plane(grid.reshape(_ROWS, lanes), at, min(16, width - at)) for at in range(0, width, 16)]
    return np.concatenate([np.empty(0, "<u2"), *planes])


def unpack_lanes(words: Array, count: int, width: int, first: int, last: int) -> Array:
    """Values first..last-1, as u8, of `count` packed in `width` bits each."""
    lanes = -(-count // _ROWS)
    values = np.zeros(lanes * _ROWS, "u8")
    for at in range(0, width, 16):
        plane = words[at * lanes : min(at + 16, width) * lanes]
        values |= _unpack_plane(plane, lanes, min(16, width - at)) << np.uint64(at)
    return values[first:last]


def _pack_plane(grid: Array, at: int, width: int) -> Array:
    words = np.zeros((width, grid.shape[1]), "u8")
    cut = (grid >> np.uint64(at)) & np.uint64((1 << width) - 1)
    for row in range(_ROWS):
        word, shift = divmod(row * width, 16)
        words[word] |= cut[row] << np.uint64(shift)
        if shift + width > 16:
            words[word + 1] |= cut[row] >> np.uint64(16 - shift)
    return words.astype("<u2").reshape(-1)


def _unpack_plane(plane: Array, lanes: int, width: int) -> Array:
    words = np.zeros((width + 1, lanes), "u8")
    words[:width] = plane.reshape(width, lanes)
    rows = np.empty((_ROWS, lanes), "u8")
    for row in range(_ROWS):
        word, shift = divmod(row * width, 16)
        both = words[word] | words[word + 1] << np.uint64(16)
        rows[row] = (both >> np.uint64(shift)) & np.uint64((1 << width) - 1)
    return rows.reshape(-1)
