"""Verifying the blocks of a segment, all of them, by the checksum and by what the footer says of each."""

from collections.abc import Callable, Iterator

import numpy as np

from seqvault.errors import StoreError
from seqvault.schema import Array
from seqvault.vault.block import HEAD, read_header
from seqvault.vault.damage import BAD_COLUMN, NO_DICTIONARY, NOT_EXPECTED, OK, BlockDamage, damage
from seqvault.vault.options import Options
from seqvault.vault.segment import Segment

__all__ = ["damaged_blocks"]

# Read at once: many small blocks, or one of the largest.
_RUN_BYTES = 8 << 20

_Verify = Callable[[Array, int, np.void], int]


def damaged_blocks(
    segment: Segment, entries: Array, schemas: frozenset[int], dictionaries: frozenset[int]
) -> Iterator[tuple[np.void, str]]:
    """The entries of a footer whose blocks cannot be read, and why, in the file's order.

    Args:
        entries: (K,) ENTRY.
        schemas: ids of the schema versions a block may be written under.
        dictionaries: ids of the dictionaries there are; 0 is none and always there.
    """
    verify = _plainly if Options().plain else _compiled()
    blocks = np.sort(entries[entries["rows"] > 0], order="offset")
    for run in _runs(blocks):
        data = _read(segment, run)
        for entry in run:
            base = int(run["offset"][0])
            alone = data if data is not None else _read(segment, np.array([entry], entries.dtype))
            if alone is None:
                yield entry, "cannot be read from the device"
                continue
            at = int(entry["offset"]) - base if data is not None else 0
            code = verify(alone, at, entry) or _known(alone, at, schemas, dictionaries)
            if code != OK:
                yield entry, damage(code)


def _runs(blocks: Array) -> Iterator[Array]:
    """Blocks that are read together."""
    start = 0
    ends = (blocks["offset"] + blocks["size"]).astype("i8")
    while start < len(blocks):
        limit = int(blocks["offset"][start]) + _RUN_BYTES
        end = max(start + 1, int(np.searchsorted(ends, limit, "right")))
        yield blocks[start:end]
        start = end


def _read(segment: Segment, run: Array) -> Array | None:
    first, last = int(run["offset"][0]), int(run["offset"][-1]) + int(run["size"][-1])
    try:
        # Kernels want memory they might write to, so no view of immutable bytes.
        return np.frombuffer(bytearray(segment.read(first, last - first)), "u1")
    except StoreError:
        return None


def _compiled() -> _Verify:
    from seqvault.vault.kernels.decode import verify_block

    def verify(data: Array, at: int, entry: np.void) -> int:
        names = ("size", "user", "start", "rows", "first_s", "last_s")
        return int(verify_block(data, at, *(entry[name] for name in names)))

    return verify


def _plainly(data: Array, at: int, entry: np.void) -> int:
    try:
        found = read_header(data, at, int(entry["size"]))
    except BlockDamage as error:
        return error.code
    names = ("user", "start", "rows", "first_s", "last_s")
    return OK if all(getattr(found, name) == entry[name] for name in names) else NOT_EXPECTED


def _known(data: Array, at: int, schemas: frozenset[int], dictionaries: frozenset[int]) -> int:
    *_, schema, _, dictionary = HEAD.unpack_from(data.data, at)
    if schema not in schemas:
        return BAD_COLUMN
    return OK if not dictionary or dictionary in dictionaries else NO_DICTIONARY
