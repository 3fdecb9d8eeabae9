"""Lanes, compiled: see seqvault/vault/format/lanes.py for the layout.

0.03 to 0.1 ns a value: a row of lanes is shifted and masked in whole vectors. Shifts must be of two bytes for
that; numba would widen them to eight, hence the intrinsics.
"""

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from seqvault.vault.kernels.compiled import symbol
from seqvault.vault.kernels.views import memset, view2

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


@symbol("void(u8, u8, u8, u8, u8, u8)")
def unpack_plane(source, width, lanes, first, last, to):  # type: ignore[no-untyped-def]
    """Values first..last-1 of the plane of `width` (1..16) bits at one address, to u2 at another."""
    words, values = view2(source, width * lanes), view2(to, last - first)
    mask = np.uint16((_U1 << width) - _U1)
    # Where there are no lanes there are no rows either.
    row = first // max(lanes, _U1)
    i = first
    while i < last:
        end = min(last, (row + _U1) * lanes)
        bit = row * width
        shift = bit & _U15
        low = (bit >> _U4) * lanes + (i - row * lanes)
        at = i - first
        right, left = np.uint16(shift), np.uint16(_U16 - shift)
        if shift + width <= _U16:
            for j in range(end - i):
                values[at + np.uint64(j)] = _right(words[low + np.uint64(j)], right) & mask
        else:
            high = low + lanes
            for j in range(end - i):
                below = _right(words[low + np.uint64(j)], right)
                values[at + np.uint64(j)] = (below | _left(words[high + np.uint64(j)], left)) & mask
        i = end
        row += _U1


@symbol("void(u8, u8, u8, u8)")
def pack_plane(source, width, lanes, to):  # type: ignore[no-untyped-def]
    """Pack 16 * lanes u2 values, cut to `width` (1..16) bits, to width * lanes words."""
    values, words = view2(source, _U16 * lanes), view2(to, width * lanes)
    mask = np.uint16((_U1 << width) - _U1)
    memset(to, 0, np.uint64(2) * width * lanes)
    for k in range(16):
        row = np.uint64(k)
        bit = row * width
        shift = bit & _U15
        low = (bit >> _U4) * lanes
        left, right = np.uint16(shift), np.uint16(_U16 - shift)
        for j in range(lanes):
            words[low + np.uint64(j)] |= _left(values[row * lanes + np.uint64(j)] & mask, left)
        if shift + width > _U16:
            high = low + lanes
            for j in range(lanes):
                words[high + np.uint64(j)] |= _right(values[row * lanes + np.uint64(j)] & mask, right)
