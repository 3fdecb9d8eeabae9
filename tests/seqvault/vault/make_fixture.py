"""Writes the fixture of the current format: python tests/seqvault/vault/make_fixture.py FOLDER

Run once, before a format is promised; a fixture is never made again. It holds a bit of everything a folder
can: two sequences (one evolved, with a cap), packed and compressed blocks, superseded blocks, a
deleted user, a floor of expiry, batch ids, an unsealed tail, equal times and late behaviours.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from seqvault import BEHAVIOURS, Column, HistorySchema, SequenceType
from seqvault.memory import MemoryStore
from seqvault.vault import SeqVault

TIME, PRICE = Column("time_s", "i8", "s"), Column("price_cent", "u4")
OLD = HistorySchema("orders", 1, (TIME, PRICE, Column("shop", "u2")))
NEW = HistorySchema("orders", 2, (TIME, PRICE, Column("currency", "u1", default=3)))
START_S = 1_700_000_000
EVERYONE = np.array([0, 1, 2, 3, 4, 5, 2**64 - 1], "u8")

Rows = tuple[np.ndarray, dict[str, np.ndarray]]


class Draws:
    """Random behaviours; the file of expected contents keeps them, whatever numpy draws later."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(20)
        self._items = self._rng.integers(1, 1 << 63, 120, dtype="u8") * 2
        self._categories = self._rng.integers(0, 400, 120)

    def views(self, rows: int, at_s: int, span_s: int) -> Rows:
        picked = self._rng.integers(0, len(self._items), rows)
        columns = {"time_s": at_s + self._rng.integers(0, span_s, rows)}
        columns |= {"item_id": self._items[picked], "category": self._categories[picked]}
        for name, limit in (("action", 5), ("scene", 3), ("dwell_s", 900)):
            columns[name] = self._rng.integers(0, limit, rows)
        return self._rng.choice(EVERYONE, rows), columns

    def orders(self, rows: int, third: str) -> Rows:
        columns = {"time_s": START_S + self._rng.integers(0, 500, rows)}
        columns["price_cent"] = self._rng.integers(100, 10**6, rows)
        columns[third] = self._rng.integers(0, 3, rows)
        return self._rng.choice(EVERYONE, rows), columns


def kinds(orders: HistorySchema) -> tuple[SequenceType, ...]:
    return SequenceType("behaviours", BEHAVIOURS), SequenceType("orders", orders, cap=40, ttl_s=10**6)


def make(folder: Path, oracle: MemoryStore) -> None:
    """A store in `folder`, and the same in the oracle."""
    draws = Draws()
    options = {"block_rows": 64, "background": False}
    with SeqVault(folder, sequences=kinds(OLD), codec="zstd", **options) as store:
        loaded, old = draws.views(700, START_S, 5000), draws.orders(150, "shop")
        store.bulk_load(*loaded)
        store.append(*old, sequence="orders")
        store.compact(full=True)
    oracle.append(*loaded)
    old[1]["currency"] = np.full(150, 3)
    del old[1]["shop"]
    oracle.append(*old, sequence="orders")
    with SeqVault(folder, sequences=kinds(NEW), codec="packed", **options) as store:
        for turn in range(6):
            views = draws.views(45, START_S + 4800 + 40 * turn, 90)
            store.append(*views, batch_id=turn)
            oracle.append(*views)
            if turn == 3:
                store.seal()
        for target in (store, oracle):
            target.delete_user(4)
            target.expire(START_S + 60)
        orders = draws.orders(60, "currency")
        store.append(*orders, sequence="orders")
        oracle.append(*orders, sequence="orders")
        store.seal()
        views, orders = draws.views(40, START_S + 4900, 200), draws.orders(7, "currency")
        for target in (store, oracle):
            target.append(*views)
            target.append(*orders, sequence="orders")


def main(out: Path) -> None:
    """The store, and what must be read from it, one file per sequence."""
    oracle = MemoryStore(sequences=kinds(NEW))
    with TemporaryDirectory() as folder:
        make(Path(folder) / "store", oracle)
        with SeqVault(Path(folder) / "store", schema=None, read_only=True) as store:
            # A snapshot's log is as long as its records; a writer reserves space for more.
            store.snapshot(out / "store")
    for name in ("behaviours", "orders"):
        batch = oracle.read_last(EVERYONE, 1 << 40, sequence=name)
        arrays = {"user_ids": batch.user_ids, "offsets": batch.offsets, **batch.columns}
        np.savez_compressed(out / f"{name}.npz", **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
