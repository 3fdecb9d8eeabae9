"""Patched streams, written: the compiled twin of seqvault/vault/patched.py.

Costs are computed in the same integers as there, so both choose the same widths and write the same bytes.
Values are (N,) u8, `words` the u2 words written to, with room behind `at` for whatever N values can take.
"""

import numpy as np
from numba import njit

from seqvault.vault.entropy import FRACTION, FRAME_BITS, SYMBOL_BITS
from seqvault.vault.kernels.lanes import pack_plane
from seqvault.vault.kernels.views import bit_length, bytes_at, view2, view8
from seqvault.vault.kernels.zstd import ZSTD_compress2

__all__ = [
    "AT_HIGHS",
    "AT_PLACES",
    "PACK_BYTES",
    "cheapest_width",
    "count_lengths",
    "pack_patches",
    "pack_stream",
    "patch_bits",
]

_U0, _U1, _U2, _U3, _U4, _U6, _U8, _U15, _U16 = (np.uint64(i) for i in (0, 1, 2, 3, 4, 6, 8, 15, 16))
_U32, _U64, _U255 = (np.uint64(i) for i in (32, 64, 255))
_BYTES, _PATCHED = np.uint64(0x80), np.uint64(0x100)
_SYMBOL_BITS, _FRAME_BITS = np.uint64(SYMBOL_BITS), np.uint64(FRAME_BITS)
_FRACTION = FRACTION
_HUGE = np.uint64(1 << 62)

# Scratch memory by use, in bytes from its address; a plane has room for its last lanes.
_ROWS = 1 << 16
_AT_COUNTS, _AT_OVER, _AT_PLANE = np.uint64(0), np.uint64(4096), np.uint64(8192)
_AT_BYTES, _AT_FRAME, AT_PLACES, _AT_GAPS, AT_HIGHS = (np.uint64((4 + 8 * i) * _ROWS) for i in range(5))
PACK_BYTES = 44 * _ROWS


@njit
def count_lengths(values, work):  # type: ignore[no-untyped-def]
    """How many values have each bit length, 0..64, and in scratch how many have more; the widest."""
    counts, over = view8(work + _AT_COUNTS, 65), view8(work + _AT_OVER, 65)
    for k in range(65):
        counts[k] = 0
    for i in range(np.uint64(values.size)):
        counts[bit_length(values[np.uint64(i)])] += _U1
    more, widest = _U0, _U0
    for k in range(65):
        length = _U64 - np.uint64(k)
        over[length] = more
        if more == _U0 and counts[length]:
            widest = length
        more += counts[length]
    return widest


