"""What a scorecard says of the market, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.results import numbers

_WORLDS = {"ab": "the A/B"}


def money_sentences(scorecard: Mapping[str, Any]) -> list[str]:
    """Budgets, who ran out of them, what that cost, late conversions; none of an older scorecard."""
    found: Mapping[str, Any] = scorecard.get("market") or {}
    lines = []
    clicks, shares, lost = (found.get(key) for key in ("budget_clicks", "exhausted_share", "revenue_lost"))
    if clicks and shares:
        worlds = ", ".join(f"{_world(name)} {numbers.percent(share)}" for name, share in shares.items())
        lines.append(
            f"Daily budgets are worth {clicks['median']:,.0f} clicks at the median, {clicks['least']:,.0f} "
            f"at least. Spent, but for less than a click (share of advertisers' days): {worlds}."
            + (" A budget of fewer than five ends by which click is drawn." if clicks.get("few") else "")
            + ("" if lost is None else f" Budgets took {numbers.percent(lost)} of the A/B's revenue.")
        )
    pcvr: Mapping[str, Any] = found.get("pcvr") or {}
    if pcvr.get("held_out_converted"):
        promised, converted = pcvr["held_out_promised"], numbers.count(pcvr["held_out_converted"])
        lines.append(
            f"Predicted conversion rates promise {promised:,.0f} conversions of the held-out log's clicks, "
            f"which had {converted}."
        )
    conversions, late = found.get("conversions"), found.get("conversions_after_end")
    if conversions:
        lines.append(
            f"{numbers.count(late)} of {numbers.count(conversions)} conversions "
            f"({numbers.percent(late / conversions)}) came after the experiment's end; they count with their "
            "clicks."
        )
    return lines


def _world(name: str) -> str:
    return _WORLDS.get(name, name.replace("all:", "all "))
