"""[market]: the auction, its prices and the advertisers' budgets, in the experiment file's words."""

from typing import Literal

from pydantic import Field

from simulator.config.columns import FileColumn
from simulator.config.table import Table

# What a winner pays, and for what. A price is a function in market/plain.py and one in market/kernel.py.
Pricing = Literal["gsp", "first", "vcg"]
Charge = Literal["click", "impression", "conversion"]
# How advertisers make their budgets last the day, see market/pages.py.
Pacing = Literal["none", "throttle", "shade"]
#: A daily budget worth fewer clicks ends with whichever click is drawn first, not with what rankings earn.
FEW_CLICKS = 5.0
_MOST_SECONDS = 1e9  # 32 years


class Market(Table):
    """Auction, prices and budgets."""

    slots: int | None = Field(
        default=None, ge=1, le=255, description="Ads per page; the preset's by default."
    )
    pricing: Pricing = Field(
        default="gsp",
        description="Pay the least that keeps the slot (generalised second price), the own bid, or what "
        "the others lose by the winner (Vickrey, Clarke and Groves).",
    )
    charge: Charge = Field(default="click", description="What an advertiser pays for.")
    pcvr: Literal["ad", "affinity"] = Field(
        default="ad",
        description="Predicted conversion rate: the ad's, or also the user's, by affinity to its category. "
        "Both are learnt on the log, alike for all arms.",
    )
    reserve_ecpm: float = Field(
        default=0.0,
        ge=0,
        le=1e12,
        description="Least eCPM (expected value of 1,000 impressions) that may win.",
    )
    bids: FileColumn | None = Field(
        default=None,
        description="Recorded bids or prices: tCPA spread like them, around the median of before.",
    )
    budgets: Literal["shared", "unlimited"] = Field(
        default="shared", description="Daily budgets, one for all arms."
    )
    budget_tau: float = Field(
        default=0.7, ge=-10, le=10, description="Daily budget = pre-period spend x LogNormal(tau, sigma)."
    )
    budget_sigma: float = Field(default=0.5, ge=0, le=10, description="Spread of the daily budgets.")
    budget_clicks: float = Field(
        default=10.0,
        ge=0,
        le=1e9,
        description="Least that a daily budget is worth, in clicks at what one cost the advertiser before.",
    )
    pacing: Pacing = Field(
        default="none",
        description="What an advertiser ahead of its daily budget does: nothing, enter fewer auctions, or "
        "bid less.",
    )
    conversion_delay_s: float = Field(
        default=3600.0, ge=0, le=_MOST_SECONDS, description="Mean delay from click to conversion."
    )
