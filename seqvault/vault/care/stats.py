"""What an open store reports about itself: counts, sizes, and where a history lies."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from seqvault.vault.disk.manifest import log_name
from seqvault.vault.engine.table import Table

if TYPE_CHECKING:
    from seqvault.vault.engine.access import ReadOnly, Writable

__all__ = ["Place", "locate", "stats"]


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
        places.append(Place(path, int(block["offset"]), int(block["size"])))
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
        live = sum(int(table.index.live_bytes(max(table.segments, default=-1) + 1).sum()) for table in tables)
        users: set[int] = set()
        for table in tables:
            users.update(table.users().tolist())
        log = log_name(state.manifest.log.number)
    return {
        "users": len(users),
        "behaviours": sealed + unsealed,
        "unsealed": unsealed,
        "segments": len(segments),
        "blocks": sum(table.index.blocks for table in tables),
        "bytes_on_disk": _bytes_on_disk(folder, log, access.log_end),
        "live_bytes": live,
        "index_bytes": sum(table.index.nbytes for table in tables),
        "tail_bytes": sum(table.tails.nbytes for table in tables),
        "durable_sequence": access.durable_sequence,
        "generation": state.manifest.generation,
        "replayed_records": access.replayed.records,
        "torn_bytes": access.replayed.torn_bytes,
        "plain": int(state.options.plain),
    }


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
