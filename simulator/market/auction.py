"""The auction: pages are won, priced, clicked and charged, one request after the other.

The loop is sequential because a click takes budget and an empty budget leaves later auctions.
`run_auctions` compiles it (numba); `simulator.market.plain` says the same slowly and readably,
and tests compare the two bit for bit. `simulator.market.pages` has what goes in and comes out,
and the letters of the shapes. Start with `run_auctions`.

Source: generalised second price, Edelman, Ostrovsky and Schwarz, American Economic Review 97(1), 2007.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.draws import uniform
from simulator.market.draws import DELAY
from simulator.market.kernel import auction_loop
from simulator.market.pages import F8, I8, Auctions, Book, Ledger, MarketError, Pages, Rules, check_inputs


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
    show. The winner of a slot pays per click what `rules.pricing` says (`simulator.market.plain`),
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
