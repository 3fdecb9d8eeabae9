"""Sealing: behaviours of the tail, and of a bulk load, become blocks of a new segment.

A user's last block is filled up before a new one begins, and late behaviours are merged into the blocks
they belong to, so that blocks stay full and never overlap in time. The blocks this replaces stay behind as
dead bytes until compaction copies the live ones together."""

from collections.abc import Mapping

import numpy as np

from seqvault.errors import DamagedDataError
from seqvault.schema import Array, HistorySchema
from seqvault.vault.format1_block import decode_block, encode_block
from seqvault.vault.reader import HistoryReader
from seqvault.vault.segment import SegmentWriter

__all__ = ["copy_live", "seal_user"]


def seal_user(
    writer: SegmentWriter,
    reader: HistoryReader,
    schema: HistorySchema,
    user: int,
    new: Mapping[str, Array],
    block_rows: int,
) -> None:
    """Write one user's new behaviours, sorted by time, with the stored rows that share their blocks.

    Raises DamagedDataError when those stored rows fail their checksum.
    """
    blocks = reader.blocks(user)
    kept = len(blocks)
    if kept and blocks[-1].rows < block_rows:
        kept -= 1
    while kept and blocks[kept - 1].last_s > new["time_s"][0]:
        kept -= 1
    start = blocks[kept - 1].start + blocks[kept - 1].rows if kept else 0
    if kept < len(blocks):
        old = reader.columns(blocks[kept:], schema.names)
        new = {name: np.concatenate((old[name], new[name])) for name in schema.names}
        times = new["time_s"]
        if np.any(times[1:] < times[:-1]):
            order = np.argsort(times, kind="stable")
            new = {name: values[order] for name, values in new.items()}
    times = new["time_s"]
    for i in range(0, len(times), block_rows):
        columns = {name: values[i : i + block_rows] for name, values in new.items()}
        data = encode_block(schema, user, start + i, columns)
        rows = len(columns["time_s"])
        writer.add(data, user, rows, int(times[i]), int(times[i + rows - 1]), start + i)


def copy_live(writer: SegmentWriter, reader: HistoryReader, schema: HistorySchema) -> None:
    """Copy every live block, verified, users in order. Raises DamagedDataError for one that fails."""
    for block in reader.live_blocks():
        data = reader.segments[block.segment].read(block.offset, block.size)
        if decode_block(schema, data, 0, block, ("time_s",), 0)[0][0] != block.first_s:
            raise DamagedDataError(
                f"block of user {block.user} in segment {block.segment}: its times contradict its head"
            )
        writer.add(data, block.user, block.rows, block.first_s, block.last_s, block.start)
