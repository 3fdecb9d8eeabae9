"""The health page, and the balance of the arms' users before the experiment beside SciPy's."""

import math

import made_runs
import numpy as np
import pyarrow as pa
import pytest
from page_driver import drawn_rows, opened, specs, texts
from scipy import stats

from dashboard.balance import COLUMNS, balance

HEALTH = "app_pages/health.py"


def test_balance_is_the_difference_of_means_in_standard_deviations():
    users = made_runs.users(500)
    found = {row.column: row for row in balance(pa.table(users), "control", "treatment")}
    assert set(found) == set(COLUMNS)
    for column, row in found.items():
        a, b = (users[column][users["arm"] == arm].astype(float) for arm in ("control", "treatment"))
        assert (row.control, row.treatment) == (pytest.approx(a.mean()), pytest.approx(b.mean()))
        assert row.difference == pytest.approx(
            (b.mean() - a.mean()) / math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
        )
        t = stats.ttest_ind(b, a, equal_var=False).statistic
        assert row.p_value == pytest.approx(2 * stats.norm.sf(abs(t)))


def test_balance_finds_an_arm_that_was_richer_before():
    users = made_runs.users(500)
    users["pre_revenue"] = users["pre_revenue"] + np.where(users["arm"] == "treatment", 2.0, 0.0)
    found = {row.column: row for row in balance(pa.table(users), "control", "treatment")}
    assert found["pre_revenue"].p_value < 1e-6
    assert found["pre_revenue"].difference > 0.5


def test_balance_of_nobody_or_of_equals_says_nothing():
    users = made_runs.users(100)
    users["pre_clicks"] = np.zeros(100, int)
    table = pa.table(users)
    assert {row.column: row.p_value for row in balance(table, "control", "treatment")}["pre_clicks"] is None
    assert balance(table, "control", "nobody") == []


def test_health_shows_split_balance_and_what_can_be_told(folder):
    made_runs.write_run(folder / "run", requests=200)
    app = opened(HEALTH)
    words = texts(app)
    assert list(app.table[0].value["Configured"]) == ["50.00%", "50.00%"]
    totals = ["requests", "impressions", "clicks", "conversions", "revenue", "ADVV"]
    assert list(app.table[1].value["Per user, before"]) == totals
    assert "With its 50,000 requests a lift of 5.1% in ADVV per request is found" in words
    assert "None." in words
    by_requests = {row["requests"]: row["mde"] for row in drawn_rows(app, 0)}
    assert by_requests[50_000] == pytest.approx(1.43 * 0.036)
    # The error of the logarithm falls as one over the root of the requests.
    assert math.log1p(by_requests[500_000]) == pytest.approx(math.log1p(by_requests[50_000]) / math.sqrt(10))


def test_health_warns_of_what_speaks_against_the_numbers(folder):
    card = made_runs.scorecard(srm={"p_value": 1e-9, "status": "alert", "text": "The split is off."})
    card["arms"]["treatment"]["metrics"]["ctr"]["true_lift"] = 0.5
    card["arms"]["treatment"]["outside_profile"] = 1234
    made_runs.write_run(folder / "run", card=card, requests=200)
    app = opened(HEALTH)
    said = "\n".join(warning.value for warning in app.warning)
    assert "Sample ratio mismatch" in said
    assert "CTR of treatment: the interval leaves the truth out. One in 20" in said
    assert "1,234 service times" in said
    assert "too long, so latencies are if anything overstated" in said


def test_health_of_too_few_users_promises_nothing(folder):
    card = made_runs.scorecard(made_runs.two_arms(40, 45))
    made_runs.write_run(folder / "run", card=card, requests=200)
    app = opened(HEALTH)
    assert "Not enough data to say" in texts(app)
    assert not specs(app)


def test_what_it_takes_to_find_the_true_lift_is_rounded_as_an_estimate_is(folder):
    card = made_runs.scorecard()
    needed = {"lift": 0.038, "requests": 3_452_646, "users": 956_676, "days": 1890}
    card["arms"]["treatment"]["metrics"]["advv_per_request"]["needed"] = needed
    card["arms"]["treatment"]["metrics"]["advv_per_request"]["n"] = 5_000
    made_runs.write_run(folder / "run", requests=200, card=card)
    app = opened(HEALTH)
    words = texts(app)
    # The curve goes on to that number and beyond.
    assert [row["requests"] for row in drawn_rows(app, 0)][-2:] == [3_452_646, 6_905_292]
    assert "takes about 3,500,000 requests of 960,000 users, 1,900 days at this traffic" in words
