"""A footer's entries, packed: column by column, as the rows of blocks (block.py) of kind 2.

An entry is 48 bytes (entries.py), nearly all of which its neighbours have as well. The first time is the
blocks' column of times, the last one is stored as its distance from the first, a size as its distance d from
the one before: 2 d, or -2 d - 1 where it is negative.
"""

import numpy as np

from seqvault.schema import Array, Column, HistorySchema
from seqvault.vault.format.block import (
    ENTRIES,
    MAX_ROWS,
    decode_block_plain,
    encode_blocks_plain,
    id_of_kind,
    read_header,
)
from seqvault.vault.format.damage import BAD_COLUMN, BlockDamage
from seqvault.vault.format.entries import ENTRY

__all__ = ["pack_entries", "unpack_entries"]

# Users come sorted, and blocks one behind the other or again and again.
_COLUMNS = (
    Column("time_s", "i8", "s"),
    Column("span_s", "u8", "s", codec="frame"),
    Column("user", "u8", codec="delta"),
    Column("start", "u8", codec="frame"),
    Column("offset", "u8", codec="delta"),
    Column("size_step", "u8", codec="frame"),
    Column("rows", "u4", codec="frame"),
)
_SAME = ("user", "start", "offset", "rows")
_SCHEMA = HistorySchema("entries", 1, _COLUMNS)


def pack_entries(entries: Array) -> bytes:
    """(K,) ENTRY as bytes, a multiple of 8."""
    edges = np.append(np.arange(0, len(entries), MAX_ROWS), len(entries))
    columns = {name: np.ascontiguousarray(entries[name]) for name in _SAME}
    columns["time_s"] = np.ascontiguousarray(entries["first_s"])
    steps = np.diff(entries["size"].astype("i8"), prepend=0)
    columns["size_step"] = np.where(steps < 0, -2 * steps - 1, 2 * steps).astype("u8")
    columns["span_s"] = entries["last_s"].view("u8") - entries["first_s"].view("u8")
    nobody = np.zeros(len(edges) - 1, "u8")
    schema_id = id_of_kind(_SCHEMA.id, ENTRIES)
    data, _ = encode_blocks_plain(_SCHEMA, nobody, nobody, edges, columns, schema_id=schema_id)
    return data.tobytes()


def unpack_entries(data: bytes) -> Array:
    """(K,) ENTRY of bytes that pack_entries made.

    Raises:
        BlockDamage: they fail a checksum, or contradict themselves.
    """
    found, at, packed = [np.empty(0, ENTRY)], 0, np.frombuffer(data, "u1")
    before = np.int64(0)
    while at < len(packed):
        header = read_header(packed, at)
        if (header.kind, header.schema_id, header.columns) != (ENTRIES, _SCHEMA.id, len(_COLUMNS)):
            raise BlockDamage(BAD_COLUMN)
        columns = decode_block_plain(_SCHEMA, packed, at, 0, header.rows, _SCHEMA.names)
        entries = np.empty(header.rows, ENTRY)
        for name in _SAME:
            entries[name] = columns[name]
        steps = (columns["size_step"] >> np.uint64(1)).astype("i8")
        sizes = np.cumsum(np.where(columns["size_step"] & np.uint64(1), ~steps, steps))
        entries["size"] = (sizes + before).astype("u4")
        before = entries["size"][-1].astype("i8")
        entries["first_s"] = columns["time_s"]
        entries["last_s"] = (columns["time_s"].view("u8") + columns["span_s"]).view("i8")
        found.append(entries)
        at += header.size
    return np.concatenate(found)
