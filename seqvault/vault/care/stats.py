"""What an open store reports about itself: counts, sizes, and where a history lies."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from seqvault.schema import Array
from seqvault.vault.disk.manifest import log_name
from seqvault.vault.engine.table import Table
from seqvault.vault.format.entries import SHARES

if TYPE_CHECKING:
    from seqvault.vault.engine.access import ReadOnly, Writable

__all__ = ["Place", "locate", "stats"]

Portion = TypeVar("Portion")


class Place(NamedTuple):
    """Bytes of a file."""

    path: Path
    offset: int
    size: int


def locate(table: Table, user: int, n: int) -> list[Place]:
    """The blocks that hold a user's newest n behaviours, oldest first, those in the tail left out."""
    with table.lock.shared():
        tail = table.tails.rows_of(user)
        blocks = table.index.blocks_of(user)
    wanted = n - (0 if tail is None else len(tail["time_s"]))
    places: list[Place] = []
    for block in blocks[::-1]:
        if wanted <= 0:
            break
        path = table.segments[int(block["slot"])].path
        places.append(Place(path, int(block["offset"]), int(block["size"]) & ~SHARES))
        wanted -= int(block["rows"])
    return places[::-1]


def stats(folder: Path, access: "ReadOnly | Writable") -> dict[str, int | float]:
    """See SeqVault.stats."""
    state = access.state
    tables = state.tables
    with state.lock.shared():
        unsealed = sum(table.tails.rows for table in tables)
        sealed = sum(table.index.rows for table in tables)
        segments = [segment for table in tables for segment in table.segments.values()]
        log = log_name(state.manifest.log.number)
    looked = [_look(table) for table in tables]
    users = [part for portions, _ in looked for part in portions]
    return {
        "users": len(np.unique(np.concatenate(users))) if users else 0,
        "behaviours": sealed + unsealed,
        "unsealed": unsealed,
        "segments": len(segments),
        "blocks": sum(table.index.blocks for table in tables),
        "bytes_on_disk": _bytes_on_disk(folder, log, access.log_end),
        "live_bytes": sum(live for _, live in looked),
        "index_bytes": sum(table.index.nbytes for table in tables),
        "tail_bytes": sum(table.tails.nbytes for table in tables),
        "durable_sequence": access.durable_sequence,
        "generation": state.manifest.generation,
        "replayed_records": access.replayed.records,
        "torn_bytes": access.replayed.torn_bytes,
        "plain": int(state.options.plain),
        "background_errors": access.background_errors,
        **_hot(tables),
    }


def _hot(tables: list[Table]) -> dict[str, int]:
    """Of the hot tiers, summed."""
    tiers = [table.hot for table in tables if table.hot is not None]
    return {
        "hot_bytes": sum(tier.bytes for tier in tiers),
        "hot_users": sum(len(tier) for tier in tiers),
        "hot_hits": sum(tier.hits for tier in tiers),
        "hot_misses": sum(tier.misses for tier in tiers),
    }


def _look(table: Table) -> tuple[list[Array], int]:
    """Users of one sequence, in portions and some perhaps twice, and bytes of live blocks.

    Nobody who writes waits for more than one portion of it. The tails first: what is sealed meanwhile is in
    the index afterwards.
    """
    of_tails = list(_sections(table, table.tails.user_portions()))
    sealed: list[Array] = []
    segments = dict(table.segments)
    slots = max(segments, default=-1) + 1
    live = np.zeros((slots, 2), "u8")
    for users, of_slot, first in _sections(table, table.index.portions(slots)):
        if first:
            sealed, live = [], np.zeros_like(live)
        sealed.append(users)
        live += of_slot
    of_slots = (segment.live_bytes(*live[slot].tolist()) for slot, segment in segments.items())
    return of_tails + sealed, sum(of_slots)


def _sections(table: Table, portions: Iterator[Portion]) -> Iterator[Portion]:
    """The same, each taken while nothing changes."""
    while True:
        with table.lock.shared():
            portion = next(portions, None)
        if portion is None:
            return
        yield portion


def _bytes_on_disk(folder: Path, log: str, log_end: int) -> int:
    """Bytes of all files; of the live log only what is written, not what is reserved."""
    total = 0
    for file in folder.iterdir():
        try:
            total += min(file.stat().st_size, log_end) if file.name == log else file.stat().st_size
        except FileNotFoundError:
            # Removed by the writer meanwhile.
            continue
    return total
