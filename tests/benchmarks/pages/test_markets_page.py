"""The table of markets says what was measured, and what was measured has the signs that the page explains."""

import json

import pytest

from benchmarks.pages.layout import RESULTS
from benchmarks.pages.markets import PAGE, markets_table, page_of

RESULT = json.loads((RESULTS / "simulation_markets.json").read_text(encoding="utf-8"))


def lift(market: str, metric: str = "revenue_per_request") -> float:
    return next(float(row[metric]) for row in RESULT["rows"] if row["market"] == market)


def test_the_page_is_made_of_the_saved_result() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page_of(text, RESULT["rows"]) == text
    assert not RESULT["quick"]


def test_revenue_follows_advv_by_reserve_first_prices_and_pcvr_of_the_user() -> None:
    base = lift("budgets unlimited")
    reserves = [base, *(lift(f"unlimited, reserve eCPM {ecpm}") for ecpm in (50, 100, 200, 400))]
    assert reserves == sorted(reserves)
    assert lift("unlimited, first price") > base
    affinity = lift("unlimited, pCVR by affinity")
    assert affinity > base
    gap = lift("budgets unlimited", "advv_per_request") - base
    assert lift("unlimited, pCVR by affinity", "advv_per_request") - affinity < gap


def test_default_budgets_cost_less_than_a_fiftieth_of_revenue() -> None:
    (shipped,) = (row for row in RESULT["rows"] if row["market"] == "as shipped")
    assert 0 <= shipped["revenue_lost"] < 0.02


def test_what_is_unknown_is_left_empty() -> None:
    row = {"market": "m", "exhausted_share": None, "revenue_lost": None}
    for name in ("advv_per_request", "revenue_per_request", "ctr"):
        row |= {name: 0.01, f"{name}_se": 0.001}
    assert "| m | +1.00 ± 0.10 % | +1.00 ± 0.10 % | +1.00 ± 0.10 % |  |  |" in markets_table([row])
    with pytest.raises(ValueError, match="lacks <!-- markets:begin --> followed by <!-- markets:end -->"):
        page_of("no marks", [row])
