"""Small random markets for the tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.market.pages import Book, Pages


def market(
    seed: int = 0,
    rows: int = 200,
    wide: int = 8,
    slots: int = 2,
    ads: int = 30,
    advertisers: int = 6,
    days: int = 2,
) -> tuple[np.ndarray, Pages, Book]:
    """Order, pages and book of a random market with duplicates, gaps and ties."""
    rng = np.random.default_rng(seed)
    candidates = rng.integers(-1, ads, (rows, wide))
    # Rounded predictions tie often.
    pctr = np.round(rng.uniform(0.01, 0.2, (rows, wide)), 2)
    pages = Pages(
        request_id=rng.permutation(rows).astype(np.uint64),
        time_s=np.sort(rng.uniform(0, 86_400 * days, rows)),
        candidates=candidates,
        pctr=pctr,
        slots=rng.integers(0, slots + 1, rows),
        budget_row=rng.integers(0, days, rows),
        p_click=rng.uniform(0, 0.6, (rows, wide, slots)),
        p_convert=rng.uniform(0, 0.6, (rows, wide)),
    )
    book = Book(
        pcvr=np.round(rng.uniform(0.05, 0.3, ads), 2),
        tcpa=np.round(rng.lognormal(3, 0.4, ads)),
        advertiser=rng.integers(0, advertisers, ads),
    )
    if seed % 2:  # every other world has a pCVR of user and ad; equal ads on a page have equal ones
        own = np.round(rng.uniform(0.05, 0.3, (rows, ads)), 2)
        pages = replace(pages, pcvr=np.take_along_axis(own, np.maximum(candidates, 0), axis=1))
    return np.arange(rows, dtype=np.int64), pages, book
