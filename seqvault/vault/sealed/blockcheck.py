"""Verifying the blocks of a segment, all of them, by the checksum and by what the footer says of each."""

from collections.abc import Iterator

import numpy as np

from seqvault.errors import DamagedDataError, StoreError
from seqvault.schema import Array
from seqvault.vault.compiled.options import Options
from seqvault.vault.disk.segment import Segment
from seqvault.vault.format.block import HEAD, read_header
from seqvault.vault.format.damage import BAD_COLUMN, NOT_EXPECTED, OK, BlockDamage, damage
from seqvault.vault.format.entries import ENTRY

__all__ = ["damaged_blocks", "read_back"]

# Read at once: many small blocks, or one of the largest.
_RUN_BYTES = 8 << 20


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
    for run in _runs(_in_place(entries)):
        first, last = _extent(run)
        codes = _codes(_writeable(segment.read(first, last - first)), first, run)
        bad = np.flatnonzero(codes)
        if len(bad):
            entry = run[int(bad[0])]
            raise DamagedDataError(
                f"{segment.path}, byte {entry['offset']}: a block of user {entry['user']} "
                f"{damage(int(codes[bad[0]]))}"
            )


def damaged_blocks(
    segment: Segment, entries: Array, schemas: frozenset[int]
) -> Iterator[tuple[np.void, str]]:
    """The entries of a footer whose blocks cannot be read, and why, in the file's order.

    Args:
        entries: (K,) ENTRY.
        schemas: ids of the schema versions a block may be written under.
    """
    for run in _runs(_in_place(entries)):
        data = _read(segment, run)
        if data is None and len(run) > 1:
            # Which of them the device does not give.
            for k in range(len(run)):
                yield from damaged_blocks(segment, run[k : k + 1], schemas)
        elif data is None:
            yield run[0], "cannot be read from the device"
        else:
            first, _ = _extent(run)
            codes = _codes(data, first, run)
            for entry, code in zip(run, codes.tolist(), strict=True):
                wrong = code or _unknown(data, int(entry["offset"]) - first, schemas)
                if wrong != OK:
                    yield entry, damage(wrong)


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
    return OK if all(getattr(found, name) == entry[name] for name in names) else NOT_EXPECTED


def _unknown(data: Array, at: int, schemas: frozenset[int]) -> int:
    *_, schema, _, reserved = HEAD.unpack_from(data.data, at)
    return BAD_COLUMN if reserved or schema not in schemas else OK
