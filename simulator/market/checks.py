"""Whether an auction may be run on its inputs: the loop indexes without looking."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.kept_code import njit_kept
from simulator.market.pages import F8, I8, Book, MarketError, Pages


def check_inputs(order: I8, pages: Pages, book: Book, budgets: F8) -> None:
    """Raise MarketError unless the auction loop may index without looking."""
    rows, wide = pages.candidates.shape
    slots = pages.p_click.shape[-1]
    ads = len(book.tcpa)
    shapes = {
        "order": (order.shape, (rows,)),
        "request_id": (pages.request_id.shape, (rows,)),
        "time_s": (pages.time_s.shape, (rows,)),
        "pctr": (pages.pctr.shape, (rows, wide)),
        "slots": (pages.slots.shape, (rows,)),
        "budget_row": (pages.budget_row.shape, (rows,)),
        "p_click": (pages.p_click.shape, (rows, wide, slots)),
        "pages.pcvr": ((rows, wide) if pages.pcvr is None else pages.pcvr.shape, (rows, wide)),
        "rest": ((rows,) if pages.rest is None else pages.rest.shape, (rows,)),
        "p_convert": (pages.p_convert.shape, (rows, wide)),
        "pcvr": (book.pcvr.shape, (ads,)),
        "advertiser": (book.advertiser.shape, (ads,)),
    }
    for name, (found, expected) in shapes.items():
        if found != expected:
            raise MarketError(f"{name} has shape {found}, expected {expected}. Give one entry per row.")
    if budgets.ndim != 2:
        raise MarketError(f"budgets has shape {budgets.shape}, expected (budget rows, advertisers).")
    if rows == 0:
        return
    if not _is_permutation(order):
        raise MarketError("order is not a permutation of the rows. Make it with auction_order().")
    candidates = np.ascontiguousarray(pages.candidates, np.int64)
    for name, ok, want in (
        ("candidates", candidates.max(initial=-1) < ads, f"ad indices below {ads}"),
        ("slots", pages.slots.min() >= 0 and pages.slots.max() <= slots, f"0 to {slots}"),
        (
            "budget_row",
            pages.budget_row.min() >= 0 and pages.budget_row.max() < budgets.shape[0],
            f"0 to {budgets.shape[0] - 1}",
        ),
        (
            "advertiser",
            ads == 0 or (book.advertiser.min() >= 0 and book.advertiser.max() < budgets.shape[1]),
            f"0 to {budgets.shape[1] - 1}",
        ),
        ("budgets", bool((budgets >= 0).all()), "amounts >= 0 (inf = unlimited)"),
        ("tcpa", bool(np.isfinite(book.tcpa).all() and (book.tcpa >= 0).all()), "finite amounts >= 0"),
        ("pcvr", bool(((book.pcvr >= 0) & (book.pcvr <= 1)).all()), "numbers in [0, 1]"),
        ("pages.pcvr", pages.pcvr is None or _probabilities(candidates, pages.pcvr), "numbers in [0, 1]"),
        ("pctr", _probabilities(candidates, pages.pctr), "numbers in [0, 1]"),
        ("rest", pages.rest is None or bool((pages.rest >= 0).all()), "eCPM >= 0"),
        ("p_click", _probabilities(candidates, pages.p_click), "numbers in [0, 1]"),
        ("p_convert", _probabilities(candidates, pages.p_convert), "numbers in [0, 1]"),
    ):
        if not ok:
            raise MarketError(
                f"{name} holds values outside its range, expected {want}. Check the inputs' source."
            )


def _is_permutation(order: I8) -> bool:
    seen = np.zeros(len(order), np.bool_)
    inside = (order >= 0) & (order < len(order))
    seen[order[inside]] = True
    return bool(seen.all())


def _probabilities(candidates: I8, values: F8) -> bool:
    """Whether every number that belongs to a candidate lies in [0, 1]: (R, C) or (R, C, S)."""
    flat = np.ascontiguousarray(values, np.float64).reshape(candidates.size, -1)
    return bool(_inside(candidates.reshape(-1), flat))


# Compiled: gathering the values of the candidates that are there took longer than the auctions themselves.
@njit_kept(nogil=True)
def _inside(there: Any, values: Any) -> bool:
    for i in range(len(there)):
        if there[i] >= 0:
            for j in range(values.shape[1]):
                if not 0.0 <= values[i, j] <= 1.0:
                    return False
    return True
