"""Daily budgets: what advertisers would spend with control everywhere, times a keyed draw; told in clicks.

Letters as in `simulator.market.auction`: B budget rows (days), V advertisers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.config.market import Charge
from simulator.draws import normal
from simulator.market.pages import F8, I8, Book, MarketError, Shown


@dataclass(frozen=True)
class Demand:
    """What advertisers would pay and get without budgets, at the true click probabilities.

    spend: (V,) [currency].
    clicks: (V,).
    """

    spend: F8
    clicks: F8

    @property
    def click_cost(self) -> F8:
        """(V,) what a click costs each advertiser, whatever it is charged for; the mean where it has none."""
        mean = self.spend.sum() / max(self.clicks.sum(), 1e-300)
        paid = (self.clicks > 0) & (self.spend > 0)
        cost: F8 = np.where(paid, self.spend / np.where(paid, self.clicks, 1.0), mean)
        return cost


def demand(parts: Iterable[Shown], book: Book, advertisers: int, charge: Charge = "click") -> Demand:
    """Spend and clicks by advertiser.

    Args:
        parts: the pages of a run without budgets, usually all-control over the pre-period.
        book: what the auction knew of ads.
        advertisers: V.
        charge: what is paid for, see `Rules`.
    """
    found = Demand(np.zeros(advertisers), np.zeros(advertisers))
    for pages in parts:
        won = np.nonzero(pages.ad >= 0)
        ad, p_click = pages.ad[won], pages.p_click[won]
        chance = {
            "click": p_click,
            "impression": pages.pctr[won],
            "conversion": p_click * pages.p_convert[won] / pages.pcvr[won],
        }[charge]
        # One after the other, so that how pages are parted changes no bit.
        np.add.at(found.spend, book.advertiser[ad], chance * pages.price[won])
        np.add.at(found.clicks, book.advertiser[ad], p_click)
    return found


def daily_budgets(
    before: Demand,
    pre_requests: int,
    requests: I8,
    *,
    tau: float,
    seed: int,
    sigma: float = 0.5,
    clicks: float = 10.0,
) -> F8:
    """A budget for each day and advertiser, worth some clicks at least.

    Spend per pre-period request, times the day's requests, times LogN(tau, sigma) drawn by
    advertiser: a budget is an advertiser's setting, so the factor is the same every day. But no
    advertiser sets a budget that ends with its first clicks: `clicks` times what one costs it is the least.

    Args:
        before: the pre-period, served by control alone.
        pre_requests: requests of the pre-period.
        requests: (B,) requests of each budget row.
        tau: mean of the factor's logarithm; below 0 budgets are tight, above 0 slack.
        sigma: standard deviation of the factor's logarithm, >= 0.
        seed: the experiment's seed.
        clicks: the least that a budget is worth, >= 0.

    Returns:
        (B, V) [currency].

    Raises:
        MarketError: no pre-period requests, no spend to scale, or sigma is negative.
    """
    spend = before.spend
    if pre_requests <= 0 or not spend.sum() > 0:
        raise MarketError(
            f"The pre-period has {pre_requests} requests and spend {float(spend.sum())}, "
            "expected some of both. "
            'Lengthen the pre-period, or set market.budgets = "unlimited".'
        )
    if not sigma >= 0:
        raise MarketError(f"market.budget_sigma is {sigma}, expected a number >= 0.")
    factor = np.exp(tau + sigma * normal(seed, "budget", np.arange(len(spend))))
    per_request: F8 = spend / pre_requests * factor
    wanted = np.asarray(requests, np.float64)[:, None] * per_request[None, :]
    return np.maximum(wanted, clicks * before.click_cost)


def exhausted(spend: F8, budgets: F8, click_cost: F8) -> NDArray[np.bool_]:
    """(B, V) whether what is left of a budget no longer pays a click at its mean cost; never if unlimited.

    Args:
        spend: (B, V) [currency].
        budgets: (B, V) [currency].
        click_cost: (V,) [currency], see `Demand`.
    """
    out: NDArray[np.bool_] = np.isfinite(budgets) & (budgets - spend < click_cost)
    return out


def unlimited(rows: int, advertisers: int) -> F8:
    """(B, V) budgets that never stop anyone."""
    return np.full((rows, advertisers), np.inf)
