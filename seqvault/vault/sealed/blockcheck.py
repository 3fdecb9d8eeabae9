"""Verifying the blocks of a segment, all of them, by the checksum and by what the footer says of each."""

from collections.abc import Iterator

import numpy as np

from seqvault.errors import DamagedDataError, StoreError
from seqvault.schema import Array
from seqvault.vault.compiled.options import Options
from seqvault.vault.compiled.whole import shared_entries
from seqvault.vault.disk.segment import Segment
from seqvault.vault.format.block import HEAD, OWN, read_header
from seqvault.vault.format.damage import BAD_COLUMN, NOT_EXPECTED, OK, BlockDamage, damage
from seqvault.vault.format.entries import ENTRY, block_sizes, is_shared

__all__ = ["damaged_blocks", "read_back"]

# Read at once: many small blocks, or one of the largest.
_RUN_BYTES = 8 << 20
_UNREADABLE = "cannot be read from the device"


def read_back(segment: Segment, entries: Array, footer: bytes) -> None:
    """See that a new segment holds what was written into it, before anything it replaces is given up.

    Args:
        entries, footer: as they were written.

    Raises:
        DamagedDataError: a byte of it is not what it should be, or does not read.
    """
    place = segment.size - len(footer)
    if segment.read(place, len(footer)) != footer:
        raise DamagedDataError(f"{segment.path}, byte {place}: its footer is not the one that was written")
    for of_block, wrong in damaged_blocks(segment, entries, None):
        entry = of_block[0]
        raise DamagedDataError(
            f"{segment.path}, byte {entry['offset']}: a block of user {entry['user']} {wrong}"
        )


def damaged_blocks(
    segment: Segment, entries: Array, schemas: frozenset[int] | None
) -> Iterator[tuple[Array, str]]:
    """The blocks of a footer that cannot be read: all entries of each, and why.

    Args:
        entries: (K,) ENTRY.
        schemas: ids of the schema versions a block may be written under; None for any.
    """
    shared = is_shared(entries)
    yield from _damaged_own(segment, entries[~shared], schemas)
    yield from _damaged_shared(segment, entries[shared], schemas)


def _damaged_own(
    segment: Segment, entries: Array, schemas: frozenset[int] | None
) -> Iterator[tuple[Array, str]]:
    """Of the blocks of one user, in the file's order."""
    for run in _runs(_in_place(entries)):
        data = _read(segment, run)
        if data is None and len(run) > 1:
            # Which of them the device does not give.
            for k in range(len(run)):
                yield from _damaged_own(segment, run[k : k + 1], schemas)
        elif data is None:
            yield run, _UNREADABLE
        else:
            first, _ = _extent(run)
            codes = _codes(data, first, run)
            for k, code in enumerate(codes.tolist()):
                wrong = code or _unknown(data, int(run["offset"][k]) - first, schemas)
                if wrong != OK:
                    yield run[k : k + 1], damage(wrong)


def _damaged_shared(
    segment: Segment, entries: Array, schemas: frozenset[int] | None
) -> Iterator[tuple[Array, str]]:
    """Of shared blocks, in the file's order: each must have exactly the users of its entries."""
    ordered = entries[np.argsort(entries["offset"], kind="stable")]
    edges = np.flatnonzero(ordered["offset"][1:] != ordered["offset"][:-1]) + 1
    for of_block in np.split(ordered, edges) if len(ordered) else ():
        offset, size = int(of_block["offset"][0]), int(block_sizes(of_block)[0])
        try:
            data = _writeable(segment.read(offset, size))
            found = shared_entries(data, offset, plain=Options().plain)
            wrong = _unknown(data, 0, schemas) if np.array_equal(found, of_block) else NOT_EXPECTED
        except StoreError:
            yield of_block, _UNREADABLE
            continue
        except BlockDamage as error:
            wrong = error.code
        if wrong != OK:
            yield of_block, damage(wrong)


def _in_place(entries: Array) -> Array:
    """The blocks among the entries, in the file's order."""
    blocks = entries[entries["rows"] > 0]
    ordered: Array = blocks[np.argsort(blocks["offset"], kind="stable")]
    return ordered


def _runs(blocks: Array) -> Iterator[Array]:
    """Blocks that are read together."""
    start = 0
    ends = (blocks["offset"] + blocks["size"]).astype("i8")
    while start < len(blocks):
        limit = int(blocks["offset"][start]) + _RUN_BYTES
        end = max(start + 1, int(np.searchsorted(ends, limit, "right")))
        yield blocks[start:end]
        start = end


def _extent(run: Array) -> tuple[int, int]:
    """(first byte, byte behind the last) of neighbouring blocks."""
    return int(run["offset"][0]), int(run["offset"][-1]) + int(run["size"][-1])


def _read(segment: Segment, run: Array) -> Array | None:
    first, last = _extent(run)
    try:
        return _writeable(segment.read(first, last - first))
    except StoreError:
        return None


def _writeable(data: bytes) -> Array:
    """Kernels want memory they might write to, so no view of immutable bytes."""
    return np.frombuffer(bytearray(data), "u1")


def _codes(data: Array, base: int, run: Array) -> Array:
    """(K,) u1: what is wrong with each block; `data` are the bytes of the file from `base` on."""
    codes = np.zeros(len(run), "u1")
    if Options().plain:
        for k, entry in enumerate(run):
            codes[k] = _plainly(data, int(entry["offset"]) - base, entry)
        return codes
    from seqvault.vault.kernels.verify import verify_blocks

    words = np.require(run, ENTRY, ["C", "W", "A"]).view("u8").reshape(-1, 6)
    verify_blocks(data, base, words, codes)
    return codes


def _plainly(data: Array, at: int, entry: np.void) -> int:
    try:
        found = read_header(data, at, int(entry["size"]))
    except BlockDamage as error:
        return error.code
    names = ("user", "start", "rows", "first_s", "last_s")
    same = found.kind == OWN and all(getattr(found, name) == entry[name] for name in names)
    return OK if same else NOT_EXPECTED


def _unknown(data: Array, at: int, schemas: frozenset[int] | None) -> int:
    *_, schema, _, _ = HEAD.unpack_from(data.data, at)
    return OK if schemas is None or schema in schemas else BAD_COLUMN
