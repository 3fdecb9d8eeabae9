"""What the simulation charges LastN for a read, beside a C++ client reading the very same files.

    python benchmarks/stores/charge.py [--quick] [--json] [--out FILE]

LastN loads the histories through its Python binding; the C++ program opens the same folders, read-only, with
the same settings. Both get every request, in random order, the page cache warm. `charged` is LastN's own_s,
with the binding's share taken off (seqvault/lastn/charge.py); `cpp` is wall time in the program; `call` is
what the Python caller waited. A charge above C++ favours SeqVault in an experiment, one below it LastN.
"""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.result import Measured, bar, main
from benchmarks.stores.harness.clock import own_core
from benchmarks.stores.harness.engines import ALL, Users, WrongOutputError, draw_requests
from benchmarks.stores.harness.generator import Histories, draw
from benchmarks.stores.harness.ratios import by_round
from benchmarks.stores.harness.rocks import Rocks, digest, missing
from seqvault import open_store
from seqvault.lastn import LastNStore

SEED = 7
ROUNDS = 5
# LastN's layouts and how the C++ program calls them.
LAYOUTS = {"behaviours": "A", "blobs": "B", "chunks": "H"}
NS = {200: "200", 1000: "1k", 10_000: "10k", ALL: "full"}
CACHE_MB = {"warm": 8.0, "cached": 2048.0}


def rounds(
    store: LastNStore, rocks: Rocks, handle: int, requests: list[tuple[Users, int]], rng: np.random.Generator
) -> list[dict[int, tuple[float, float, float]]]:
    """By round and n: P50 in µs of the charge, of C++ and of the call; the first round is dropped."""
    found = []
    for turn in range(-1, ROUNDS):
        times: dict[int, list[tuple[float, float, float]]] = {}
        for users, n in requests:
            own_s = call_s = wall_ns = 0.0
            for python in rng.permutation([True, False]):
                if python:
                    took = store.timed_read_last(np.array(users, "u8"), n)[1]
                    own_s, call_s = took.own_s, took.call_s
                else:
                    wall_ns = rocks.read(handle, users, n)[1]
            times.setdefault(n, []).append((1e6 * own_s, 1e-3 * wall_ns, 1e6 * call_s))
        if turn >= 0:
            found.append({n: tuple(np.median(took, axis=0)) for n, took in times.items()})
    return found


def same_output(
    store: LastNStore, rocks: Rocks, handle: int, histories: Histories, requests: list[tuple[Users, int]]
) -> None:
    """Both return what was stored. Raises WrongOutputError."""
    place = {int(user): i for i, user in enumerate(histories.users)}
    for users, n in requests:
        expected = digest(histories.newest(place[users[0]], n))
        python = digest(store.read_last(np.array(users, "u8"), n).columns)
        if (python, rocks.check(handle, users, n)) != (expected, expected):
            raise WrongOutputError(f"the newest {n} behaviours of {users} differ from what was stored")


def compare(
    layout: str, regime: str, path: Path, histories: Histories, rocks: Rocks, count: int
) -> list[Any]:
    """Rows of one layout with one size of block cache."""
    rng = np.random.default_rng(SEED)
    requests = [r for n in NS for r in draw_requests(histories, n, count if n < ALL else count // 2, rng)]
    rng.shuffle(requests)
    scale = histories.rows / 19.7e6 if regime == "warm" else 1.0
    cache_mb = CACHE_MB[regime] * scale
    handle = rocks.open(path / "rocksdb", LAYOUTS[layout], 4, wide=1, prefix=8, cache_mb=cache_mb)
    rows: list[Any] = []
    options: dict[str, Any] = {
        "layout": layout,
        "block_cache_bytes": int(cache_mb * (1 << 20)),
        "read_only": True,
    }
    with open_store("lastn", path, schema=histories.schema, **options) as store:
        assert isinstance(store, LastNStore)
        same_output(store, rocks, handle, histories, requests[:: max(1, len(requests) // 40)])
        for turn, by_n in enumerate(rounds(store, rocks, handle, requests, rng)):
            for n, (own, native, call) in by_n.items():
                what = {"regime": regime, "layout": layout, "n": NS[n], "round": turn}
                times = {"charged_p50_us": own, "cpp_p50_us": native, "call_p50_us": call}
                rows.append({**what, **{name: round(v, 2) for name, v in times.items()}})
    rocks.close(handle)
    return rows


def measure(quick: bool) -> Measured:
    """Load each layout once, then compare with little and with much block cache."""
    reason = missing()
    if reason is not None:
        return [{"engine": "c++", "value": None, "reason": reason}], []
    histories = draw(150 if quick else 800, SEED)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        rocks = running.enter_context(Rocks())
        running.enter_context(own_core(rocks.process_id))
        for layout in LAYOUTS:
            path = Path(folder) / layout
            start = time.perf_counter()
            with open_store("lastn", path, schema=histories.schema, layout=layout) as store:
                store.bulk_load(histories.user_ids, histories.columns)
                size = store.stats()["bytes_on_disk"] / histories.rows
            load_s = round(time.perf_counter() - start, 1)
            rows.append({"layout": layout, "bytes_per_behaviour": round(size, 2), "load_s": load_s})
            for regime in CACHE_MB:
                rows += compare(layout, regime, path, histories, rocks, 30 if quick else 200)
    bars = []
    for layout in LAYOUTS:
        over = [
            median(
                charged / native
                for charged, native in zip(
                    by_round(rows, "charged_p50_us", layout=layout, regime=regime, n=n).values(),
                    by_round(rows, "cpp_p50_us", layout=layout, regime=regime, n=n).values(),
                    strict=True,
                )
            )
            for regime in CACHE_MB
            for n in NS.values()
        ]
        # The control must not pay for its binding: at no n and cache may the charge be far above C++.
        bars.append(bar(f"charge_over_cpp_{layout}", round(max(over), 3), 1.5, 1.2, "lower"))
    return rows, bars


if __name__ == "__main__":
    main("store_charge", __doc__, SEED, measure)
