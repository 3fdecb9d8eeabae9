"""Patched streams, written: the compiled twin of seqvault/vault/format/patched.py.

Costs are computed in the same integers as there, so both choose the same widths and write the same bytes.
Streams come and go by address: values are u8, and the caller has room for the worst a stream can take.
"""

import numpy as np
from numba import njit

from seqvault.vault.format.entropy import FRACTION, FRAME_BITS, SYMBOL_BITS
from seqvault.vault.format.patched import PATCH_COST
from seqvault.vault.kernels.compiled import inner, symbol
from seqvault.vault.kernels.lanes import pack_plane
from seqvault.vault.kernels.views import address_in, bit_length, bytes_at, memmove, memset, view2, view8
from seqvault.vault.kernels.zstd import ZSTD_compress2

__all__ = ["PACK_BYTES", "pack_misfits", "pack_stream", "patch_bits", "stream_bits"]

_U0, _U1, _U2, _U3, _U4, _U6, _U8, _U15, _U16 = (np.uint64(i) for i in (0, 1, 2, 3, 4, 6, 8, 15, 16))
_U32, _U64, _U255 = (np.uint64(i) for i in (32, 64, 255))
_BYTES, _PATCHED = np.uint64(0x80), np.uint64(0x100)
_SYMBOL_BITS, _FRAME_BITS = np.uint64(SYMBOL_BITS), np.uint64(FRAME_BITS)
_FRACTION = FRACTION
_PATCH_COST = np.uint64(PATCH_COST)
_HUGE = np.uint64(1 << 62)

# Scratch memory by use, in bytes from its address; a plane has room for its last lanes.
_ROWS = 1 << 16
_AT_COUNTS, _AT_OVER, _AT_PLANE = np.uint64(0), np.uint64(4096), np.uint64(8192)
_AT_BYTES, _AT_FRAME, _AT_PLACES, _AT_GAPS, _AT_HIGHS = (np.uint64((4 + 8 * i) * _ROWS) for i in range(5))
PACK_BYTES = 44 * _ROWS


@inner
def _count_lengths(values, work):  # type: ignore[no-untyped-def]
    """Into scratch how many values have more than each bit length, 0..64; the widest."""
    counts, over = view8(work + _AT_COUNTS, 65), view8(work + _AT_OVER, 65)
    memset(address_in(counts), 0, _U8 * np.uint64(counts.size))
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


