"""Reads of the newest 200, 1,000, 10,000 and all behaviours: SeqVault, RocksDB from C++, and the floor.

    python benchmarks/stores/reads.py [--quick] [--json] [--out FILE]

Every request goes to every engine, in an order drawn anew for each; users are drawn by length; nine rounds of
the same requests after one that is dropped. Before that, outputs are compared with what was stored. RocksDB
is timed inside its own process, on a core of its own. SeqVault is charged the whole Python call of a prepared
read, which keeps its output memory as RocksDB's reader does; "read_last" in the rows makes new arrays every
time. CPU is the reading thread's.

    warm    page cache; RocksDB's block cache 8 MB for 19.7 million behaviours (data many times DRAM)
    cached  the same reads with 2 GB of block cache: everything decompressed in DRAM (engines A*, B*, C*)
    equal   the same reads with as much block cache as all that SeqVault has in DRAM: its files, in the page
            cache, and its index (engines A=, B=, C=); RocksDB's files are in the page cache besides
    16      the newest of 16 users in one call, warm: MultiGet in B and H, an iterator in A and C
    cold    O_DIRECT on both sides, indexes in DRAM

A: one key per behaviour. B: one blob per user. C: chunks of 256. H: chunks of 256 and a head per user, which
says where they are. floor: a bare pread of SeqVault's bytes and a memcpy of its output; libzstd: a bare pread
and the decompression of every frame in them.

Engine apart from codec: "packed in RocksDB" and "packed in LMDB" hold SeqVault's packed blocks as values,
under SeqVault's own decoder (blocks.py), called from compiled code, as is "packed, kernel": SeqVault without
the Python around a read. Against "packed, kernel" they say what SeqVault's engine costs or saves; against C,
what its codec does. Warm, both map their files, where SeqVault's pread copies a block.
"""

import gc
import os
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.result import Measured, bar, main
from benchmarks.stores.harness.clock import own_core, summary
from benchmarks.stores.harness.engines import (
    ALL,
    Engine,
    RocksEngine,
    VaultEngine,
    draw_requests,
    interleaved,
    verify,
)
from benchmarks.stores.harness.floors import FloorEngine
from benchmarks.stores.harness.generator import Histories, draw, statistics
from benchmarks.stores.harness.ratios import by_round, ratio, worst
from benchmarks.stores.harness.rocks import COLD, REFERENCE_ROWS, Rocks, missing, write_source
from benchmarks.stores.harness.vault import load_vault, load_with_tails, noting, open_vault

SEED = 7
ROUNDS = 9
NS = {200: "200", 1000: "1k", 10_000: "10k", ALL: "full"}
# Users of a call, and how many behaviours of each.
TOGETHER, TOGETHER_NS = 16, (200, 1000, 10_000)


@dataclass(frozen=True)
class Size:
    """How much is stored and asked."""

    users: int
    requests: int
    full_requests: int

    def of(self, n: int) -> int:
        """Requests of a round for one n."""
        return self.full_requests if n == ALL else self.requests


