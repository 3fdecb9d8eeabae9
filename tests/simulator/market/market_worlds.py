"""Small random markets for the tests, and pages of a few bidders."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import get_args

import numpy as np

from simulator.config.market import Pricing
from simulator.market.pages import Book, Pages, Rules

RULES = (
    *(Rules(pricing=name) for name in get_args(Pricing)),
    Rules(reserve_ecpm=150.0),
    Rules(charge="impression", reserve_ecpm=50.0),
    Rules(pricing="first", charge="conversion"),
    Rules(pacing="throttle"),
    Rules(pacing="shade", pricing="first", charge="impression"),
    Rules(pricing="vcg", charge="conversion", reserve_ecpm=80.0, slot_weights=(1.0, 0.7, 0.4)),
)


def same(a, b):
    for f in fields(a):
        x, y = getattr(a, f.name), getattr(b, f.name)
        if f.name == "ledger":
            same(x, y)
        else:
            np.testing.assert_array_equal(x, y, err_msg=f.name)


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


def bidders(values: np.ndarray) -> tuple[Pages, Book]:
    """One-slot auctions whose bids per impression are `values` (R, C): every click certain."""
    rows, wide = values.shape
    ads = rows * wide
    pages = Pages(
        request_id=np.arange(rows, dtype=np.uint64),
        time_s=np.zeros(rows),
        candidates=np.arange(ads).reshape(rows, wide),
        pctr=np.ones((rows, wide)),
        slots=np.ones(rows, np.int64),
        budget_row=np.zeros(rows, np.int64),
        p_click=np.ones((rows, wide, 1)),
        p_convert=np.ones((rows, wide)),
    )
    return pages, Book(np.ones(ads), values.ravel(), np.tile(np.arange(wide), rows))


def free(book: Book) -> np.ndarray:
    """No budget for anyone."""
    return np.full((1, book.advertiser.max() + 1), np.inf)


def page_of(*values: float, owner: tuple[int, ...] = (), slots: int = 2) -> tuple[Pages, Book]:
    """One page on which every ad is clicked; its bids per click, and whose they are."""
    pages, book = bidders(np.array([values]))
    pages = replace(pages, slots=np.array([slots]), p_click=np.ones((1, len(values), slots)))
    return pages, replace(book, advertiser=np.array(owner or range(len(values))))
