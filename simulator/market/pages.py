"""What an auction is given and what it returns: pages, book and rules in, auctions and their ledger out.

Letters: R requests, C candidates of a request, S slots of the largest page, A ads, V advertisers,
B budget rows (usually days). Money is in the currency of `tcpa`; eCPM is per 1,000 impressions.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from simulator.config.market import Charge, Pacing, Pricing
from simulator.errors import SimulatorError

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
#: A budget is spent when what is left is a matter of rounding.
NEARLY = 1.0 - 1e-9
DAY_S = 86_400.0
#: How hard pacing brakes: who spends a whole budget at once enters an eleventh of the auctions, or bids that.
PACE = 10.0


class MarketError(SimulatorError):
    """Inputs that no auction can be run on."""


@dataclass(frozen=True)
class Book:
    """What the auction knows of ads: arrays by ad index, (A,) each.

    pcvr: predicted P(conversion | click), the ad's, shared by the arms; where pages have none of their own.
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
    pcvr: (R, C) f8, predicted P(conversion | click) of user and ad; None: the ad's, see `Book`.
    rest: (R,) f8, the most eCPM that a candidate which was left out of its page bids, if no budget ends; 0
        where none was. None: pages are whole.
    """

    request_id: NDArray[np.uint64]
    time_s: F8
    candidates: I8
    pctr: F8
    slots: I8
    budget_row: I8
    p_click: F8
    p_convert: F8
    pcvr: F8 | None = None
    rest: F8 | None = None

    def take(self, rows: I8) -> Pages:
        """Some rows."""
        taken: dict[str, Any] = {
            name: None if column is None else column[rows] for name, column in vars(self).items()
        }
        return Pages(**taken)


@dataclass(frozen=True)
class Rules:
    """How the market works.

    Source of the pacings: Agarwal et al., KDD 2014 (throttling); Balseiro and Gur, Management Science 65(9),
    2019 (multipliers that follow spend).

    pricing: "gsp" (generalised second price: the least that keeps the slot), "first" (the own bid) or "vcg"
        (what the others lose because the winner is there; Vickrey, Clarke and Groves).
    charge: what an advertiser pays for: a "click"; an "impression", the price times pCTR; a "conversion", the
        price over pCVR, billed to the day of its click. Billing on predictions rewards a model that predicts
        high (labelled switches, not the default).
    reserve_ecpm: eCPM below which an ad does not show [currency per 1,000 impressions].
    conversion_delay_s: mean of the exponential time from click to conversion [s].
    pacing: what an advertiser does that is ahead of its budget, spread evenly over the day's hours: "none",
        until the budget is spent; "throttle", it enters a share 1 / (1 + x) of the auctions, drawn by
        (request, advertiser); "shade", it bids that share. x is its pressure: what it pays adds PACE times
        the share of the budget, every second takes away PACE / 86,400, and it is never below 0.
    slot_weights: chance of a click by slot as "vcg" reckons with it, from the top, relative; beyond the last,
        the last; none: all slots alike.
    """

    pricing: Pricing = "gsp"
    charge: Charge = "click"
    reserve_ecpm: float = 0.0
    conversion_delay_s: float = 3600.0
    pacing: Pacing = "none"
    slot_weights: tuple[float, ...] = ()

    def slot_weight(self, slot: int) -> float:
        """The chance of a click at a slot, relative."""
        return self.slot_weights[min(slot, len(self.slot_weights) - 1)] if self.slot_weights else 1.0

    def __post_init__(self) -> None:
        for name, found, known in (
            ("pricing", self.pricing, get_args(Pricing)),
            ("charge", self.charge, get_args(Charge)),
            ("pacing", self.pacing, get_args(Pacing)),
        ):
            if found not in known:
                raise MarketError(f"market.{name} is {found!r}, expected one of {known}. Change the setting.")
        if not (np.isfinite(self.reserve_ecpm) and self.reserve_ecpm >= 0):
            raise MarketError(f"market.reserve_ecpm is {self.reserve_ecpm}, expected a number >= 0.")
        if not (np.isfinite(self.conversion_delay_s) and self.conversion_delay_s >= 0):
            raise MarketError(
                f"market.conversion_delay_s is {self.conversion_delay_s}, expected seconds >= 0."
            )
        weights = self.slot_weights
        if any(not w > 0 for w in weights) or any(b > a for a, b in pairwise(weights)):
            raise MarketError(
                f"Slot weights are {weights}, expected numbers above 0 of which none is above the one before."
            )


@dataclass(frozen=True)
class Ledger:
    """What advertisers paid and got, (B, V) each: by budget row and advertiser."""

    spend: F8
    clicks: I8
    conversions: I8
    value: F8


@dataclass(frozen=True)
class Shown:
    """What pages showed, and what came of it: (R, S) arrays; `ad` is -1 in an empty slot.

    ad: ad index; pctr, pcvr: predictions; price: per click [currency].
    p_click, p_convert: the truth at the won position; click, conversion: what happened.
    charged: what the advertiser paid, for a click, impression or conversion [currency].
    """

    ad: NDArray[np.int32]
    pctr: F8
    pcvr: F8
    price: F8
    p_click: F8
    p_convert: F8
    click: NDArray[np.bool_]
    conversion: NDArray[np.bool_]
    charged: F8

    @staticmethod
    def nothing(rows: int, slots: int) -> Shown:
        """Empty pages."""
        shape = (rows, slots)
        return Shown(
            ad=np.full(shape, -1, np.int32),
            pctr=np.full(shape, np.nan),
            pcvr=np.full(shape, np.nan),
            price=np.full(shape, np.nan),
            p_click=np.full(shape, np.nan),
            p_convert=np.full(shape, np.nan),
            click=np.zeros(shape, np.bool_),
            conversion=np.zeros(shape, np.bool_),
            charged=np.zeros(shape),
        )


@dataclass(frozen=True)
class Impressions(Shown):
    """What pages showed, in full.

    bid: tCPA [currency per conversion].
    conversion_s: when a conversion happened, log time [s], NaN where none.
    value: tCPA if converted [currency].
    """

    bid: F8
    conversion_s: F8
    value: F8


@dataclass(frozen=True)
class Auctions(Impressions):
    """Every page, and its money; rows in the order of `Pages`.

    expected_*: (R,) per request, from true probabilities, realised prices and realised budgets.
    """

    expected_impressions: F8
    expected_clicks: F8
    expected_conversions: F8
    expected_revenue: F8
    expected_advv: F8
    ledger: Ledger
