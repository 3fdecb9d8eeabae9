"""The auction: pages are won, priced, clicked and charged, one request after the other.

The loop is sequential because a click takes budget, and bids follow what is left. `run_auctions`
gives every page of one path; `Paths` runs a world on several paths of clicks at once, in parts as large as
memory allows, and keeps sums. Both are one compiled loop (numba); `simulator.market.plain` says the same
slowly and readably, and tests compare the two bit for bit. `simulator.market.pages` has what goes in and
comes out, and the letters of the shapes. Start with `run_auctions`.

Source: generalised second price, and VCG beside it, Edelman, Ostrovsky and Schwarz, American Economic Review
97(1), 2007.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.draws import uniform
from simulator.market.checks import check_inputs
from simulator.market.draws import DELAY
from simulator.market.kernel import auction_loop
from simulator.market.pages import (
    F8,
    I8,
    Auctions,
    Book,
    Impressions,
    Ledger,
    MarketError,
    Pages,
    Rules,
    Shown,
)
from simulator.metrics import OUTCOMES


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


class Paths:
    """A world on P paths of clicks, run part by part: what budgets have left, and pacing, is carried along.

    Args:
        book: what the auction knows of ads.
        budgets: (B, V) f8 [currency], inf = unlimited; or (P, B, V), each path's own.
        rules: how the market works.
        seeds: a seed of the clicks for each path.

    Attributes:
        totals: (P, 5) each path's expected outcomes so far, in the order of `OUTCOMES`, from true
            probabilities, realised prices and realised budgets.
    """

    def __init__(self, book: Book, budgets: F8, rules: Rules, seeds: Sequence[int]) -> None:
        self._book, self._rules, self._seeds = book, rules, tuple(seeds)
        # Copied: the compiled loop has one form, for arrays that can be written to.
        self._budgets = np.broadcast_to(budgets, (len(self._seeds), *budgets.shape[-2:])).copy()
        self.totals = np.zeros((len(self._seeds), len(OUTCOMES)))
        shape: tuple[int, ...] = self._budgets.shape
        self._spend = np.zeros(shape)
        self._pressure, self._since_s = np.zeros(shape), np.zeros(shape)
        clicks, conversions = np.zeros(shape[1:], np.int64), np.zeros(shape[1:], np.int64)
        self._ledger = Ledger(self._spend[0], clicks, conversions, np.zeros(shape[1:]))

    @property
    def ledger(self) -> Ledger:
        """The first path's, so far."""
        return self._ledger

    def run(
        self,
        order: I8,
        pages: Pages,
        shown: Shown | None = None,
        whole: Callable[[I8], Pages] | None = None,
    ) -> F8:
        """Auction the pages that come next, see `run_auctions`.

        Args:
            order: (R,) i8 row order; all of it comes after the parts before.
            pages: of the requests that come next.
            shown: filled with the first path's pages; they are not kept without it.
            whole: of short pages (`short.py`), gives the whole ones of some rows.

        Returns:
            (R, 5) each request's expected outcomes, summed over the paths.

        Raises:
            MarketError: shapes or values do not fit, or whole pages are needed and not to be had.
        """
        check_inputs(order, pages, self._book, self._budgets.min(axis=0))
        expected = np.zeros((len(order), len(OUTCOMES)))
        kept = Shown.nothing(0, pages.p_click.shape[2]) if shown is None else shown
        ledger = self._ledger
        counted = (ledger.clicks, ledger.conversions, ledger.value)
        out = (expected, self.totals, self._spend, *counted, self._pressure, self._since_s)
        rules = (self._book, self._budgets, self._rules, self._seeds)
        done = auction_loop(order, pages, *rules, kept, out)
        more = 1
        while done < len(order):
            rows = order[done : done + more]
            expected[rows] = self._run_whole(rows, whole, shown)
            # Where budgets end, they end for many pages: ever more are taken whole at a time.
            done, more = done + len(rows), 2 * more
            done += auction_loop(order[done:], pages, *rules, kept, out)
        return expected

    def _run_whole(self, rows: I8, whole: Callable[[I8], Pages] | None, shown: Shown | None) -> F8:
        """Auction some rows' whole pages."""
        if whole is None:
            raise MarketError(
                "A page's best candidates do not settle it, expected that the whole page can be had. "
                "Pass `whole`."
            )
        pages = whole(rows)
        part = None if shown is None else Shown.nothing(len(rows), pages.p_click.shape[2])
        expected = self.run(np.arange(len(rows)), pages, part)
        if shown is not None:
            for name, column in vars(part).items():
                getattr(shown, name)[rows] = column
        return expected


