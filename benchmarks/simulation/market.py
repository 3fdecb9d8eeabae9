"""How many auctions a CPU second holds: one path with all its pages kept, and many paths of which sums are.

    python benchmarks/simulation/market.py [--quick] [--json] [--out FILE]

Pages of 48 bids and 3 slots, 200 advertisers; every input is checked and every output made. Budgets are
unlimited, or run out early in the day, or in its middle. The plain auction in the same run is the rival, and
what it computes must be what the compiled one does. CPU seconds of one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.result import Measured, bar, main
from simulator.market.auction import Paths, run_auctions
from simulator.market.pages import Book, Pages, Rules
from simulator.market.plain import run_auctions_plain, run_paths_plain

SEED = 14
BIDS, SLOTS, ADS, ADVERTISERS = 48, 3, 2000, 200
PATHS = 16
ROUNDS = 3
BUDGETS = {"unlimited": np.inf, "out in the middle of the day": 150.0, "out early": 20.0}


def pages_of(rows: int) -> tuple[Pages, Book]:
    """Pages of distinct ads, and what is known of the ads."""
    draw = np.random.default_rng(SEED)
    span = ADS // BIDS
    pages = Pages(
        request_id=np.arange(rows, dtype=np.uint64),
        time_s=np.sort(draw.uniform(0, 86_400, rows)),
        candidates=draw.permuted(np.arange(BIDS) * span + draw.integers(0, span, (rows, BIDS)), axis=1),
        pctr=draw.uniform(0.001, 0.1, (rows, BIDS)),
        slots=np.full(rows, SLOTS),
        budget_row=np.zeros(rows, np.int64),
        p_click=draw.uniform(0.001, 0.1, (rows, BIDS, SLOTS)),
        p_convert=draw.uniform(0, 0.3, (rows, BIDS)),
    )
    book = Book(draw.uniform(0.01, 0.2, ADS), draw.lognormal(3, 0.5, ADS), draw.integers(0, ADVERTISERS, ADS))
    return pages, book


def cpu_s(work: Callable[[], Any]) -> float:
    """CPU seconds of the fastest of some rounds."""
    taken = []
    for _ in range(ROUNDS):
        start_s = time.process_time()
        work()
        taken.append(time.process_time() - start_s)
    return min(taken)


def check_against_plain(pages: Pages, book: Book, budgets: Any) -> None:
    """Raise AssertionError where the compiled market computes something else than the plain one."""
    order = np.arange(200)
    few = pages.take(order)
    fast = run_auctions(order, few, book, budgets, Rules(), SEED)
    plain = run_auctions_plain(order, few, book, budgets, Rules(), SEED)
    np.testing.assert_array_equal(fast.charged, plain.charged)
    np.testing.assert_array_equal(fast.expected_advv, plain.expected_advv)
    found = Paths(book, budgets, Rules(), (1, 2)).run(order, few)
    np.testing.assert_array_equal(found, run_paths_plain(order, few, book, budgets, Rules(), (1, 2))[0])


def _sums(book: Book, budgets: NDArray[np.float64], order: NDArray[np.int64], pages: Pages) -> object:
    return Paths(book, budgets, Rules(), range(PATHS)).run(order, pages)


def measure(quick: bool) -> Measured:
    """Rows by budgets and form, and the bar of the slowest of them."""
    rows = 20_000 if quick else 100_000
    pages, book = pages_of(rows)
    order, few = np.arange(rows), 300
    start = pages.take(order[:few])
    found: list[dict[str, Any]] = []
    for name, budget in BUDGETS.items():
        # Scaled with the trace, so that a quick one runs out at the same time of the day.
        budgets = np.full((1, ADVERTISERS), budget * rows / 100_000)
        check_against_plain(pages, book, budgets)
        one_s = cpu_s(partial(run_auctions, order, pages, book, budgets, Rules(), SEED))
        many_s = cpu_s(partial(_sums, book, budgets, order, pages))
        plain_s = cpu_s(partial(run_auctions_plain, order[:few], start, book, budgets, Rules(), SEED))
        for form, seconds, auctions in (
            ("one path, pages kept", one_s, rows),
            (f"{PATHS} paths, sums kept", many_s, PATHS * rows),
            ("plain", plain_s, few),
        ):
            found.append({"budgets": name, "form": form, "auctions_per_cpu_s": round(auctions / seconds)})
    slowest = min(row["auctions_per_cpu_s"] for row in found if row["form"] != "plain")
    return found, [bar("auctions_rps", slowest, 300_000, 400_000)]


if __name__ == "__main__":
    main("simulation_market", __doc__, SEED, measure)
