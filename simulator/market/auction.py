"""The auction: pages are won, priced, clicked and charged, one request after the other.

Letters: R requests, C candidates of a request, S slots of the largest page, A ads, V advertisers,
B budget rows (usually days). Money is in the currency of `tcpa`; eCPM is per 1,000 impressions.

The loop is sequential because a click takes budget and an empty budget leaves later auctions.
`run_auctions` compiles it (numba); `simulator.market.plain` says the same slowly and readably,
and tests compare the two bit for bit. Start with `run_auctions`.

Source: generalised second price, Edelman, Ostrovsky and Schwarz, American Economic Review 97(1), 2007.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simulator.draws import uniform
from simulator.errors import SimulatorError
from simulator.market.draws import DELAY
from simulator.market.kernel import auction_loop

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
Pricing = Literal["gsp", "first"]
Charge = Literal["click", "impression"]


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

    pricing: "gsp" (the least that keeps the slot) or "first" (the own bid).
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
            ("pricing", self.pricing, ("gsp", "first")),
            ("charge", self.charge, ("click", "impression")),
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


def auction_order(response_s: F8, request_id: NDArray[np.uint64]) -> I8:
    """Rows in the order of (response time, request id).

    Raises:
        MarketError: a response time is NaN.
    """
    if np.isnan(response_s).any():
        raise MarketError(
            f"{int(np.isnan(response_s).sum())} response times are NaN, expected min(completion, deadline). "
            "Fill them before ordering the auctions."
        )
    return np.lexsort((request_id, response_s)).astype(np.int64)


def run_auctions(order: I8, pages: Pages, book: Book, budgets: F8, rules: Rules, seed: int) -> Auctions:
    """Run every auction of a trace, in order.

    Among candidates whose advertiser has budget left, the slots go to the highest
    eCPM = 1000·pCTR·pCVR·tCPA, ties to the lower ad index; eCPM of 0 or below the reserve does not
    show. The winner of a slot pays per click, under GSP, max(next eCPM, reserve) / (1000·pCTR),
    never above its own bid per click pCVR·tCPA, and never more than the advertiser's budget has left.
    A click is drawn by (request, ad, slot), a conversion by (request, ad): the same page gets
    the same answer whoever shows it.

    Args:
        order: (R,) i8 row order, see `auction_order`.
        budgets: (B, V) f8 [currency], inf = unlimited; a hard stop, no pacing.
        seed: the experiment's seed.

    Returns:
        `Auctions`; rows stay in the order of `pages`.

    Raises:
        MarketError: shapes or values do not fit.
    """
    check_inputs(order, pages, book, budgets)
    rows, slots = pages.candidates.shape[0], pages.p_click.shape[2]
    ad, where = np.full((rows, slots), -1, np.int64), np.zeros((rows, slots), np.int64)
    price, charged = np.full((rows, slots), np.nan), np.zeros((rows, slots))
    click, conversion = np.zeros((rows, slots), np.bool_), np.zeros((rows, slots), np.bool_)
    expected_paid = np.zeros((rows, slots))
    spend = np.zeros(budgets.shape)
    auction_loop(
        order,
        pages,
        book,
        budgets,
        rules,
        seed,
        (ad, where, price, charged, click, conversion, expected_paid, spend),
    )
    return assemble(
        pages, book, rules, seed, ad, where, price, charged, click, conversion, expected_paid, spend
    )


def assemble(
    pages: Pages,
    book: Book,
    rules: Rules,
    seed: int,
    ad: I8,
    where: I8,
    price: F8,
    charged: F8,
    click: NDArray[np.bool_],
    conversion: NDArray[np.bool_],
    expected_paid: F8,
    spend: F8,
) -> Auctions:
    """The columns that follow from who won what: (R, S) arrays in, `Auctions` out."""
    shown = ad >= 0
    row, slot = np.nonzero(shown)
    won, place = ad[row, slot], where[row, slot]

    def spread(values: F8, empty: float = np.nan) -> F8:
        full = np.full(ad.shape, empty)
        full[row, slot] = values
        return full

    p_click = spread(pages.p_click[row, place, slot])
    p_convert = spread(pages.p_convert[row, place])
    bid = spread(book.tcpa[won])
    value = np.where(conversion, bid, 0.0)
    delay = -rules.conversion_delay_s * np.log1p(-uniform(seed, DELAY, pages.request_id[row], won))
    when = spread(pages.time_s[row] + delay)
    clicks_true = np.where(shown, p_click, 0.0)
    conversions_true = np.where(shown, p_click * p_convert, 0.0)
    cell = pages.budget_row[row] * spend.shape[1] + book.advertiser[won]

    def booked(values: NDArray[np.generic]) -> F8:
        totals = np.bincount(cell, weights=values[row, slot].astype(np.float64), minlength=spend.size)
        return totals.astype(np.float64).reshape(spend.shape)

    return Auctions(
        ad=ad,
        pctr=spread(pages.pctr[row, place]),
        pcvr=spread(book.pcvr[won]),
        bid=bid,
        price=price,
        p_click=p_click,
        p_convert=p_convert,
        click=click,
        conversion=conversion,
        conversion_s=np.where(conversion, when, np.nan),
        charged=charged,
        value=value,
        expected_impressions=shown.sum(1).astype(np.float64),
        expected_clicks=clicks_true.sum(1),
        expected_conversions=conversions_true.sum(1),
        expected_revenue=expected_paid.sum(1),
        expected_advv=np.where(shown, conversions_true * bid, 0.0).sum(1),
        ledger=Ledger(
            spend=spend,
            clicks=booked(click).astype(np.int64),
            conversions=booked(conversion).astype(np.int64),
            value=booked(value),
        ),
    )


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
            raise MarketError(f"{name} has shape {found}, expected {expected}. Give one entry a row.")
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
