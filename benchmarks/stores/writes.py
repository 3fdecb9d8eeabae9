"""What a written behaviour costs: CPU, bytes, latency, and what reads and restarts notice of it.

    python benchmarks/stores/writes.py [--quick] [--json] [--out FILE]

- CPU and bytes: the same stream in batches of 1,000 to an empty store, logged but not synced, until all of it
  lies in sealed blocks (SeqVault) or in tables with nothing left to compact (RocksDB, layout A). CPU is the
  whole process's, background threads included; bytes are those passed to write calls.
- Steady state: the second half of a stream whose first half is stored, from settled to settled, so that every
  seal, flush and compaction that it causes is counted. All engines buffer as many MB of unsealed behaviours,
  a small part of what is stored. RocksDB: A, B and C (one key per behaviour, one blob per user, chunks of
  256; blobs and chunks by merges, written.h), each with leveled and with universal compaction. What is
  written is read back and compared. Merges are the cheapest way to write, but leave reads to put together
  what lies in several levels: so the newest 1,000 are read in the state that the writing left.
- Latency: synced appends of 1, 100 and 1,000 behaviours.
- Opening after a crash: a process that wrote the behaviours kills itself; its folder is opened.
- Reads while writing: newest 1,000 at random times, 500 per second, idle and while another thread writes
  100,000 behaviours per second and compacts.
"""

import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.result import Measured, bar, main
from benchmarks.stores.harness.clock import bytes_written
from benchmarks.stores.harness.engines import ALL, RocksEngine, VaultEngine, draw_requests, verify
from benchmarks.stores.harness.generator import Histories, draw
from benchmarks.stores.harness.ratios import by_round, ratio
from benchmarks.stores.harness.rocks import REFERENCE_ROWS, Rocks, missing, read_stream, write_stream
from benchmarks.stores.harness.vault import noting, open_vault, stream_batches

SEED = 7
ROUNDS = 5
BATCH = 1000
BATCHES = (1, 100, 1000)
WRITES_PER_S = 100_000
READS_PER_S = 500
# Logged and not synced, as RocksDB is; by itself SeqVault would sync every 5 ms.
UNSYNCED: dict[str, Any] = {"durability": "async", "flush_interval_s": 3600.0, "flush_rows": 1 << 40}
COMPACTED_EVERY_S = 0.5
# The rivals in steady state: layout and options.
UNIVERSAL: dict[str, object] = {"universal": 1}
STEADY = {
    **{layout: (layout, dict[str, object]()) for layout in "ABC"},
    **{f"{layout}, universal": (layout, UNIVERSAL) for layout in "ABC"},
}
STEADY_ROUNDS, CHECKED_USERS, READ_BACK = 3, 20, 200


@dataclass(frozen=True)
class Size:
    """How much is written and read.

    Args:
        users: of the stream. written, crashed, steady: behaviours. appends: latencies taken.
        seconds: of reading. buffer_mb: unsealed behaviours in steady state.
    """

    users: int
    written: int
    crashed: int
    appends: int
    seconds: float
    steady: int
    buffer_mb: float


def vault_write(folder: Path, stream: Path, rows: int, skip: int = 0, **options: object) -> dict[str, float]:
    """SeqVault: CPU, wall and bytes of the stream from row `skip` on, sealed before and at the end."""
    histories, users = read_stream(stream)
    store = open_vault(folder, histories.schema, **UNSYNCED, **options)
    for ids, columns in stream_batches(users[:skip], histories.columns, BATCH):
        store.append(ids, columns)
    if skip:
        store.seal()
        store.maintain()
    counted = {name: values[skip:] for name, values in histories.columns.items()}
    generation = store.stats()["generation"]
    written, cpu, wall = bytes_written(), time.process_time_ns(), time.perf_counter_ns()
    for ids, columns in stream_batches(users[skip:rows], counted, BATCH):
        store.append(ids, columns)
    store.flush()
    accepted = time.process_time_ns() - cpu
    wall = time.perf_counter_ns() - wall
    store.seal()
    store.maintain()
    stats = store.stats()
    store.close()
    settled = time.process_time_ns() - cpu
    count = rows - skip
    return {
        "cpu_us": accepted / count / 1e3,
        "settled_cpu_us": settled / count / 1e3,
        "million_per_s": count / wall * 1e3,
        "bytes_per_behaviour": (bytes_written() - written) / count,
        "disk_bytes_per_behaviour": stats["bytes_on_disk"] / rows,
        # Each seal and each compaction is a manifest of its own.
        "manifests": stats["generation"] - generation,
    }


