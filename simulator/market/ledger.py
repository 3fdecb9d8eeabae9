"""The market's tables as columns: ledger rows, impressions and expected outcomes per request."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.market.pages import F8, I8, Auctions
from simulator.metrics import OUTCOMES

Columns = dict[str, NDArray[np.generic]]


def ledger_columns(auctions: Auctions, budgets: F8, days: I8) -> Columns:
    """What every advertiser paid and got: one row a (budget row, advertiser), sorted.

    Args:
        budgets: (B, V) [currency], inf = unlimited.
        days: (B,) the day each budget row stands for.

    Returns:
        day i32, advertiser u32, budget f8 (NaN = unlimited), spend, clicks, conversions, value; B·V rows.
    """
    rows, advertisers = budgets.shape
    ledger = auctions.ledger
    return {
        "day": np.repeat(np.asarray(days, np.int32), advertisers),
        "advertiser": np.tile(np.arange(advertisers, dtype=np.uint32), rows),
        "budget": np.where(np.isinf(budgets), np.nan, budgets).ravel(),
        "spend": ledger.spend.ravel(),
        "clicks": ledger.clicks.ravel(),
        "conversions": ledger.conversions.ravel(),
        "value": ledger.value.ravel(),
    }


def impression_columns(auctions: Auctions, request_id: NDArray[np.uint64], advertiser: I8) -> Columns:
    """Every shown ad: one row each, sorted by (request id, slot).

    Args:
        request_id: (R,) of the auctions' rows.
        advertiser: (A,) the ads' advertisers.

    Returns:
        row i8 (the auctions' row, to look up user, arm and period), request_id, slot u1, ad_id u8,
        advertiser u4, then pctr, pcvr, bid, price, p_click, p_convert, click, conversion, conversion_s,
        charged, value as in `Auctions`.
    """
    row, slot = np.nonzero(auctions.ad >= 0)
    order = np.lexsort((slot, request_id[row]))
    row, slot = row[order], slot[order]
    ad = auctions.ad[row, slot]
    columns: Columns = {
        "row": row.astype(np.int64),
        "request_id": request_id[row],
        "slot": slot.astype(np.uint8),
        "ad_id": ad.astype(np.uint64),
        "advertiser": advertiser[ad].astype(np.uint32),
    }
    names = "pctr pcvr bid price p_click p_convert click conversion conversion_s charged value"
    for name in names.split():
        columns[name] = getattr(auctions, name)[row, slot]
    return columns


def truth_columns(auctions: Auctions, request_id: NDArray[np.uint64], user_id: NDArray[np.uint64]) -> Columns:
    """Expected outcomes per request, sorted by request id."""
    order = np.argsort(request_id, kind="stable")
    columns: Columns = {"request_id": request_id[order], "user_id": user_id[order]}
    for name in OUTCOMES:
        columns[f"expected_{name}"] = getattr(auctions, f"expected_{name}")[order]
    return columns
