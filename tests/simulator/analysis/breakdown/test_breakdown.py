"""Effects by day and by segment beside the scorecard's estimator, plain sums, and tests without an effect."""

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from apart_tables import ARMS, DAY_S, DAYS, tables

from simulator.analysis.aggregate import aggregate_users
from simulator.analysis.breakdown.days import by_day
from simulator.analysis.breakdown.parts import Requests
from simulator.analysis.breakdown.segments import by_segment, thirds
from simulator.analysis.breakdown.whole import breakdown
from simulator.analysis.columns import AnalysisError
from simulator.analysis.inference import estimate
from simulator.analysis.several import holm
from simulator.analysis.truth import by_user, true_lift
from simulator.metrics import BY_NAME, RATIOS


@pytest.fixture(scope="module")
def run() -> dict[str, pa.Table]:
    return tables()


@pytest.fixture(scope="module")
def requests(run: dict[str, pa.Table]) -> Requests:
    return Requests.of(run["served"], run["impressions"], run["truth"], run["users"], ARMS)


@pytest.mark.parametrize("metric", RATIOS, ids=lambda metric: metric.name)
def test_the_last_day_is_the_scorecards_estimate_and_truth(run, requests, metric):
    *_, last = by_day(requests, metric, ARMS, 0.95)
    own = estimate(run["users"], metric, *ARMS)
    assert last["day"] == DAYS
    assert last["lift"] == pytest.approx(own.lift, rel=1e-12)
    assert last["ci"] == pytest.approx(own.ci, rel=1e-12)
    truth = run["truth"].to_pandas()
    worlds = [by_user(pa.Table.from_pandas(truth[truth["arm"] == arm])) for arm in ARMS]
    true = true_lift(worlds[0], worlds[1], metric)
    assert (last["true_lift"], last["true_se"]) == pytest.approx((true.lift, true.se), rel=1e-9)


def test_a_day_is_the_run_cut_off_there(run, requests):
    metric = BY_NAME["ctr"]
    second = by_day(requests, metric, ARMS, 0.95)[1]
    early = {
        name: run[name].filter(run[name]["request_id"].to_numpy() < _first_of_day(run, 2))
        for name in ("served", "impressions")
    }
    users = pa.table(aggregate_users(early["served"], early["impressions"], ARMS))
    own = estimate(users, metric, *ARMS)
    assert second["lift"] == pytest.approx(own.lift, rel=1e-12)
    assert second["ci"] == pytest.approx(own.ci, rel=1e-12)


def _first_of_day(run: dict[str, pa.Table], day: int) -> int:
    served = run["served"].to_pandas()
    return int(served[served["arrival_s"] >= (4 + day) * DAY_S]["request_id"].min())


def test_the_always_valid_interval_holds_the_one_of_a_single_look(requests):
    for day in by_day(requests, BY_NAME["ctr"], ARMS, 0.95):
        assert day["always_valid"][0] < day["ci"][0] < day["lift"] < day["ci"][1] < day["always_valid"][1]


def test_looking_every_day_errs_no_more_than_it_says_where_users_come_back():
    metric, found, fixed = BY_NAME["ctr"], 0, 0
    tests, users, visits = 120, 160, 14
    for test in range(tests):
        rng = np.random.default_rng((11, test))
        user = np.repeat(np.arange(users), visits)
        taste = rng.beta(3, 12, users)
        click = (rng.random(len(user)) < taste[user]).astype(float)
        e = len(user)
        requests = Requests(
            user_id=np.arange(users, dtype=np.uint64), arm=np.arange(users) % 2, before=np.zeros((users, 6)),
            user=user, day=rng.integers(0, 7, e), history=np.ones(e, int), latency_ms=np.ones(e),
            shown=np.arange(e), shown_outcomes=np.stack([np.ones(e), click, click, click, click]),
            expected={arm: np.ones((5, e)) for arm in ARMS},
        )  # fmt: skip
        days = by_day(requests, metric, ARMS, 0.95)
        found += any(not day["always_valid"][0] <= 0 <= day["always_valid"][1] for day in days)
        fixed += any(not day["ci"][0] <= 0 <= day["ci"][1] for day in days)
    bound = 0.05 + 3 * math.sqrt(0.05 * 0.95 / tests)
    assert found / tests < bound < fixed / tests


def test_segments_are_what_their_own_requests_alone_would_show(run, requests):
    records = by_segment(requests, RATIOS, ARMS, 0.95)
    served = run["served"].to_pandas()
    own = served[(served["arm"] == "treatment") & (served["period"] == "experiment")]
    assert sum(r["requests"] for r in records if r["by"] == "history") == len(own)
    for by, column in (("history", "history_available"), ("latency", "latency_ms")):
        part = pd.Series(thirds(own[column].to_numpy(float)), index=own["request_id"])
        for record in (r for r in records if r["by"] == by):
            ids = part.index[part == record["third"]]
            early = run["served"]["period"].to_numpy(zero_copy_only=False) == "pre"
            keep = np.isin(run["served"]["request_id"].to_numpy(), ids) | early
            shown = run["impressions"].to_pandas()
            shown = shown[shown["request_id"].isin(ids) | (shown["period"] == "pre")]
            users = aggregate_users(run["served"].filter(keep), pa.Table.from_pandas(shown), ARMS)
            expected = estimate(pa.table(users), BY_NAME["ctr"], *ARMS)
            found = record["metrics"]["ctr"]
            assert found["lift"] == pytest.approx(expected.lift, rel=1e-12)
            assert found["ci"] == pytest.approx(expected.ci, rel=1e-12)
            assert (record["low"], record["high"]) == (
                own[own["request_id"].isin(ids)][column].min(),
                own[own["request_id"].isin(ids)][column].max(),
            )
            truth = run["truth"].to_pandas()
            truth = (
                truth[truth["request_id"].isin(ids)]
                .groupby("arm")[["expected_clicks", "expected_impressions"]]
                .sum()
            )
            ratio = truth["expected_clicks"] / truth["expected_impressions"]
            assert found["true_lift"] == pytest.approx(ratio["treatment"] / ratio["control"] - 1, rel=1e-9)


def test_segments_of_activity_sort_users_by_their_requests(requests):
    low, middle, high = (r for r in by_segment(requests, RATIOS[:1], ARMS, 0.95) if r["by"] == "activity")
    assert low["mean"] < middle["mean"] < high["mean"]
    count = np.bincount(requests.user)
    assert (low["low"], high["high"]) == (count[count > 0].min(), count.max())


def test_p_values_of_segments_are_adjusted_over_all_of_a_metrics(requests):
    own = [r["metrics"]["ctr"] for r in by_segment(requests, RATIOS, ARMS, 0.95)]
    assert [e["p_holm"] for e in own] == holm([e["p_value"] for e in own])
    assert any(e["p_holm"] > e["p_value"] for e in own)


def test_a_segment_of_few_users_says_so_and_estimates_nothing():
    few = tables(users=120, requests=1_200)
    found = breakdown(**few, arms=ARMS)
    entry = found["treatments"]["treatment"]["segments"][0]["metrics"]["ctr"]
    assert entry["lift"] is None
    assert entry["ci"] is None
    assert entry["true_lift"] is not None
    assert entry["reason"] == "Fewer than 100 users in an arm."


def test_truth_of_other_requests_is_refused(run):
    truth = run["truth"].slice(1)
    with pytest.raises(AnalysisError, match=r"truth of 'control' has .* expected each of the"):
        breakdown(run["served"], run["impressions"], truth, run["users"], ARMS)
