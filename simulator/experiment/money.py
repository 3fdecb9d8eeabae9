"""What the scorecard says of the market: budgets in clicks, who ran out of them, late conversions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from simulator.config.market import FEW_CLICKS
from simulator.experiment.outcomes import KeptPages, Market, stretches
from simulator.inputs.conversion import held_out
from simulator.market.auction import conversion_times
from simulator.market.budgets import exhausted
from simulator.market.pages import Ledger

_DAY_S = 86_400


def money_note(market: Market, ledgers: Mapping[str, Ledger], shown: KeptPages) -> dict[str, Any]:
    """Facts of the market, unknown ones None.

    Args:
        market: after `as_assigned`.
        ledgers: by world; each is of one path of clicks.
        shown: the A/B's pages.
    """
    clicks, shares, cost = None, None, market.click_cost
    if cost is not None:
        worth = market.budgets / cost
        # Rounding: a least of five is five.
        few = bool(worth.min() < FEW_CLICKS * (1 - 1e-9))
        clicks = {"least": float(worth.min()), "median": float(np.median(worth)), "few": few}
        shares = {
            world: float(exhausted(ledger.spend, market.budgets, cost).mean())
            for world, ledger in ledgers.items()
        }
    promised, converted = held_out(market.prepared, market.conversion)
    conversions, late = _late_conversions(market, shown)
    return {
        "budget_clicks": clicks,
        "exhausted_share": shares,
        "revenue_lost": market.revenue_lost,
        "pcvr": {"held_out_promised": promised, "held_out_converted": converted},
        "conversions": conversions,
        "conversions_after_end": late,
    }


def _late_conversions(market: Market, shown: KeptPages) -> tuple[int, int]:
    """How many conversions the A/B's clicks led to in the experiment's period, and how many after its end."""
    requests, end_s = market.prepared.requests, (int(market.days[-1]) + 1) * _DAY_S
    found, late = 0, 0
    for rows in stretches(market.experiment):
        when = conversion_times(
            shown.take(rows), requests.request_id[rows], requests.arrival_s[rows], market.rules, market.seed
        )
        found += int(np.isfinite(when).sum())
        late += int((when >= end_s).sum())
    return found, late
