"""From a thousand users to a million: what a read costs, and what a user costs in memory.

    python benchmarks/stores/scale.py [--quick] [--json] [--out FILE]

Every user has 32 behaviours, so that only their number grows; a read asks for all of them, users drawn evenly
(no cache helps). Engines as in store_reads, interleaved, five rounds. Memory: what the index holds, by its
own count and by how much the process grows when the store opens; RocksDB's indexes and filters by its own.

At 10,000 behaviours per user: a store of such users by its own count, and an index of as many blocks for a
million users by the growth of the process; the bar takes the higher.
"""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.result import Measured, bar, main
from benchmarks.stores.harness.clock import own_core, summary
from benchmarks.stores.harness.engines import ALL, Engine, RocksEngine, VaultEngine, interleaved, verify
from benchmarks.stores.harness.generator import Histories, draw
from benchmarks.stores.harness.memory import index_growth, open_growth
from benchmarks.stores.harness.rocks import Rocks, missing, write_source
from benchmarks.stores.harness.vault import noting, open_vault

SEED = 7
ROUNDS = 5
BEHAVIOURS = 32
# Users are added so many at a time: the same rows again under other ids.
PORTION = 100_000
LONG, LONG_USERS = 10_000, 1000


def repeated(histories: Histories, times: int) -> Histories:
    """The same rows for `times` as many users."""
    users = np.arange(times * len(histories.users), dtype="u8")
    steps = np.tile(histories.lengths, times)
    columns = {name: np.tile(values, times) for name, values in histories.columns.items()}
    return Histories(users, np.concatenate(([0], np.cumsum(steps))), columns)


def at_scale(users: int, rocks: Rocks | None, made: Path, requests: int) -> list[dict[str, Any]]:
    """Rows of one number of users: memory, then reads."""
    portion = min(users, PORTION)
    histories = repeated(draw(portion, SEED, lengths=np.full(portion, BEHAVIOURS)), users // portion)
    rows: list[dict[str, Any]] = []
    with open_vault(made / "packed", histories.schema) as store:
        store.bulk_load(histories.user_ids, histories.columns)
    rows.append({"users": users, "engine": "packed", **open_growth(made / "packed", histories)})
    engines: list[Engine] = []
    with ExitStack() as running:
        store = running.enter_context(open_vault(made / "packed", histories.schema))
        engines.append(VaultEngine("packed", store))
        if rocks is not None:
            source = write_source(histories, made / "source")
            for layout in "AC":
                rocks.load(made / layout, source, layout, 4)
                handle = rocks.open(made / layout, layout, 4)
                running.callback(rocks.close, handle)
                engines.append(RocksEngine(layout, rocks, handle))
                rows.append({"users": users, "engine": layout, "index_bytes": rocks.memory(handle)})
        rows += read_rounds(engines, histories, requests)
    for row in rows:
        if "index_bytes" in row:
            row["bytes_per_user"] = round(row["index_bytes"] / users, 1)
    return rows


def read_rounds(engines: list[Engine], histories: Histories, requests: int) -> list[dict[str, Any]]:
    """Rounds of reads; each round asks users of its own, so that none is in a processor's cache."""
    rng = np.random.default_rng(SEED)
    users = len(histories.users)
    rows: list[dict[str, Any]] = []
    verify(engines, histories, [((int(user),), ALL) for user in rng.integers(0, users, 50)])
    for turn in range(-1, ROUNDS):
        asked = [((int(user),), ALL) for user in rng.integers(0, users, requests)]
        for (name, _), took in interleaved({ALL: engines}, asked, rng).items():
            rows.append({"users": users, "engine": name, "round": turn, **summary(took)})
    return [row for row in rows if row["round"] >= 0]


def long_histories(users: int, made: Path) -> list[dict[str, Any]]:
    """Memory a user with LONG behaviours takes."""
    histories = draw(users, SEED, lengths=np.full(users, LONG))
    with open_vault(made / "long", histories.schema) as store:
        store.bulk_load(histories.user_ids, histories.columns)
        blocks = store.stats()["blocks"]
    what = {"behaviours_per_user": LONG, "engine": "packed"}
    small: dict[str, Any] = {
        **what,
        "users": users,
        "blocks": blocks,
        **open_growth(made / "long", histories),
    }
    small["bytes_per_user"] = round(small["index_bytes"] / users, 1)
    large: dict[str, Any] = {**what, **index_growth(blocks_per_user=-(-blocks // users))}
    large["bytes_per_user"] = round(large["resident_growth_bytes"] / large["users"], 1)
    return [small, large]


def measure(quick: bool) -> Measured:
    """Reads and memory by number of users, and memory of long histories."""
    rows: list[dict[str, Any]] = []
    scales = (1_000, 10_000, 100_000) if quick else (1_000, 10_000, 100_000, 1_000_000)
    with ExitStack() as running:
        rocks = running.enter_context(Rocks()) if missing() is None else None
        running.enter_context(own_core(rocks.process_id if rocks else None))
        if rocks is None:
            rows.append({"engine": "A, C", "value": None, "reason": missing()})
        for users in scales:
            with tempfile.TemporaryDirectory() as folder, noting(rows, engine="packed", users=users):
                rows += at_scale(users, rocks, Path(folder), 200 if quick else 1000)
        with tempfile.TemporaryDirectory() as folder, noting(rows, engine="packed"):
            rows += long_histories(100 if quick else LONG_USERS, Path(folder))
    # A store of few users cannot fill its index's smallest table: it says nothing about a user.
    found = [
        row["bytes_per_user"] for row in rows if "behaviours_per_user" in row and row["users"] >= LONG_USERS
    ]
    return rows, [bar("dram_per_user_10k", max(found) if found else None, 150, 90, "lower")]


if __name__ == "__main__":
    main("store_scale", __doc__, SEED, measure)
