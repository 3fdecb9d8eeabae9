"""The tables of docs/world.md say what was measured, which bears out what the page says about it."""

import pytest

from benchmarks.models.gaps import paired
from benchmarks.pages.layout import saved
from benchmarks.pages.world import APART, ITEMS, PAGE, TOGETHER, markets_table, page_of, related_block

RESULT, MODELS = saved("simulation_markets"), saved("model_related")
CELLS = [row for row in MODELS["rows"] if "model" in row]


def lift(market: str, metric: str = "revenue_per_request") -> float:
    return next(float(row[metric]) for row in RESULT["rows"] if row["market"] == market)


def test_the_page_is_made_of_the_saved_results() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page_of(text, RESULT, MODELS) == text
    assert not RESULT["quick"]
    assert not MODELS["quick"]


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
    kept = [row for row in CELLS if (row["world"], row["model"]) != (APART, "din")]
    lines = related_block(MODELS | {"rows": kept}).splitlines()
    line = next(each for each in lines if each.startswith("| DIN"))
    assert line.startswith("| DIN, 50 | own, at the full rate |  | +")
    with pytest.raises(ValueError, match="lacks <!-- markets:begin --> followed by <!-- markets:end -->"):
        page_of("no marks", RESULT, MODELS)


def ahead(world: str, one: str, other: str, protocol: str = "full-rate") -> float:
    found = paired(CELLS, world, protocol, one, other)
    assert found is not None
    return float(found["pt"])


def gates(world: str, protocol: str = "full-rate") -> dict[str, float]:
    named = (world, protocol, "laser")
    rows = [row for row in CELLS if (row["world"], row["protocol"], row["model"]) == named]
    return {name: sum(row["weight"][name] for row in rows) / len(rows) for name in rows[0]["weight"]}


def test_departments_help_who_counts_them_and_only_where_they_are_related() -> None:
    assert ahead(TOGETHER, "departments", "counts") == pytest.approx(0.50, abs=0.005)
    assert abs(ahead(APART, "departments", "counts")) < 0.01


def test_gates_tell_related_categories_from_others_where_they_are_and_gaps_do_not_widen() -> None:
    related, apart, slow = gates(TOGETHER), gates(APART), gates(TOGETHER, "tuned")
    assert related["related"] > 10 * related["other"]
    assert apart["related"] < 1.5 * apart["other"]
    assert related["related"] > 5 * slow["related"]
    assert ahead(TOGETHER, "laser", "counts") > ahead(APART, "laser", "counts") + 0.05
    assert ahead(TOGETHER, "laser", "din") < ahead(APART, "laser", "din")
    for model in ("din", "laser", "transformer"):
        assert ahead(TOGETHER, model, "base") < 0.5 * ahead(APART, model, "base")


def test_models_that_are_told_of_departments_learn_most_of_what_counting_in_them_shows() -> None:
    told = gates(TOGETHER, "departments")
    assert told["related"] > 3 * gates(TOGETHER)["related"]
    assert gates(APART, "departments")["related"] < 0.06
    for model, gain in (("laser", 0.32), ("din", 0.28), ("transformer", 0.32)):
        without, with_them = (ahead(TOGETHER, model, "base", way) for way in ("full-rate", "departments"))
        assert with_them - without == pytest.approx(gain, abs=0.006)
        names = [ahead(APART, model, "base", way) for way in ("full-rate", "departments")]
        assert abs(names[1] - names[0]) < 0.035
    assert ahead(ITEMS, "laser", "counts") == pytest.approx(-0.26, abs=0.006)
    short = ahead(ITEMS, "laser", "base", "departments") - ahead(ITEMS, "counts", "base")
    assert short == pytest.approx(-0.02, abs=0.006)