@njit(inline="always")
def patch_bits(count, patched, high):  # type: ignore[no-untyped-def]
    """Estimated bits of `patched` patches of `high` bits among `count` values."""
    if patched == _U0:
        return _U0
    gap = min(_U16, bit_length(count // patched) + _U3)
    return _U32 + _PATCH_COST * patched + _U16 * (((patched + _U15) >> _U4) * (gap + high))


@inner
def _cheapest_width(count, widest, work):  # type: ignore[no-untyped-def]
    """(width, estimated bits) of the cheapest packing, after _count_lengths; the narrowest of equals."""
    over = view8(work + _AT_OVER, 65)
    lanes = (count + _U15) >> _U4
    best, least = _U0, _HUGE
    for k in range(widest + _U1):
        width = np.uint64(k)
        bits = _U16 * lanes * width + patch_bits(count, over[width], widest - width)
        if bits < least:
            best, least = width, bits
    return best, least


@symbol("u8(u8, u8, u8)")
def stream_bits(source, count, work):  # type: ignore[no-untyped-def]
    """Estimated bits of the cheapest packing of `count` values."""
    return _cheapest_width(count, _count_lengths(view8(source, count), work), work)[1]


@inner
def _pack(values, width, words, at, work):  # type: ignore[no-untyped-def]
    """Write the lowest `width` (0..64) bits of values as lanes at words[at]; the position behind them."""
    count = np.uint64(values.size)
    lanes = (count + _U15) >> _U4
    plane = view2(work + _AT_PLANE, _U16 * lanes)
    plane[count:] = 0
    done = _U0
    while done < width:
        bits = min(width - done, _U16)
        for i in range(count):
            plane[np.uint64(i)] = values[np.uint64(i)] >> done
        pack_plane(work + _AT_PLANE, bits, lanes, address_in(words) + _U2 * at)
        at += lanes * bits
        done += bits
    return at


@inner
def _pack_patches(patched, words, at, lanes_at, work):  # type: ignore[no-untyped-def]
    """Write the patches whose places and high parts lie in scratch: head at words[at], lanes at `lanes_at`.

    Returns:
        the position behind the lanes.
    """
    places, gaps = view8(work + _AT_PLACES, patched), view8(work + _AT_GAPS, patched)
    highs = view8(work + _AT_HIGHS, patched)
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


@symbol("u8(u8, u8, u8, u8, u8, u8)")
def pack_misfits(misfits, places, values, rows, to, work):  # type: ignore[no-untyped-def]
    """Write the misfits of a column: their count, and places (u8) and values if there are any.

    Returns:
        the address behind them.
    """
    words = view2(to, _U16 * rows + np.uint64(4096))
    words[_U0] = misfits
    if misfits == _U0:
        return to + _U2
    memmove(work + _AT_PLACES, places, _U8 * misfits)
    memmove(work + _AT_HIGHS, values, _U8 * misfits)
    return to + _U2 * _pack_patches(misfits, words, _U0, _U2, work)


@inner
def _find_patches(values, below, work):  # type: ignore[no-untyped-def]
    """Places and high parts of the values above `below` (0..63) bits into scratch; how many there are."""
    places, highs = view8(work + _AT_PLACES, _ROWS), view8(work + _AT_HIGHS, _ROWS)
    found = _U0
    for i in range(np.uint64(values.size)):
        high = values[np.uint64(i)] >> below
        places[found] = np.uint64(i)
        highs[found] = high
        # No branch: patches come at random.
        found += np.uint64(high != _U0)
    return found


@inner
def _write(values, width, widest, frame, words, work):  # type: ignore[no-untyped-def]
    """Write a stream of this width, with the byte plane in scratch if `frame` is not 0; its words."""
    head, at, below = width, _U1, width
    if frame:
        head |= _BYTES
        words[at] = frame
        at += _U1
        below += _U8
    patched = _find_patches(values, below, work) if widest > below else _U0
    patch_head = at
    if patched:
        head |= _PATCHED
        at += _U2
    words[_U0] = head
    at = _pack(values, width, words, at, work)
    if frame:
        if frame & _U1:
            bytes_at(work + _AT_FRAME, frame + _U1)[frame] = 0
        size = (frame + _U1) >> _U1
        words[at : at + size] = view2(work + _AT_FRAME, size)
        at += size
    return _pack_patches(patched, words, patch_head, at, work) if patched else at


@inner
def _log2(count):  # type: ignore[no-untyped-def]
    exponent = bit_length(count) - _U1
    return (exponent << _U8) + np.uint64(_FRACTION[((count << _U8) >> exponent) - np.uint64(256)])


@inner
def _byte_bits(values, cut, work):  # type: ignore[no-untyped-def]
    """Estimated bits of the byte plane above `cut`; see entropy.byte_bits."""
    counts = view8(work + _AT_COUNTS, 256)
    memset(address_in(counts), 0, _U8 * np.uint64(counts.size))
    for i in range(np.uint64(values.size)):
        counts[(values[np.uint64(i)] >> cut) & _U255] += _U1
    all_of_them = _log2(np.uint64(values.size))
    bits, symbols = _U0, _U0
    for k in range(256):
        if counts[k]:
            bits += counts[k] * (all_of_them - _log2(counts[k]))
            symbols += _U1
    return (bits >> _U8) + _SYMBOL_BITS * symbols + _FRAME_BITS


@inner
def _cheapest_cut(values, width, widest, work):  # type: ignore[no-untyped-def]
    """(cut, estimated bits) of the best byte plane: the bits below the cut stay packed."""
    count = np.uint64(values.size)
    over = view8(work + _AT_OVER, 65)
    lanes = (count + _U15) >> _U4
    best, least = _U0, _HUGE
    cut = max(width, _U8) - _U8
    # A plane ends within the 64 bits of a value, within the 16 of a rank.
    behind = min(max(min(widest, width), _U6) - _U6, _U8 if widest <= _U16 else _U64 - _U8)
    while cut <= behind:
        above = over[cut + _U8] if cut + _U8 <= _U64 else _U0
        bits = _U16 + _U16 * lanes * cut + _byte_bits(values, cut, work)
        if above:
            bits += patch_bits(count, above, widest - cut - _U8)
        if bits < least:
            best, least = cut, bits
        cut += _U1
    return best, least


@symbol("u8(u8, u8, u8, u8, u8)")
def pack_stream(source, count, zstd, to, work):  # type: ignore[no-untyped-def]
    """Write the stream of 1..65536 values; the address behind it.

    Args:
        source: address of the values.
        zstd: address of a compression context; 0 for packed streams only.
        work: address of PACK_BYTES of scratch.
    """
    values = view8(source, count)
    words = view2(to, _U16 * count + np.uint64(4096))
    widest = _count_lengths(values, work)
    width, bits = _cheapest_width(count, widest, work)
    if zstd == _U0:
        return to + _U2 * _write(values, width, widest, _U0, words, work)
    cut, estimate = _cheapest_cut(values, width, widest, work)
    length = _write(values, width, widest, _U0, words, work)
    if estimate >= bits:
        return to + _U2 * length
    plane = bytes_at(work + _AT_BYTES, count)
    for i in range(count):
        plane[np.uint64(i)] = values[np.uint64(i)] >> cut
    frame = ZSTD_compress2(zstd, work + _AT_FRAME, np.uint64(4 * _ROWS), work + _AT_BYTES, count)
    # Bytes as they are cost what packing them costs; an error reads as a huge size.
    if frame >= min(count, np.uint64(_ROWS)):
        return to + _U2 * length
    # Patches may make it the longer one: then the other is written again.
    least = _U2 + ((count + _U15) >> _U4) * cut + ((frame + _U1) >> _U1)
    if least < length:
        shorter = _write(values, cut, widest, frame, words, work)
        length = shorter if shorter < length else _write(values, width, widest, _U0, words, work)
    return to + _U2 * length