def rocks_write(
    rocks: Rocks,
    folder: Path,
    stream: Path,
    rows: int,
    skip: int = 0,
    layout: str = "A",
    **options: object,
) -> dict[str, float]:
    """RocksDB: the same."""
    words = {"path": folder, "data": stream, "layout": layout, "item_bytes": 4, "batch": BATCH}
    took = rocks.command("write", **words, rows=rows, skip=skip, upper="lz4", **options)
    count = took["rows"]
    return {
        "cpu_us": took["cpu_ns"] / count / 1e3,
        "settled_cpu_us": took["settled_cpu_ns"] / count / 1e3,
        "million_per_s": count / took["wall_ns"] * 1e3,
        "bytes_per_behaviour": took["written"] / count,
        "disk_bytes_per_behaviour": took["bytes"] / rows,
    }


def costs(rocks: Rocks | None, made: Path, stream: Path, size: Size) -> list[dict[str, Any]]:
    """CPU and bytes of each engine, by turns, a new store each round."""
    rows: list[dict[str, Any]] = []
    rng = np.random.default_rng(SEED)
    if rocks is None:
        rows.append({"measure": "write", "engine": "A", "value": None, "reason": missing()})
    vault_write(made / "warm-up", stream, 10 * BATCH)
    for turn in range(ROUNDS):
        for engine in rng.permutation(["packed"] + (["A"] if rocks is not None else [])):
            folder = made / f"write-{engine}-{turn}"
            what = {"measure": "write", "engine": str(engine), "round": turn, "behaviours": size.written}
            if engine == "packed":
                took = vault_write(folder, stream, size.written)
            else:
                assert rocks is not None
                took = rocks_write(rocks, folder, stream, size.written)
            rows.append({**what, **{name: round(value, 3) for name, value in took.items()}})
            shutil.rmtree(folder)
    return rows


def steady(rocks: Rocks | None, made: Path, stream: Path, size: Size) -> list[dict[str, Any]]:
    """CPU and bytes of the second half of a stream, by turns, a new store each round."""
    rows: list[dict[str, Any]] = []
    rng = np.random.default_rng(SEED)
    skip = size.steady // 2 // BATCH * BATCH
    stored = _by_user(stream, size.steady)
    buffer_bytes = int(size.buffer_mb * 2**20)
    if rocks is None:
        rows.append({"measure": "steady", "engine": "A, B, C", "value": None, "reason": missing()})
    for turn in range(STEADY_ROUNDS):
        for engine in map(str, rng.permutation(["packed"] + (list(STEADY) if rocks is not None else []))):
            folder = made / f"steady-{turn}"
            if engine == "packed":
                took = vault_write(folder, stream, size.steady, skip, tail_bytes=buffer_bytes)
            else:
                assert rocks is not None
                layout, words = STEADY[engine]
                words = {"write_buffer_mb": size.buffer_mb, **words}
                took = rocks_write(rocks, folder, stream, size.steady, skip, layout, **words)
            what = {"measure": "steady", "engine": engine, "round": turn, "behaviours": size.steady - skip}
            took["read_cpu_us"] = _read_back(engine, rocks, folder, stored)
            rows.append({**what, **{name: round(value, 3) for name, value in took.items()}})
            shutil.rmtree(folder)
    return rows


def _by_user(stream: Path, rows: int) -> Histories:
    """The first rows of a stream as the histories that they make."""
    histories, users = read_stream(stream)
    order = np.argsort(users[:rows], kind="stable")
    known, counts = np.unique(users[:rows], return_counts=True)
    return Histories(known, np.concatenate(([0], np.cumsum(counts))), histories.rows_of(order))


