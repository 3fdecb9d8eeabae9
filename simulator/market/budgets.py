"""Daily budgets: what advertisers would spend with control everywhere, times a keyed draw.

Letters as in `simulator.market.auction`: B budget rows (days), V advertisers.
"""

from __future__ import annotations

import numpy as np

from simulator.config.settings import Charge
from simulator.draws import normal
from simulator.market.pages import F8, I8, MarketError, Shown


def expected_spend(pages: Shown, advertiser: I8, advertisers: int, charge: Charge = "click") -> F8:
    """Spend by advertiser at the true click probabilities: (V,) [currency].

    Args:
        pages: a run without budgets, usually all-control over the pre-period.
        advertiser: (A,) the ads' advertisers.
        advertisers: V.
        charge: what is paid for, see `Rules`.
    """
    won = np.nonzero(pages.ad >= 0)
    chance = pages.p_click if charge == "click" else pages.pctr
    paid = chance[won] * pages.price[won]
    return np.bincount(advertiser[pages.ad[won]], paid, advertisers).astype(np.float64)


def daily_budgets(
    pre_spend: F8,
    pre_requests: int,
    requests: I8,
    *,
    tau: float,
    seed: int,
    sigma: float = 0.5,
    floor_share: float = 0.1,
) -> F8:
    """A budget for each day and advertiser.

    Spend per pre-period request, times the day's requests, times LogN(tau, sigma) drawn by
    advertiser: a budget is an advertiser's setting, so the factor is the same every day.

    Args:
        pre_spend: (V,) all-control spend of the pre-period, see `expected_spend` [currency].
        pre_requests: requests of the pre-period.
        requests: (B,) requests of each budget row.
        tau: mean of the factor's logarithm; below 0 budgets are tight, above 0 slack.
        sigma: standard deviation of the factor's logarithm, >= 0.
        seed: the experiment's seed.
        floor_share: advertisers who spent less than this share of the mean advertiser get budgets as
            if they had spent it; one who never won in the pre-period may win in the experiment.

    Returns:
        (B, V) [currency].

    Raises:
        MarketError: no pre-period requests, no spend to scale, or sigma is negative.
    """
    if pre_requests <= 0 or not pre_spend.sum() > 0:
        raise MarketError(
            f"The pre-period has {pre_requests} requests and spend {float(pre_spend.sum())}, "
            "expected some of both. "
            'Lengthen the pre-period, or set market.budgets = "unlimited".'
        )
    if not sigma >= 0:
        raise MarketError(f"market.budget_sigma is {sigma}, expected a number >= 0.")
    spend = np.maximum(pre_spend, floor_share * pre_spend.mean())
    factor = np.exp(tau + sigma * normal(seed, "budget", np.arange(len(pre_spend))))
    per_request: F8 = spend / pre_requests * factor
    return np.asarray(requests, np.float64)[:, None] * per_request[None, :]


def unlimited(rows: int, advertisers: int) -> F8:
    """(B, V) budgets that never stop anyone."""
    return np.full((rows, advertisers), np.inf)


def split(budgets: F8, shares: tuple[float, ...]) -> F8:
    """Budgets of a budget-split design: one block of B rows per arm, (len(shares)·B, V).

    Arm k pays from rows k·B to (k+1)·B - 1, so an arm cannot spend what another would have earned.

    Source: Liu, Mao and Kang, "Trustworthy online marketplace experimentation with budget-split
    design", arXiv:2012.08724.

    Raises:
        MarketError: shares are negative or do not sum to 1.
    """
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise MarketError(f"Budget shares are {shares}, expected numbers >= 0 that sum to 1.")
    return np.concatenate([budgets * share for share in shares])
