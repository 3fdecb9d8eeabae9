"""Reading the newest n behaviours: LastN in both layouts against SeqVault, on the same histories.

    python benchmarks/store_read.py [--quick] [--json] [--out FILE]

Every request goes to all stores, one after the other in random order, so that all see the same machine. Data:
item popularity and categories follow power laws, gaps are seconds within a session and hours between them,
lengths are log-normal. Two times a read: `call`, what a Python caller waits for, and `own`, without the
language binding (docs/storage.md). Caches are warm: the page cache holds all, RocksDB has 64 MB for blocks.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from _result import Measured, main

from seqvault import HistoryStore, open_store
from seqvault.lastn.charge import rocksdb_read_s
from seqvault.lastn.store import LastNStore

SEED = 7
ALL = 10**9
STORES: dict[str, tuple[str, dict[str, object]]] = {
    "lastn/behaviours": ("lastn", {"layout": "behaviours"}),
    "lastn/chunks": ("lastn", {"layout": "chunks"}),
    "seqvault": ("seqvault", {}),
}
# P50 own time against the predecessor and the strong layout, warm.
BARS = {("lastn/behaviours", 200): 3.0, ("lastn/behaviours", 1000): 7.0, ("lastn/behaviours", ALL): 20.0}
BARS |= {("lastn/chunks", 200): 2.4, ("lastn/chunks", 1000): 2.4, ("lastn/chunks", ALL): 4.8}


def histories(users: int, mean: int, rng: np.random.Generator):
    """(user ids, columns) of log-normally long histories, each sorted by time."""
    lengths = np.maximum(1, (mean * rng.lognormal(-0.5, 1.0, users)).astype("i8"))
    rows = int(lengths.sum())
    gaps_s = np.where(rng.random(rows) < 0.1, rng.exponential(20_000, rows), rng.exponential(40, rows))
    starts = np.cumsum(lengths) - lengths
    clock_s = np.cumsum(gaps_s.astype("i8"))
    category = rng.zipf(1.3, rows) % 300
    columns = {
        "time_s": 1_700_000_000 + clock_s - np.repeat(clock_s[starts], lengths),
        "item_id": category * 1000 + np.minimum(rng.zipf(1.2, rows), 999),
        "category": category,
        "action": rng.choice(4, rows, p=[0.7, 0.2, 0.07, 0.03]),
        "scene": rng.choice(3, rows, p=[0.6, 0.3, 0.1]),
        "dwell_s": np.minimum(rng.exponential(30, rows), 3600).astype("i8"),
    }
    return np.repeat(np.arange(users), lengths), columns


def read_times(
    stores: dict[str, HistoryStore], batches: list[np.ndarray], n: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """(reads, 2) call and own seconds of each store; the first tenth warms up and is dropped."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in stores}
    names = list(stores)
    for users in batches:
        for i in rng.permutation(len(names)):
            _, took = stores[names[i]].timed_read_last(users, n)
            times[names[i]].append((took.call_s, took.own_s))
    return {name: np.array(rows[len(rows) // 10 :]) for name, rows in times.items()}


def against_rocksdb_clock(store: HistoryStore, users: np.ndarray, n: int) -> dict[str, object]:
    """Own time beside what RocksDB's statistics say about the same reads; the rest is decoding."""
    assert isinstance(store, LastNStore)
    database = store._database
    before = rocksdb_read_s(database)
    own_s = sum(store.timed_read_last([user], n)[1].own_s for user in users)
    rocksdb_s = rocksdb_read_s(database) - before
    return {
        "measure": "own against RocksDB's clock",
        "store": "lastn/chunks",
        "n": n,
        "reads": len(users),
        "own_mean_us": round(1e6 * own_s / len(users), 1),
        "rocksdb_clock_mean_us": round(1e6 * rocksdb_s / len(users), 1),
    }


def measure(quick: bool) -> Measured:
    """Load the stores, read, and collect rows and bars."""
    rng = np.random.default_rng(SEED)
    users, mean, reads = (400, 1500, 300) if quick else (3000, 3000, 2000)
    user_ids, columns = histories(users, mean, rng)
    rows: list[dict[str, object]] = []
    own_p50: dict[tuple[str, int], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        stores: dict[str, HistoryStore] = {}
        for name, (kind, options) in STORES.items():
            stores[name] = open_store(kind, Path(folder) / name, **options)  # type: ignore[arg-type]
            start = time.perf_counter()
            stores[name].bulk_load(user_ids, columns)
            load_s = time.perf_counter() - start
            size = stores[name].stats()["bytes_on_disk"]
            rows.append(
                {
                    "measure": "load",
                    "store": name,
                    "behaviours": len(user_ids),
                    "load_s": round(load_s, 2),
                    "bytes_per_behaviour": round(size / len(user_ids), 2),
                }
            )
        for asked, count in ((1, reads), (64, reads // 20)):
            for n in (200, 1000, ALL):
                # Users weighted by their behaviours: the active ones ask most.
                batches = [rng.choice(user_ids, asked) for _ in range(count)]
                for name, times in read_times(stores, batches, n, rng).items():
                    p50, p99 = (1e6 * np.percentile(times, q, axis=0) for q in (50, 99))
                    rows.append(
                        {
                            "measure": "read",
                            "store": name,
                            "users": asked,
                            "n": "all" if n == ALL else n,
                            "reads": len(times),
                            "call_p50_us": round(p50[0], 1),
                            "call_p99_us": round(p99[0], 1),
                            "own_p50_us": round(p50[1], 1),
                            "own_p99_us": round(p99[1], 1),
                        }
                    )
                    if asked == 1:
                        own_p50[name, n] = float(p50[1])
        for n in (200, 1000):
            rows.append(against_rocksdb_clock(stores["lastn/chunks"], rng.choice(user_ids, reads), n))
        for store in stores.values():
            store.close()
    bars = [
        {
            "name": f"own P50, {against} over seqvault, n={'all' if n == ALL else n}",
            "value": round(own_p50[against, n] / own_p50["seqvault", n], 2),
            "bar": bar,
            "stretch": None,
            "better": "higher",
        }
        for (against, n), bar in BARS.items()
    ]
    return rows, bars


if __name__ == "__main__":
    main("store_read", __doc__, SEED, measure)