def _read_back(engine: str, rocks: Rocks | None, folder: Path, stored: Histories) -> float:
    """Mean CPU in µs of reading the newest 1,000. Raises WrongOutputError: not what was written."""
    whole = [((int(user),), ALL) for user in stored.users[:: -(-len(stored.users) // CHECKED_USERS)]]
    with ExitStack() as opened:
        reader: VaultEngine | RocksEngine
        if engine == "packed":
            store = opened.enter_context(open_vault(folder, stored.schema, read_only=True))
            reader = VaultEngine(engine, store)
        else:
            assert rocks is not None
            layout, words = STEADY[engine]
            words = {"cache_mb": 8 * stored.rows / REFERENCE_ROWS, **words}
            handle = rocks.open(folder, layout, 4, rows=int(stored.lengths.max()), **words)
            opened.callback(rocks.close, handle)
            reader = RocksEngine(engine, rocks, handle)
        verify([reader], stored, whole)
        asked = draw_requests(stored, 1000, READ_BACK, np.random.default_rng(SEED))
        took = [reader.read(users, n) for users, n in asked * 2]
    return float(np.mean([one.cpu_ns for one in took[READ_BACK:]])) / 1e3


def latencies(rocks: Rocks | None, made: Path, stream: Path, size: Size) -> list[dict[str, Any]]:
    """Wall time of synced appends."""
    histories, users = read_stream(stream)
    rows: list[dict[str, Any]] = []
    for batch in BATCHES:
        behaviours = min(batch * size.appends, len(users))
        with open_vault(made / f"synced-{batch}", histories.schema) as store:
            took = []
            for ids, columns in stream_batches(users[:behaviours], histories.columns, batch):
                start = time.perf_counter_ns()
                store.append(ids, columns)
                took.append(time.perf_counter_ns() - start)
        p50, p99 = (round(float(np.percentile(took, q)) / 1e3, 1) for q in (50, 99))
        what = {"measure": "synced append", "batch": batch, "appends": len(took)}
        rows.append({**what, "engine": "packed", "wall_p50_us": p50, "wall_p99_us": p99})
        if rocks is not None:
            path = made / f"synced-A-{batch}"
            words = {"layout": "A", "item_bytes": 4, "rows": behaviours, "batch": batch, "sync": 1}
            got = rocks.command("write", path=path, data=stream, **words)
            p50, p99 = round(got["p50_ns"] / 1e3, 1), round(got["p99_ns"] / 1e3, 1)
            rows.append({**what, "engine": "A", "wall_p50_us": p50, "wall_p99_us": p99})
    return rows


def opened_after_crash(made: Path, stream: Path, size: Size) -> list[dict[str, Any]]:
    """Seconds to open what a killed writer left; each round a fresh copy of it."""
    schema = read_stream(stream)[0].schema
    killed = made / "killed"
    writer = [sys.executable, "-m", "benchmarks.stores.harness.crash_writer"]
    done = subprocess.run([*writer, killed, stream, str(size.crashed)])
    if done.returncode != -9:
        raise RuntimeError(f"the writer ended with {done.returncode} before it could kill itself")
    rows: list[dict[str, Any]] = []
    for turn in range(ROUNDS):
        copy = made / "killed-copy"
        shutil.copytree(killed, copy)
        cpu, start = time.process_time(), time.perf_counter()
        with open_vault(copy, schema) as store:
            open_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu
            stats = store.stats()
        what = {"measure": "open after crash", "round": turn, "behaviours": stats["behaviours"]}
        if stats["behaviours"] != size.crashed:
            raise RuntimeError(f"{stats['behaviours']} behaviours after the crash, {size.crashed} flushed")
        rows.append(
            {**what, "unsealed": stats["unsealed"], "open_s": round(open_s, 3), "cpu_s": round(cpu_s, 3)}
        )
        shutil.rmtree(copy)
    return rows


class Writer(threading.Thread):
    """Appends at a constant rate and compacts, until told to stop; then on to the next part of the stream."""

    def __init__(self, store: Any, stream: Path, start_row: int) -> None:
        super().__init__()
        self.store, self.row = store, start_row
        self.histories, self.users = read_stream(stream)
        self.ended = threading.Event()
        self.late_s = 0.0

    def run(self) -> None:
        """A batch every BATCH / WRITES_PER_S seconds."""
        compactor = threading.Thread(target=self._compact)
        compactor.start()
        due = time.perf_counter()
        while not self.ended.is_set():
            rows = slice(self.row, self.row + BATCH)
            columns = {name: values[rows] for name, values in self.histories.columns.items()}
            self.store.append(self.users[rows], columns)
            self.row += BATCH
            due += BATCH / WRITES_PER_S
            self.late_s = max(self.late_s, time.perf_counter() - due)
            self.ended.wait(max(0.0, due - time.perf_counter()))
        compactor.join()

    def _compact(self) -> None:
        while not self.ended.is_set():
            self.store.seal()
            self.store.compact()
            self.ended.wait(COMPACTED_EVERY_S)


def read_walls(store: Any, users: np.ndarray, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Wall time in µs of reads that come at random times."""
    took = []
    start = time.perf_counter()
    for at_s in np.cumsum(rng.exponential(1 / READS_PER_S, int(seconds * READS_PER_S))):
        wait_s = start + at_s - time.perf_counter()
        if wait_s > 0:
            time.sleep(wait_s)
        asked = users[rng.integers(len(users), size=1)]
        begin = time.perf_counter_ns()
        store.read_last(asked, 1000)
        took.append((time.perf_counter_ns() - begin) / 1e3)
    return np.array(took)


def while_writing(made: Path, stream: Path, size: Size) -> list[dict[str, Any]]:
    """P99 of reads, idle and while writing, by turns."""
    histories, users = read_stream(stream)
    half = len(users) // 2
    rows: list[dict[str, Any]] = []
    rng = np.random.default_rng(SEED)
    with open_vault(made / "read-while", histories.schema, durability="async") as store:
        store.bulk_load(users[:half], {name: v[:half] for name, v in histories.columns.items()})
        asked, at = np.asarray(users[:half]), half
        read_walls(store, asked, size.seconds / 4, rng)
        for turn in range(ROUNDS):
            for state in ("idle", "writing"):
                writer = Writer(store, stream, at)
                if state == "writing":
                    writer.start()
                took = read_walls(store, asked, size.seconds, rng)
                writer.ended.set()
                if state == "writing":
                    writer.join()
                p50, p99 = (round(float(np.percentile(took, q)), 1) for q in (50, 99))
                what = {"measure": "reads while writing", "engine": state, "round": turn, "reads": len(took)}
                rows.append(
                    {
                        **what,
                        "wall_p50_us": p50,
                        "wall_p99_us": p99,
                        "written": writer.row - at,
                        "writer_late_s": round(writer.late_s, 3),
                    }
                )
                at = writer.row
    return rows


def middle(rows: list[dict[str, Any]], metric: str, **which: object) -> float | None:
    """Median over rounds; None when not measured."""
    found = by_round(rows, metric, **which)
    return median(found.values()) if found else None


def bars_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every bar of writes."""
    written = middle(rows, "bytes_per_behaviour", measure="write", engine="packed")
    opened = middle(rows, "open_s", measure="open after crash")
    noticed = ratio(rows, "wall_p99_us", "writing", "idle", measure="reads while writing")
    return [
        bar("write_cpu_vs_A", ratio(rows, "settled_cpu_us", "A", "packed", measure="write"), 15, 25),
        bar("bytes_written_per_behaviour", written, 35, 25, "lower"),
        bar("open_after_crash_20M_s", opened, 10, 3, "lower"),
        bar("p99_while_writing", noticed, 2.5, 1.5, "lower"),
    ]


def measure(quick: bool) -> Measured:
    """Costs, latencies, a crash, and reads beside writes."""
    # Crashes a batch before the tail would be sealed: the most that there can be to replay.
    if quick:
        size = Size(200, 300_000, 999_000, 60, 1.0, 300_000, 0.5)
    else:
        size = Size(2100, 16_000_000, 19_999_000, 500, 4.0, 8_000_000, 16)
    rows: list[dict[str, Any]] = []
    rocks = Rocks() if missing() is None else None
    try:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder)
            histories = draw(size.users, SEED)
            order = np.argsort(histories.columns["time_s"], kind="stable")
            users, columns = histories.user_ids[order], histories.rows_of(order)
            stream = write_stream(users, columns, made / "stream")
            del histories, users, columns, order
            for part in (
                partial(costs, rocks),
                partial(steady, rocks),
                partial(latencies, rocks),
                opened_after_crash,
                while_writing,
            ):
                with noting(rows, engine="seqvault"):
                    rows += part(made, stream, size)
    finally:
        if rocks is not None:
            rocks.stop()
    return rows, bars_of(rows)


if __name__ == "__main__":
    main("store_writes", __doc__, SEED, measure)
