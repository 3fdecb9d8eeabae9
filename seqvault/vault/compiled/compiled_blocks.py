"""Blocks through the compiled kernels; importing this imports numba."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from seqvault.schema import Array, HistorySchema
from seqvault.vault.compiled.encode import encode_blocks
from seqvault.vault.compiled.refusals import Segments, refuse
from seqvault.vault.compiled.rewrite import READ_BYTES, empty_columns
from seqvault.vault.compiled.scratch import Scratch
from seqvault.vault.compiled.shared_rows import fetch_shared
from seqvault.vault.format.damage import damage
from seqvault.vault.format.entries import ENTRY, is_shared
from seqvault.vault.format.tiers import columns
from seqvault.vault.kernels import tiers as kernel
from seqvault.vault.kernels.decode import MISSING
from seqvault.vault.kernels.rewrite import CANNOT_READ, fetch_blocks, verify_blocks

__all__ = ["CompiledBlocks"]


class CompiledBlocks:
    """Blocks, many in one kernel call; see rewrite.Blocks. For one thread at a time.

    Args:
        codec: how blocks are encoded.
    """

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self._scratch = Scratch()

    def encode(
        self,
        schema: HistorySchema,
        users: Array,
        starts: Array,
        bounds: Array,
        columns: Mapping[str, Array],
        *,
        schema_id: int | None = None,
    ) -> tuple[Array, Array]:
        """See Blocks.encode."""
        return encode_blocks(schema, users, starts, bounds, columns, schema_id=schema_id, codec=self._codec)

    def kept(self, bounds: Array, blocks: Array, new_rows: Array, first_s: Array, full: int) -> Array:
        """See Blocks.kept."""
        found: Array = kernel.kept_blocks(bounds, *columns(blocks), new_rows, first_s, full)
        return found

    def cut(self, totals: Array, full: int, old: int) -> tuple[Array, Array]:
        """See Blocks.cut."""
        users, rows = kernel.cut_blocks(totals, full, old)
        return users, rows

    def fetch(
        self, segments: Segments, versions: Sequence[HistorySchema], blocks: Array, places: Array, rows: int
    ) -> dict[str, Array]:
        """See Blocks.fetch."""
        newest = versions[-1]
        buffer, offsets, columns = empty_columns(newest, rows)
        shared = is_shared(blocks)
        fetch_shared(segments, versions, blocks[shared], places[shared], columns, plain=False)
        blocks, places = blocks[~shared], places[~shared]
        if len(blocks):
            wanted = np.array([_wanted(version, newest, offsets) for version in versions], "u8")
            done, code = fetch_blocks(
                _words(blocks),
                _fds(segments, blocks),
                np.array([version.id for version in versions], "u8"),
                wanted,
                buffer,
                np.ascontiguousarray(places, "u8"),
                _room(blocks),
                self._scratch.work,
                self._scratch.context,
            )
            if done < len(blocks):
                refuse(segments, blocks[done], _reason(code))
        return columns

    def copies(self, segments: Segments, blocks: Array) -> Iterator[tuple[Array, Array]]:
        """See Blocks.copies."""
        words, fds = _words(blocks), _fds(segments, blocks)
        k = 0
        while k < len(blocks):
            data = _room(blocks[k:])
            done, code = verify_blocks(words[k:], fds[k:], data)
            if done == 0:
                refuse(segments, blocks[k], _reason(code))
            copied = blocks[k : k + done]
            yield data[: int(copied["size"].sum(dtype="i8"))], copied
            k += done


def _wanted(version: HistorySchema, newest: HistorySchema, offsets: Array) -> list[list[int]]:
    """What decode_rows is to decode of a block of an older version."""
    return [
        [
            version.names.index(column.name) if column.name in version.names else MISSING,
            newest.dtype(column.name).itemsize,
            int(offset),
            column.default % (1 << 64),
        ]
        for column, offset in zip(newest.columns, offsets, strict=True)
    ]


def _words(blocks: Array) -> Array:
    """(K, 6) u8: the blocks' entries as words."""
    entries = np.empty(len(blocks), ENTRY)
    for name in ENTRY.names or ():
        entries[name] = blocks[name]
    return entries.view("u8").reshape(-1, 6)


def _fds(segments: Segments, blocks: Array) -> Array:
    of_slot = np.full(int(blocks["slot"].max()) + 1, -1, "i8")
    for slot, segment in segments.items():
        if slot < len(of_slot):
            of_slot[slot] = segment.fd
    fds: Array = of_slot[blocks["slot"]]
    return fds


def _room(blocks: Array) -> Array:
    """Room for the largest block, and for many that lie side by side."""
    return np.empty(max(READ_BYTES, int(blocks["size"].max())), "u1")


def _reason(code: int) -> str:
    return "does not read" if code == CANNOT_READ else damage(code)
