"""The hot tier against RocksDB's cache of decompressed blobs, with the same bytes of DRAM.

    python benchmarks/stores/hot.py [--quick] [--json] [--out FILE]

The fairest rival when memory is there: one blob a user (layout B), in a block cache as large as SeqVault's
`hot_bytes`. Users are drawn by length, so that most come again; every request goes to every engine, in an
order drawn anew; two rounds are dropped, in which both sides fill. RocksDB is timed in C++, inside its own
process, on a core of its own; SeqVault is charged the whole Python call of a prepared read. Each n has stores
of its own.

    all     room for every history decoded, twice over
    half    room for half of them: what each side does with too little

packed: the same SeqVault without a hot tier, blocks in the page cache. copied: the hot tier through
`read_last`, which gives arrays of the caller's own, as RocksDB's client copies values out. hit_share: users
answered from the hot tier.

What limits at 200: the call from Python, which costs the same at every length. Of 2.2 µs half a microsecond
is the harness's reading of two clocks; the rest are five Python functions, whose code other engines' reads
have driven out of the caches: alone the call takes .55 µs. It was .84 and 2.8 when the answer was made anew
around kept arrays; keeping the answer itself, knowing a request by being the same object as the last, and
asking the tier before anything else gained a fifth each or less. RocksDB's call, 2.4 µs, is timed in C++ on
a core that nothing else uses.
"""

import gc
import math
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.result import Measured, bar, main
from benchmarks.stores.harness.clock import own_core, summary
from benchmarks.stores.harness.engines import (
    Engine,
    RocksEngine,
    VaultEngine,
    draw_requests,
    interleaved,
    verify,
)
from benchmarks.stores.harness.generator import Histories, draw, statistics
from benchmarks.stores.harness.ratios import ratio
from benchmarks.stores.harness.rocks import Rocks, missing, write_source
from benchmarks.stores.harness.vault import load_vault, open_vault

SEED = 11
NS = {200: "200", 1000: "1k", 10_000: "10k"}
ROOM = {"all": 2.0, "half": 0.5}


def rounds_of(
    histories: Histories, engines: list[Engine], n: int, requests: int, rounds: int, room: str
) -> list[dict[str, Any]]:
    """A row for each engine and round of one n."""
    rng = np.random.default_rng([SEED, n])
    asked = draw_requests(histories, n, requests, rng)
    verify(engines, histories, asked[:40] * 3)
    rows = []
    for turn in range(rounds + 2):
        gc.collect()
        gc.disable()
        took = interleaved({n: engines}, asked, rng)
        gc.enable()
        if turn >= 2:
            what = {"room": room, "n": NS[n], "round": turn - 2}
            rows += [{**what, "engine": name, **summary(times)} for (name, _), times in took.items()]
    return rows


def measure(quick: bool) -> Measured:
    """Load once; for each n and room open both sides anew."""
    users, requests, rounds = (60, 150, 5) if quick else (400, 800, 9)
    histories = draw(users, SEED)
    rows: list[dict[str, Any]] = [{"data": "synthetic", **statistics(histories)}]
    with tempfile.TemporaryDirectory() as place, ExitStack() as running:
        folder = Path(place)
        rocks = running.enter_context(Rocks()) if missing() is None else None
        running.enter_context(own_core(rocks.process_id if rocks else None))
        load_vault(folder / "packed", histories)
        if rocks is None:
            rows.append({"engine": "B", "value": None, "reason": missing()})
        else:
            rocks.load(folder / "B", write_source(histories, folder / "source"), "B", 4)
        for n in NS:
            for room, share in ROOM.items():
                size = int(share * histories.rows * histories.schema.row_bytes)
                with ExitStack() as open_now:
                    rows += _one(folder, histories, rocks, open_now, n, room, size, requests, rounds)
    bars = [
        bar(
            f"hot_vs_blobs_{label}",
            ratio(rows, "cpu_mean_us", "B", "hot", n=label, room="all"),
            1.3,
            2.0,
        )
        for label in NS.values()
    ]
    return rows, bars


def _one(
    folder: Path,
    histories: Histories,
    rocks: Rocks | None,
    open_now: ExitStack,
    n: int,
    room: str,
    size: int,
    requests: int,
    rounds: int,
) -> list[dict[str, Any]]:
    """All rounds of one n with `size` bytes of DRAM on both sides."""
    engines: list[Engine] = []
    stores = {}
    for name, prepared, hot_bytes in (("hot", True, size), ("copied", False, size), ("packed", True, 0)):
        # Nobody writes: a reader that looks for a writer ten times a second is another measurement.
        options = {"read_only": True, "staleness_s": math.inf, "hot_bytes": hot_bytes}
        store = open_vault(folder / "packed", histories.schema, **options)
        stores[name] = open_now.enter_context(store)
        engines.append(VaultEngine(name, store, prepared=prepared))
    handle = None
    if rocks is not None:
        most = int(histories.lengths.max())
        handle = rocks.open(folder / "B", "B", 4, rows=most, cache_mb=size / 2**20)
        engines.append(RocksEngine("B", rocks, handle))
    rows = rounds_of(histories, engines, n, requests, rounds, room)
    found = stores["hot"].stats()
    hits, misses = found["hot_hits"], found["hot_misses"]
    rows.append(
        {
            "room": room,
            "n": NS[n],
            "engine": "hot",
            "bytes": size,
            "bytes_used": found["hot_bytes"],
            "hit_share": round(hits / max(1, hits + misses), 4),
        }
    )
    if rocks is not None and handle is not None:
        rocks.close(handle)
    return rows


if __name__ == "__main__":
    main("store_hot", __doc__, SEED, measure)