def run_auctions(order: I8, pages: Pages, book: Book, budgets: F8, rules: Rules, seed: int) -> Auctions:
    """Run every auction of a trace, in order.

    A bid per click is pCVR·tCPA, or the most that the advertiser's budget can still pay. The slots go, one
    after the other, to the highest eCPM = 1000·pCTR·bid, ties to the lower ad index; eCPM of 0 or below
    the reserve does not show. The winner of a slot pays per click what `rules.pricing` says
    (`simulator.market.plain`), never above its bid, and its advertiser's other ads set no price of it. What
    the slot may cost is set aside: the next slot meets what is left of the budget. A page is settled before
    its first click. A click is drawn by (request, ad, slot), a conversion by (request, ad): the same page
    gets the same answer whoever shows it.

    Args:
        order: (R,) i8 row order, see `auction_order`.
        budgets: (B, V) f8 [currency], inf = unlimited.
        seed: the experiment's seed.

    Returns:
        `Auctions`; rows stay in the order of `pages`.

    Raises:
        MarketError: shapes or values do not fit.
    """
    paths = Paths(book, budgets, rules, (seed,))
    shown = Shown.nothing(len(pages.slots), pages.p_click.shape[2])
    expected = paths.run(order, pages, shown)
    made = assemble(shown, pages.request_id, pages.time_s, book, rules, seed)
    return auctions_of(made, expected, paths.ledger)


def assemble(
    shown: Shown,
    request_id: NDArray[np.uint64],
    time_s: F8,
    book: Book,
    rules: Rules,
    seed: int,
) -> Impressions:
    """The columns that follow from what was shown.

    Args:
        shown: (R, S) pages.
        request_id, time_s: (R,) of the pages.
        seed: of the clicks.
    """
    row, slot = np.nonzero(shown.ad >= 0)
    won = shown.ad[row, slot].astype(np.int64)

    def spread(values: F8) -> F8:
        full = np.full(shown.ad.shape, np.nan)
        full[row, slot] = values
        return full

    bid = spread(book.tcpa[won])
    return Impressions(
        **vars(shown),
        bid=bid,
        conversion_s=conversion_times(shown, request_id, time_s, rules, seed),
        value=np.where(shown.conversion, bid, 0.0),
    )


def conversion_times(shown: Shown, request_id: NDArray[np.uint64], time_s: F8, rules: Rules, seed: int) -> F8:
    """(R, S) when conversions happen, log time [s]; NaN where there is none. Arguments as in `assemble`."""
    # Only those that converted are dated: drawing for every page would cost more than its auction.
    when = np.full(shown.ad.shape, np.nan)
    where = np.nonzero(shown.conversion)
    drawn = uniform(seed, DELAY, request_id[where[0]], shown.ad[where].astype(np.int64))
    when[where] = time_s[where[0]] - rules.conversion_delay_s * np.log1p(-drawn)
    return when


def auctions_of(made: Impressions, expected: F8, ledger: Ledger) -> Auctions:
    """Pages with their expected outcomes, (R, 5) in the order of `OUTCOMES`, and their ledger."""
    outcomes: dict[str, Any] = {f"expected_{name}": expected[:, k] for k, name in enumerate(OUTCOMES)}
    return Auctions(**vars(made), **outcomes, ledger=ledger)


def warm() -> None:
    """Compile now what the first trace would wait for: an auction of one candidate."""
    one, none = np.ones(1), np.zeros(1, np.int64)
    pages = Pages(
        request_id=none.astype(np.uint64),
        time_s=one,
        candidates=none[:, None],
        pctr=one[:, None],
        slots=none + 1,
        budget_row=none,
        p_click=one[:, None, None],
        p_convert=one[:, None],
    )
    run_auctions(none, pages, Book(one, one, none), one[:, None], Rules(), 0)