class Stores:
    """All forms of the same histories, and the engines that read them in each regime."""

    def __init__(self, folder: Path, histories: Histories, rows: list[dict[str, Any]]) -> None:
        self.folder, self.histories, self.rows = folder, histories, rows
        self.lengths = dict(zip(histories.users.tolist(), histories.lengths.tolist(), strict=True))
        self.cache_mb = 8 * histories.rows / REFERENCE_ROWS
        self.rocks: Rocks | None = None

    def load(self, rocks: Rocks | None) -> None:
        """Write every store once."""
        self.rocks = rocks
        if rocks is None:
            self.rows.append({"engine": "A, B, C", "value": None, "reason": missing()})
        else:
            source = write_source(self.histories, self.folder / "source")
            for layout in "ABCH":
                rocks.load(self.folder / layout, source, layout, 4)
        for codec in ("packed", "zstd"):
            with noting(self.rows, engine=codec):
                load_vault(self.folder / codec, self.histories, codec=codec)
        with noting(self.rows, engine="packed in RocksDB, LMDB"):
            from benchmarks.stores.harness.blocks import filled

            with open_vault(self.folder / "packed", self.histories.schema, read_only=True) as store:
                filled(self.folder, store, self.histories)

    def warm(self, open_now: ExitStack) -> tuple[list[Engine], list[Engine]]:
        """Engines for every n, and one that only serves the newest 200."""
        engines = self._rivals("", "ABC", cache_mb=self.cache_mb)
        engines += self._rivals("*", "ABC", cache_mb=2048)
        packed, zstd = self._vault(open_now, "packed"), self._vault(open_now, "zstd")
        if packed is not None:
            engines += self._rivals("=", "ABC", cache_mb=_dram_mb(packed))
            engines += self._elsewhere(open_now, packed, mmap=1)
            engines.append(VaultEngine("packed", packed))
            engines.append(VaultEngine("packed, 2 columns", packed, ("time_s", "item_id")))
            engines.append(VaultEngine("packed, read_last", packed, prepared=False))
        if zstd is not None:
            engines.append(VaultEngine("zstd", zstd))
        tails = open_now.enter_context(load_with_tails(self.folder / "tails", self.histories))
        newest: list[Engine] = [
            VaultEngine("tail", tails),
            VaultEngine("tail, read_last", tails, prepared=False),
        ]
        return engines + self._floors(packed, zstd, direct=False), newest

    def together(self, open_now: ExitStack) -> tuple[list[Engine], list[Engine]]:
        """Engines that are asked for several users at once."""
        engines = self._rivals("", "ABCH", cache_mb=self.cache_mb)
        packed = self._vault(open_now, "packed")
        if packed is not None:
            engines += self._rivals("=", "BCH", cache_mb=_dram_mb(packed))
            engines.append(VaultEngine("packed", packed))
        tails = open_now.enter_context(open_vault(self.folder / "tails", self.histories.schema))
        return engines, [VaultEngine("tail", tails)]

    def cold(self, open_now: ExitStack) -> list[Engine]:
        """Engines that read from the device."""
        # A block that is still cached would be no cold read.
        engines = self._rivals("", "ABC", cache_mb=0.25, **COLD)
        packed, zstd = (self._vault(open_now, codec, direct_io=True) for codec in ("packed", "zstd"))
        engines += [VaultEngine(name, s) for name, s in (("packed", packed), ("zstd", zstd)) if s is not None]
        engines += self._elsewhere(open_now, None, cache_mb=0.25, direct=1, ahead_row_bytes=5)
        return engines + self._floors(packed, None, direct=True)

    def _elsewhere(self, open_now: ExitStack, packed: Any, **words: object) -> list[Engine]:
        """SeqVault's blocks in other engines, and its own read that they are beside."""
        engines: list[Engine] = []
        with noting(self.rows, engine="packed in RocksDB, LMDB"):
            from benchmarks.stores.harness.blocks import BlocksEngine, KernelEngine

            # LMDB has no reads past the page cache.
            chosen = {"RocksDB": words} if packed is None else {"RocksDB": words, "LMDB": {}}
            for engine, options in chosen.items():
                made = BlocksEngine(
                    f"packed in {engine}",
                    engine.lower(),
                    self.folder / engine.lower(),
                    self.histories.schema,
                    int(self.histories.lengths.max()),
                    options,
                )
                open_now.callback(made.close)
                engines.append(made)
            if packed is not None:
                engines.append(KernelEngine("packed, kernel", packed))
        return engines

    def _rivals(self, suffix: str, layouts: str, **tuning: object) -> list[Engine]:
        if self.rocks is None:
            return []
        most = max(int(self.histories.lengths.max()), TOGETHER * max(TOGETHER_NS))
        return [
            RocksEngine(
                layout + suffix,
                self.rocks,
                self.rocks.open(self.folder / layout, layout, 4, rows=most, **tuning),
            )
            for layout in layouts
        ]

    def _vault(self, open_now: ExitStack, codec: str, **options: object) -> Any:
        """One of SeqVault's stores; None, and a row that says why, where it is not available."""
        if not (self.folder / codec).exists():
            return None
        opened = None
        with noting(self.rows, engine=codec, options=str(options)):
            opened = open_now.enter_context(
                open_vault(self.folder / codec, self.histories.schema, codec=codec, **options)
            )
        return opened

    def _floors(self, packed: Any, zstd: Any, *, direct: bool) -> list[Engine]:
        """The floors under what is available."""
        row_bytes = self.histories.schema.row_bytes
        found: list[Engine] = []
        if packed is not None:
            found.append(FloorEngine("floor", packed, self.lengths, row_bytes, direct))
        if zstd is not None:
            with noting(self.rows, engine="libzstd"):
                from benchmarks.stores.harness.zstd_floor import ZstdFloorEngine

                found.append(ZstdFloorEngine("libzstd", zstd, self.lengths, row_bytes, direct))
        return found


