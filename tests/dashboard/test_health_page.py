"""The health page, and the balance of the arms' users before the experiment beside SciPy's."""

import math

import made_runs
import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from test_pages import SCORECARD, folder, opened, specs, texts

from dashboard import charts
from dashboard.balance import COLUMNS, balance
from simulator.results.run_folder import RunWriter

__all__ = ["folder"]  # a fixture

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


@pytest.fixture
def drawn(monkeypatch):
    """The rows of each of the two charts as they were drawn, by the chart's name."""
    rows = {}

    def keeping(name, own):
        def draw(frame, *rest):
            rows[name] = frame
            return own(frame, *rest)

        return draw

    for name in ("mde", "by_day"):
        monkeypatch.setattr(charts, name, keeping(name, getattr(charts, name)))
    return rows


def test_health_shows_split_balance_and_what_can_be_told(folder, drawn):
    made_runs.write_run(folder / "run", requests=200)
    app = opened(HEALTH)
    words = texts(app)
    assert list(app.table[0].value["Configured"]) == ["50.00%", "50.00%"]
    assert next(iter(app.table[1].value["Per user, before"])) == "requests"
    assert "With its 50,000 requests a lift of 5.1% in ADVV per request is found" in words
    assert "None." in words
    by_requests = dict(zip(drawn["mde"]["requests"], drawn["mde"]["mde"], strict=True))
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


def test_health_of_too_few_users_promises_nothing(folder):
    card = made_runs.scorecard(made_runs.two_arms(40, 45))
    made_runs.write_run(folder / "run", card=card, requests=200)
    app = opened(HEALTH)
    assert "Not enough data to say" in texts(app)
    assert not specs(app)


def test_the_effect_by_day_is_drawn_on_demand(folder, drawn):
    days = {"arm": ["control", "control", "treatment", "treatment"], "day": [1, 2, 1, 2]}
    zeros, ones = [0] * 4, [1.0] * 4
    days |= {"period": ["experiment"] * 4, "requests": [10] * 4, "missed": zeros, "degraded": zeros}
    days |= dict.fromkeys(("p50_ms", "p95_ms", "p99_ms", "p999_ms"), ones)
    days |= {"impressions": zeros, "clicks": zeros, "conversions": zeros, "revenue": ones}
    days |= {"advv": [10.0, 10.0, 20.0, 10.0], "true_requests": [20] * 4}
    days |= {f"expected_{name}": ones for name in ("impressions", "clicks", "conversions", "revenue")}
    days |= {"expected_advv": [10.0, 10.0, 10.0, 12.0]}
    with RunWriter.create(folder / "run", made_runs.manifest()) as writer:
        writer.write_table("days", days)
        writer.write_scorecard(made_runs.scorecard())
        writer.finish()
    assert "Effect by day" in [toggle.label for toggle in opened(SCORECARD).toggle]
    assert not drawn
    opened(SCORECARD, by_day="true")
    found = {(row["which"], row["day"]): row["lift"] for row in drawn["by_day"].to_dict("records")}
    assert found == {
        ("Estimate of this A/B", 1): pytest.approx(1.0),
        ("Estimate of this A/B", 2): pytest.approx(0.5),
        ("True effect", 1): pytest.approx(0.0),
        ("True effect", 2): pytest.approx(0.1),
    }
