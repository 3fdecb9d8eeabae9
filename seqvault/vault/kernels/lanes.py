"""Lanes, compiled: see seqvault/vault/lanes.py for the layout.

0.03 to 0.1 ns a value: a row of lanes is shifted and masked in whole vectors. Shifts must be of two bytes for
that; numba would widen them to eight, hence the intrinsics.
"""

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

__all__ = ["pack_plane", "unpack_plane"]

_U1, _U4, _U15, _U16 = np.uint64(1), np.uint64(4), np.uint64(15), np.uint64(16)


@intrinsic
def _right(_context: Any, _word: Any, _shift: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.lshr(*arguments)

    return types.uint16(types.uint16, types.uint16), generate


@intrinsic
def _left(_context: Any, _word: Any, _shift: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.shl(*arguments)

    return types.uint16(types.uint16, types.uint16), generate


@njit("void(u2[::1], u8, u8, u8, u8, u8, u2[::1])", nogil=True, cache=True, error_model="numpy")
def unpack_plane(words, at, width, lanes, first, last, values):  # type: ignore[no-untyped-def]
    """values[: last - first] = values first..last-1 of the plane of `width` (1..16) bits at words[at]."""
    mask = np.uint16((_U1 << width) - _U1)
    # Where there are no lanes there are no rows either.
    row = first // max(lanes, _U1)
    i = first
    while i < last:
        end = min(last, (row + _U1) * lanes)
        bit = row * width
        shift = bit & _U15
        low = at + (bit >> _U4) * lanes + (i - row * lanes)
        to = i - first
        right, left = np.uint16(shift), np.uint16(_U16 - shift)
        if shift + width <= _U16:
            for j in range(end - i):
                values[to + np.uint64(j)] = _right(words[low + np.uint64(j)], right) & mask
        else:
            high = low + lanes
            for j in range(end - i):
                below = _right(words[low + np.uint64(j)], right)
                values[to + np.uint64(j)] = (below | _left(words[high + np.uint64(j)], left)) & mask
        i = end
        row += _U1


@njit("void(u2[::1], u8, u8, u2[::1], u8)", nogil=True, cache=True)
def pack_plane(values, width, lanes, words, at):  # type: ignore[no-untyped-def]
    """Pack 16 * lanes values of `width` (1..16) bits, cut to them, to the width * lanes words at words[at]."""
    mask = np.uint16((_U1 << width) - _U1)
    for i in range(width * lanes):
        words[at + np.uint64(i)] = 0
    for k in range(16):
        row = np.uint64(k)
        bit = row * width
        shift = bit & _U15
        low = at + (bit >> _U4) * lanes
        left, right = np.uint16(shift), np.uint16(_U16 - shift)
        for j in range(lanes):
            words[low + np.uint64(j)] |= _left(values[row * lanes + np.uint64(j)] & mask, left)
        if shift + width > _U16:
            high = low + lanes
            for j in range(lanes):
                words[high + np.uint64(j)] |= _right(values[row * lanes + np.uint64(j)] & mask, right)