def _dram_mb(packed: Any) -> float:
    """What SeqVault has in DRAM when its files are in the page cache."""
    stats = packed.stats()
    return float(stats["bytes_on_disk"] + stats["index_bytes"]) / 1e6


def regime(
    name: str, engines: list[Engine], newest: list[Engine], stores: Stores, size: Size, users: int = 1
) -> list[dict[str, Any]]:
    """Rounds of one regime, all n mixed: a row for each n, engine and round.

    Args:
        newest: engines that serve the newest 200 only.
        users: of a call.
    """
    rng = np.random.default_rng(SEED)
    ns = tuple(NS) if users == 1 else TOGETHER_NS
    requests = [
        request
        for n in ns
        for request in draw_requests(stores.histories, n, -(-size.of(n) // users), rng, users)
    ]
    rng.shuffle(requests)
    asked = {n: engines + (newest if n == 200 else []) for n in ns}
    few = requests[:: max(1, len(requests) // 80)]
    compared = sum(verify(asked[n], stores.histories, [(whom, n)]) for whom, n in few)
    rows: list[dict[str, Any]] = [{"regime": name, "outputs_compared": compared, "outputs_wrong": 0}]
    interleaved(asked, requests, rng)
    for turn in range(ROUNDS):
        # The harness's own garbage must not be collected inside somebody's read.
        gc.collect()
        gc.disable()
        took = interleaved(asked, requests, rng)
        gc.enable()
        rows += [
            {"regime": name, "n": NS[n], "engine": engine, "round": turn, **summary(times)}
            for (engine, n), times in took.items()
        ]
    return rows


def threads(stores: Stores, cores: set[int], seconds: float) -> list[dict[str, Any]]:
    """Queries per second of one and of two reading threads, by turns."""
    rows: list[dict[str, Any]] = []
    bound = os.sched_getaffinity(0)
    with ExitStack() as open_now:
        store = stores._vault(open_now, "packed")
        if store is None:
            return rows
        os.sched_setaffinity(0, cores)
        # Sixteen users per call show the engine without Python's lock; the bars ask for one.
        for n, users in ((1000, 1), (10_000, 1), (1000, 16)):
            for turn in range(ROUNDS):
                for count in (1, 2):
                    rate = reads_per_second(store, stores.histories, n, users, count, seconds)
                    what = {"measure": "threads", "n": NS[n], "users_a_call": users, "threads": count}
                    rows.append({**what, "round": turn, "per_s": round(rate)})
    os.sched_setaffinity(0, bound)
    return rows


def reads_per_second(
    store: Any, histories: Histories, n: int, users: int, count: int, seconds: float
) -> float:
    """Histories that all threads together read in a second of wall time, `users` of them a call."""
    done = [0] * count
    begin, stop = threading.Barrier(count + 1), threading.Event()

    def work(i: int) -> None:
        rng = np.random.default_rng([SEED, i])
        drawn = rng.choice(histories.users, (1024, users), p=histories.lengths / histories.rows)
        asked, read = list(drawn), store.prepare_last(n)
        begin.wait()
        while not stop.is_set():
            read(asked[done[i] % len(asked)])
            done[i] += 1

    readers = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for reader in readers:
        reader.start()
    begin.wait()
    start = time.perf_counter()
    stop.wait(seconds)
    stop.set()
    for reader in readers:
        reader.join()
    return users * sum(done) / (time.perf_counter() - start)


def thread_bar(rows: list[dict[str, Any]], n: int) -> float | None:
    """Median over rounds of two threads' rate over one's."""
    one, two = (
        by_round(rows, "per_s", measure="threads", n=NS[n], users_a_call=1, threads=t) for t in (1, 2)
    )
    return round(median(two[i] / one[i] for i in one), 3) if one else None


def bars_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every bar of reads."""

    def of(metric: str, over: str, under: str, kind: str, label: str) -> float | None:
        return ratio(rows, metric, over, under, regime=kind, n=label)

    bars = []
    for rival, musts, stretches in (
        ("A", (6, 7, 20, 30), (10, 12, 30, 45)),
        ("C", (2.5, 2.5, 4, 5), (4, 4, 6, 7)),
    ):
        for label, must, stretch in zip(NS.values(), musts, stretches, strict=True):
            # The newest 200 come from the tail; against chunks, from blocks too: packed is in the rows.
            engine = "tail" if label == "200" else "packed"
            value = of("cpu_mean_us", rival, engine, "warm", label)
            bars.append(bar(f"warm_cpu_vs_{rival}_{label}", value, must, stretch))
    for label, least, wish in zip(NS.values(), (2, 3.5, 10, 20), (2.5, 4, 14, 28), strict=True):
        value = of("wall_p99_us", "A", "packed", "cold", label)
        bars.append(bar(f"cold_p99_vs_A_{label}", value, least, wish))
    cold = worst([of("wall_p50_us", "packed", "floor", "cold", label) for label in NS.values()])
    warm = worst([of("cpu_mean_us", "packed", "floor", "warm", label) for label in NS.values()])
    zstd = of("cpu_mean_us", "zstd", "libzstd", "warm", "full")
    return [
        *bars,
        bar("floor_cold_p50", cold, 1.8, 1.3, "lower"),
        bar("floor_warm_cpu", warm, 2.8, 1.8, "lower"),
        bar("zstd_vs_libzstd", zstd, 1.25, 1.1, "lower"),
        bar("threads_1k", thread_bar(rows, 1000), 1.5, 1.8),
        bar("threads_10k", thread_bar(rows, 10_000), 1.7, 1.9),
    ]


def measure(quick: bool) -> Measured:
    """Load, read in all regimes, then with threads."""
    size = Size(150, 60, 30) if quick else Size(2000, 400, 200)
    histories = draw(size.users, SEED)
    rows: list[dict[str, Any]] = [{"data": "synthetic", **statistics(histories)}]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        rocks = running.enter_context(Rocks()) if missing() is None else None
        cores = running.enter_context(own_core(rocks.process_id if rocks else None))
        stores = Stores(Path(folder), histories, rows)
        stores.load(rocks)
        with ExitStack() as open_now:
            rows += regime("warm", *stores.warm(open_now), stores, size)
        with ExitStack() as open_now:
            rows += regime(f"{TOGETHER} users", *stores.together(open_now), stores, size, TOGETHER)
        with ExitStack() as open_now:
            rows += regime("cold", stores.cold(open_now), [], stores, size)
        rows += threads(stores, cores, 0.3 if quick else 2.0)
    return rows, bars_of(rows)


if __name__ == "__main__":
    main("store_reads", __doc__, SEED, measure)