@njit
def patch_bits(count, patched, high):  # type: ignore[no-untyped-def]
    """Estimated bits of `patched` patches of `high` bits among `count` values."""
    if patched == _U0:
        return _U0
    gap = min(_U16, bit_length(count // patched) + _U3)
    return _U32 + _U16 * (((patched + _U15) >> _U4) * (gap + high))


@njit
def cheapest_width(count, widest, work):  # type: ignore[no-untyped-def]
    """(width, estimated bits) of the cheapest packing, after count_lengths; the narrowest of equals."""
    over = view8(work + _AT_OVER, 65)
    lanes = (count + _U15) >> _U4
    best, least = _U0, _HUGE
    for k in range(widest + _U1):
        width = np.uint64(k)
        bits = _U16 * lanes * width + patch_bits(count, over[width], widest - width)
        if bits < least:
            best, least = width, bits
    return best, least


@njit
def pack_stream(values, zstd, words, at, work):  # type: ignore[no-untyped-def]
    """Write the stream of 1..65536 values; the position behind it.

    Args:
        zstd: address of a compression context; 0 for packed streams only.
        work: address of PACK_BYTES of scratch.
    """
    count = np.uint64(values.size)
    widest = count_lengths(values, work)
    width, bits = cheapest_width(count, widest, work)
    if zstd == _U0:
        return _write(values, width, widest, _U0, words, at, work)
    cut, estimate = _cheapest_cut(values, width, widest, work)
    behind = _write(values, width, widest, _U0, words, at, work)
    if estimate >= bits:
        return behind
    plane = bytes_at(work + _AT_BYTES, count)
    for i in range(count):
        plane[np.uint64(i)] = values[np.uint64(i)] >> cut
    frame = ZSTD_compress2(zstd, work + _AT_FRAME, np.uint64(4 * _ROWS), work + _AT_BYTES, count)
    # A frame this long cannot be smaller; an error reads as a huge size.
    if frame >= min(count, np.uint64(_ROWS)):
        return behind
    length = np.uint64(2) + ((count + _U15) >> _U4) * cut + ((frame + _U1) >> _U1)
    if length >= behind - at:
        return behind
    # Patches may still make it the longer one: then it is written over again.
    shorter = _write(values, cut, widest, frame, words, at, work)
    return shorter if shorter < behind else _write(values, width, widest, _U0, words, at, work)


@njit
def pack_patches(patched, words, at, lanes_at, work):  # type: ignore[no-untyped-def]
    """Write the patches whose places and high parts lie in scratch: head at words[at], lanes at `lanes_at`.

    Returns:
        the position behind the lanes.
    """
    places, gaps = view8(work + AT_PLACES, patched), view8(work + _AT_GAPS, patched)
    highs = view8(work + AT_HIGHS, patched)
    before, all_gaps, all_highs = _U0, _U0, _U0
    for k in range(patched):
        gap = places[np.uint64(k)] - before
        gaps[np.uint64(k)] = gap
        all_gaps |= gap
        all_highs |= highs[np.uint64(k)]
        before = places[np.uint64(k)] + _U1
    gap_bits, high_bits = bit_length(all_gaps), bit_length(all_highs)
    words[at] = patched
    words[at + _U1] = gap_bits | high_bits << _U8
    lanes_at = _pack(gaps, gap_bits, words, lanes_at, work)
    return _pack(highs, high_bits, words, lanes_at, work)


@njit
def find_patches(values, below, work):  # type: ignore[no-untyped-def]
    """Places and high parts of the values above `below` (0..63) bits into scratch; how many there are."""
    places, highs = view8(work + AT_PLACES, _ROWS), view8(work + AT_HIGHS, _ROWS)
    found = _U0
    for i in range(np.uint64(values.size)):
        high = values[np.uint64(i)] >> below
        places[found] = np.uint64(i)
        highs[found] = high
        # No branch: patches come at random.
        found += np.uint64(high != _U0)
    return found


@njit
def _write(values, width, widest, frame, words, at, work):  # type: ignore[no-untyped-def]
    """Write a stream of this width, with a byte plane if its frame of `frame` bytes lies in scratch."""
    start = at
    words[start] = width | (_BYTES if frame else _U0)
    at += _U1
    below = width
    if frame:
        words[at] = frame
        at += _U1
        below += _U8
    patched = find_patches(values, below, work) if widest > below else _U0
    patch_head = at
    if patched:
        words[start] |= np.uint16(_PATCHED)
        at += _U2
    at = _pack(values, width, words, at, work)
    if frame:
        source = view2(work + _AT_FRAME, (frame + _U1) >> _U1)
        if frame & _U1:
            bytes_at(work + _AT_FRAME, frame + _U1)[frame] = 0
        for i in range(np.uint64(source.size)):
            words[at + np.uint64(i)] = source[np.uint64(i)]
        at += np.uint64(source.size)
    return pack_patches(patched, words, patch_head, at, work) if patched else at


@njit
def _pack(values, width, words, at, work):  # type: ignore[no-untyped-def]
    """Write the lowest `width` (0..64) bits of values as lanes; the position behind them."""
    count = np.uint64(values.size)
    lanes = (count + _U15) >> _U4
    plane = view2(work + _AT_PLANE, _U16 * lanes)
    done = _U0
    while done < width:
        bits = min(width - done, _U16)
        for i in range(count):
            plane[np.uint64(i)] = values[np.uint64(i)] >> done
        for i in range(count, _U16 * lanes):
            plane[np.uint64(i)] = 0
        pack_plane(work + _AT_PLANE, bits, lanes, np.uint64(words.ctypes.data) + _U2 * at)
        at += lanes * bits
        done += bits
    return at


@njit
def _cheapest_cut(values, width, widest, work):  # type: ignore[no-untyped-def]
    """(cut, estimated bits) of the best byte plane: the bits below the cut stay packed."""
    count = np.uint64(values.size)
    over = view8(work + _AT_OVER, 65)
    lanes = (count + _U15) >> _U4
    best, least = _U0, _HUGE
    cut = max(width, _U8) - _U8
    behind = max(min(widest, width), _U6) - _U6
    while cut <= behind:
        above = over[cut + _U8] if cut + _U8 <= _U64 else _U0
        bits = _U16 + _U16 * lanes * cut + _byte_bits(values, cut, work)
        if above:
            bits += patch_bits(count, above, widest - cut - _U8)
        if bits < least:
            best, least = cut, bits
        cut += _U1
    return best, least


@njit
def _byte_bits(values, cut, work):  # type: ignore[no-untyped-def]
    """Estimated bits of the byte plane above `cut`; see entropy.byte_bits."""
    counts = view8(work + _AT_COUNTS, 256)
    for k in range(256):
        counts[k] = 0
    for i in range(np.uint64(values.size)):
        counts[(values[np.uint64(i)] >> cut) & _U255] += _U1
    all_of_them = _log2(np.uint64(values.size))
    bits, symbols = _U0, _U0
    for k in range(256):
        if counts[k]:
            bits += counts[k] * (all_of_them - _log2(counts[k]))
            symbols += _U1
    return (bits >> _U8) + _SYMBOL_BITS * symbols + _FRAME_BITS


@njit
def _log2(count):  # type: ignore[no-untyped-def]
    exponent = bit_length(count) - _U1
    return (exponent << _U8) + np.uint64(_FRACTION[((count << _U8) >> exponent) - np.uint64(256)])
