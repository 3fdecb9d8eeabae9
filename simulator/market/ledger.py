"""The market's tables as columns: ledger rows and impressions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.market.pages import F8, I8, Impressions, Ledger

Columns = dict[str, NDArray[np.generic]]


def ledger_columns(ledger: Ledger, budgets: F8, days: I8) -> Columns:
    """What every advertiser paid and got: one row a (budget row, advertiser), sorted.

    Args:
        ledger: of a world.
        budgets: (B, V) [currency], inf = unlimited.
        days: (B,) the day each budget row stands for.

    Returns:
        day i32, advertiser u32, budget f8 (NaN = unlimited), spend, clicks, conversions, value; B·V rows.
    """
    rows, advertisers = budgets.shape
    return {
        "day": np.repeat(np.asarray(days, np.int32), advertisers),
        "advertiser": np.tile(np.arange(advertisers, dtype=np.uint32), rows),
        "budget": np.where(np.isinf(budgets), np.nan, budgets).ravel(),
        "spend": ledger.spend.ravel(),
        "clicks": ledger.clicks.ravel(),
        "conversions": ledger.conversions.ravel(),
        "value": ledger.value.ravel(),
    }


def impression_columns(pages: Impressions, request_id: NDArray[np.uint64], advertiser: I8) -> Columns:
    """Every shown ad: one row each, sorted by (request id, slot).

    Args:
        request_id: (R,) of the pages.
        advertiser: (A,) the ads' advertisers.

    Returns:
        row i8 (the page's row, to look up user, arm and period), request_id, slot u1, ad_id u8,
        advertiser u4, then pctr, pcvr, bid, price, p_click, p_convert, click, conversion, conversion_s,
        charged, value as in `Impressions`.
    """
    row, slot = np.nonzero(pages.ad >= 0)
    order = np.lexsort((slot, request_id[row]))
    row, slot = row[order], slot[order]
    ad = pages.ad[row, slot]
    columns: Columns = {
        "row": row.astype(np.int64),
        "request_id": request_id[row],
        "slot": slot.astype(np.uint8),
        "ad_id": ad.astype(np.uint64),
        "advertiser": advertiser[ad].astype(np.uint32),
    }
    names = "pctr pcvr bid price p_click p_convert click conversion conversion_s charged value"
    for name in names.split():
        columns[name] = getattr(pages, name)[row, slot]
    return columns
