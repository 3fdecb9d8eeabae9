"""What an auction is given and what it returns: pages, book and rules in, auctions and their ledger out.

Letters: R requests, C candidates of a request, S slots of the largest page, A ads, V advertisers,
B budget rows (usually days). Money is in the currency of `tcpa`; eCPM is per 1,000 impressions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from simulator.config.settings import Charge, Pricing
from simulator.errors import SimulatorError

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]


class MarketError(SimulatorError):
    """Inputs that no auction can be run on."""


@dataclass(frozen=True)
class Book:
    """What the auction knows of ads: arrays by ad index, (A,) each.

    pcvr: predicted P(conversion | click), the ad's, shared by the arms.
    tcpa: the advertiser's target cost per conversion [currency].
    advertiser: whose ad it is, in [0, V).
    """

    pcvr: F8
    tcpa: F8
    advertiser: I8


@dataclass(frozen=True)
class Pages:
    """The requests to be auctioned, rows in any order.

    request_id: (R,) u8, the draws' key and the tie-break at equal response times.
    time_s: (R,) f8, log time of the request [s]; conversions are dated from it.
    candidates: (R, C) i8 ad index, -1 where a request has fewer; an ad's first appearance counts.
    pctr: (R, C) f8, predicted P(click | impression); read only where a candidate is.
    slots: (R,) i8, slots of the page, at most S.
    budget_row: (R,) i8, the row of `budgets` that pays, usually the day. A design that splits
        budgets gives each arm rows of its own.
    p_click: (R, C, S) f8, the truth P(click) of the candidate at each position.
    p_convert: (R, C) f8, the truth P(conversion | click).
    """

    request_id: NDArray[np.uint64]
    time_s: F8
    candidates: I8
    pctr: F8
    slots: I8
    budget_row: I8
    p_click: F8
    p_convert: F8


@dataclass(frozen=True)
class Rules:
    """How the market works.

    pricing: "gsp" (generalised second price: the least that keeps the slot) or "first" (the own bid).
    charge: "click", or "impression": price times pCTR for every impression. Billing on predictions
        rewards a model that predicts high (a labelled switch, not the default).
    reserve_ecpm: eCPM below which an ad does not show [currency per 1,000 impressions].
    conversion_delay_s: mean of the exponential time from click to conversion [s].
    """

    pricing: Pricing = "gsp"
    charge: Charge = "click"
    reserve_ecpm: float = 0.0
    conversion_delay_s: float = 3600.0

    def __post_init__(self) -> None:
        for name, found, known in (
            ("pricing", self.pricing, get_args(Pricing)),
            ("charge", self.charge, get_args(Charge)),
        ):
            if found not in known:
                raise MarketError(f"market.{name} is {found!r}, expected one of {known}. Change the setting.")
        if not (np.isfinite(self.reserve_ecpm) and self.reserve_ecpm >= 0):
            raise MarketError(f"market.reserve_ecpm is {self.reserve_ecpm}, expected a number >= 0.")
        if not (np.isfinite(self.conversion_delay_s) and self.conversion_delay_s >= 0):
            raise MarketError(
                f"market.conversion_delay_s is {self.conversion_delay_s}, expected seconds >= 0."
            )


@dataclass(frozen=True)
class Ledger:
    """What advertisers paid and got, (B, V) each: by budget row and advertiser."""

    spend: F8
    clicks: I8
    conversions: I8
    value: F8


@dataclass(frozen=True)
class Auctions:
    """Every page, and its money. Slot arrays are (R, S) in the rows' order of `Pages`.

    ad: ad index, -1 for an empty slot (its numbers are NaN or 0).
    pctr, pcvr, bid: predictions, and the bid (tCPA) [currency per conversion].
    price: per click [currency].
    p_click, p_convert: the truth at the won position.
    click, conversion: what happened; conversion_s: when, log time [s], NaN where none.
    charged: what the advertiser paid; value: tCPA if converted [currency].
    expected_*: (R,) per request, from true probabilities, realised prices and realised budgets.
    """

    ad: I8
    pctr: F8
    pcvr: F8
    bid: F8
    price: F8
    p_click: F8
    p_convert: F8
    click: NDArray[np.bool_]
    conversion: NDArray[np.bool_]
    conversion_s: F8
    charged: F8
    value: F8
    expected_impressions: F8
    expected_clicks: F8
    expected_conversions: F8
    expected_revenue: F8
    expected_advv: F8
    ledger: Ledger


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
    if not np.array_equal(np.sort(order), np.arange(rows)):
        raise MarketError("order is not a permutation of the rows. Make it with auction_order().")
    there = pages.candidates >= 0
    for name, ok, want in (
        ("candidates", pages.candidates.max(initial=-1) < ads, f"ad indices below {ads}"),
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
        ("pcvr", _probabilities(book.pcvr), "numbers in [0, 1]"),
        ("pctr", _probabilities(pages.pctr[there]), "numbers in [0, 1]"),
        ("p_click", _probabilities(pages.p_click[there]), "numbers in [0, 1]"),
        ("p_convert", _probabilities(pages.p_convert[there]), "numbers in [0, 1]"),
    ):
        if not ok:
            raise MarketError(
                f"{name} holds values outside its range, expected {want}. Check the inputs' source."
            )


def _probabilities(values: F8) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())
