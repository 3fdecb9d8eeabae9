"""A patched stream: values in as many bits as most of them need; the few above it stand behind, with
positions.

Words of two bytes:

    bits 0-6 of word 0: width | bit 7: BYTES | bit 8: PATCHED
    [BYTES]    length of the compressed byte plane
    [PATCHED]  count of patches;  width of a gap | width of a high part << 8
    lanes of the lowest `width` bits
    [BYTES]    the next 8 bits of every value, one byte each, as one zstd frame, filled up to a word
    [PATCHED]  lanes of the gaps between patched positions, lanes of what the patched values have above

Widths come from the distribution of bit lengths by a cost in integers, the same in the compiled twin
(kernels/encode.py, kernels/decode.py), so that both write the same bytes. Values are u8 throughout.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from seqvault.schema import Array
from seqvault.vault.format.damage import BAD_COLUMN, BlockDamage
from seqvault.vault.format.entropy import byte_bits
from seqvault.vault.format.lanes import lane_words, pack_lanes, unpack_lanes
from seqvault.vault.format.words import Words

__all__ = [
    "BYTES",
    "PATCHED",
    "PATCH_COST",
    "BytePlanes",
    "cheapest_width",
    "over_counts",
    "pack_patches",
    "pack_stream",
    "patch_bits",
    "read_patches",
    "read_stream",
]

WIDTH, BYTES, PATCHED = 0x7F, 0x80, 0x100
_PATCH_HEAD_BITS = 32
# What a patch costs beyond its bits: decoded one by one they take as long as thirty packed values. Eight bits
# more make blocks 2% larger and a full read a quarter faster.
PATCH_COST = 8
_NONE = np.empty(0, "<u2")


class BytePlanes(Protocol):
    """Compression of byte planes."""

    def compress(self, plane: bytes) -> bytes:
        """The plane as a zstd frame."""

    def decompress(self, frame: bytes, count: int) -> bytes:
        """The plane again. Raises BlockDamage unless the frame holds `count` bytes."""


def over_counts(values: Array) -> list[int]:
    """over[w]: how many values need more than w bits; it ends with the first 0."""
    over = [int(np.count_nonzero(values))]
    while over[-1]:
        over.append(int(np.count_nonzero(values >> np.uint64(len(over)))) if len(over) < 64 else 0)
    return over


def patch_bits(count: int, patched: int, high: int) -> int:
    """Estimated bits of `patched` patches of `high` bits among `count` values."""
    if patched == 0:
        return 0
    # The widest of random gaps is a few times the mean one.
    gap = min(16, (count // patched).bit_length() + 3)
    return _PATCH_HEAD_BITS + PATCH_COST * patched + 16 * lane_words(patched, gap + high)


def cheapest_width(count: int, over: Sequence[int]) -> tuple[int, int]:
    """(width, estimated bits) of the cheapest packing of `count` values; the narrowest of equals."""
    widest = len(over) - 1
    costs = [
        16 * lane_words(count, width) + patch_bits(count, over[width], widest - width)
        for width in range(widest + 1)
    ]
    width = min(range(widest + 1), key=costs.__getitem__)
    return width, costs[width]


def pack_stream(values: Array, planes: BytePlanes | None) -> Array:
    """(N,) u8 values, N in 1..65536, as words; with a compressed byte plane where that is smaller."""
    over = over_counts(values)
    width, bits = cheapest_width(len(values), over)
    packed = _packed(values, width, None)
    if planes is None:
        return packed
    cut, estimate = _cheapest_cut(values, over, width)
    if estimate >= bits:
        return packed
    frame = planes.compress(_plane(values, cut).tobytes())
    # Bytes as they are cost what packing them costs, and the frame's length is two bytes.
    if len(frame) >= min(len(values), 0x10000):
        return packed
    compressed = _packed(values, cut, frame)
    return compressed if len(compressed) < len(packed) else packed


def read_stream(
    words: Words, count: int, first: int, last: int, planes: BytePlanes | None, limit: int = 64
) -> Array:
    """Values first..last-1, of at most `limit` bits, of the stream of `count` at the cursor; it moves on."""
    head = words.one()
    width = head & WIDTH
    size = words.one() if head & BYTES else 0
    patch_head = (words.one(), words.one()) if head & PATCHED else None
    below = width + (8 if head & BYTES else 0)
    if head >> 9 or below > limit:
        raise BlockDamage(BAD_COLUMN)
    values = unpack_lanes(words.take(lane_words(count, width)), count, width, first, last)
    if head & BYTES:
        frame = words.take((size + 1) // 2).tobytes()[:size]
        if planes is None:
            raise BlockDamage(BAD_COLUMN)
        if first < last:
            plane = np.frombuffer(planes.decompress(frame, count), "u1")[first:last]
            values |= plane.astype("u8") << np.uint64(width)
    if patch_head:
        if below + (patch_head[1] >> 8) > limit:
            raise BlockDamage(BAD_COLUMN)
        at, highs = read_patches(words, patch_head, count, first, last)
        values[at] += highs << np.uint64(below)
    return values


def pack_patches(at: Array, highs: Array) -> tuple[Array, Array]:
    """The two head words and the lanes of 1 to 65,535 patches: ascending positions (X,) i8, values u8."""
    gaps = (np.diff(at, prepend=-1) - 1).astype("u8")
    gap, high = int(gaps.max()).bit_length(), int(highs.max()).bit_length()
    head = np.array([len(at), gap | high << 8], "<u2")
    return head, np.concatenate([pack_lanes(gaps, gap), pack_lanes(highs, high)])


def read_patches(
    words: Words, head: tuple[int, int], count: int, first: int, last: int
) -> tuple[Array, Array]:
    """Positions, less `first`, and high parts of the patches that fall on first..last-1."""
    patched, gap, high = head[0], head[1] & 0xFF, head[1] >> 8
    if gap > 16 or high > 64:
        raise BlockDamage(BAD_COLUMN)
    gaps = unpack_lanes(words.take(lane_words(patched, gap)), patched, gap, 0, patched)
    highs = unpack_lanes(words.take(lane_words(patched, high)), patched, high, 0, patched)
    at = np.cumsum(gaps.astype("i8") + 1) - 1
    if patched and at[-1] >= count:
        raise BlockDamage(BAD_COLUMN)
    begin, end = np.searchsorted(at, [first, last])
    return at[begin:end] - first, highs[begin:end]


def _packed(values: Array, width: int, frame: bytes | None) -> Array:
    head, extra, parts = width, [_NONE], [pack_lanes(values, width)]
    below = width
    if frame is not None:
        head |= BYTES
        below += 8
        extra.append(np.array([len(frame)], "<u2"))
        parts.append(np.frombuffer(frame + b"\0" * (len(frame) % 2), "<u2"))
    highs = values >> np.uint64(below) if below < 64 else np.zeros_like(values)
    at = np.flatnonzero(highs)
    if len(at):
        head |= PATCHED
        patch_head, lanes = pack_patches(at, highs[at])
        extra.append(patch_head)
        parts.append(lanes)
    return np.concatenate([np.array([head], "<u2"), *extra, *parts])


def _plane(values: Array, cut: int) -> Array:
    return (values >> np.uint64(cut)).astype("u1")


def _cheapest_cut(values: Array, over: Sequence[int], width: int) -> tuple[int, int]:
    """(cut, estimated bits) of the best byte plane: the bits below the cut stay packed."""
    count, widest = len(values), len(over) - 1
    best = (0, 1 << 62)
    # A plane ends within the 64 bits of a value, within the 16 of a rank.
    highest = min(max(0, min(widest, width) - 6), 8 if widest <= 16 else 56)
    for cut in range(max(0, width - 8), highest + 1):
        above = over[cut + 8] if cut + 8 < len(over) else 0
        bits = 16 + 16 * lane_words(count, cut) + byte_bits(_plane(values, cut))
        bits += patch_bits(count, above, widest - cut - 8)
        if bits < best[1]:
            best = (cut, bits)
    return best
