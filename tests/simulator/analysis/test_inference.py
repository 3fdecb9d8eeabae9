from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import tea_tasting as tt
from scipy import stats
from simulated_users import batch_moments, draw, stack, users_table

from simulator.analysis.columns import AnalysisError
from simulator.analysis.inference import estimate
from simulator.analysis.log_ratio import Moments, log_ratio, moments, moments_of_many
from simulator.analysis.power import mde, power
from simulator.analysis.resplit import lifts, resplit
from simulator.metrics import RATIOS

ADVV, REVENUE, CTR, CVR = RATIOS[:4]


def from_sums(total: float, squares: float, n: int) -> Moments:
    """Moments of a mean: its column and a constant 1."""
    mean = total / n
    cov = np.zeros((2, 2))
    cov[0, 0] = (squares - total**2 / n) / (n - 1)
    return Moments(np.asarray(float(n)), np.array([mean, 1.0]), cov)


def test_growthbooks_vector_is_met():
    control, treatment = from_sums(1396.87, 52377.9767, 3407), from_sums(2422.7, 134698.29, 3461)
    result = log_ratio(control, treatment)
    low, high = result.interval(0.95)
    assert float(result.treatment - result.control) == pytest.approx(0.29, abs=0.0005)
    assert float(result.lift) == pytest.approx(0.70732, abs=5e-6)
    assert float(low) == pytest.approx(0.10517, abs=5e-6)
    assert float(high) == pytest.approx(1.63754, abs=5e-6)


def make_users_data() -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    data = tt.make_users_data(rng=42, covariates=True).to_pandas()
    data["one"] = 1.0
    return data, (data.variant == 0).to_numpy(), (data.variant == 1).to_numpy()


@pytest.mark.parametrize(
    ("metric", "names", "published"),
    [
        (tt.RatioOfMeans("orders", "sessions"), ("orders", "sessions"), (0.088, -0.0089, 0.19)),
        (
            tt.Mean("revenue", "revenue_covariate"),
            ("revenue", "one", "revenue_covariate", "one"),
            (0.14, 0.038, 0.26),
        ),
        (
            tt.RatioOfMeans("orders", "sessions", "orders_covariate", "sessions_covariate"),
            ("orders", "sessions", "orders_covariate", "sessions_covariate"),
            (0.12, 0.042, 0.21),
        ),
    ],
)
def test_values_and_intervals_equal_tea_tastings_and_its_published_ones(metric, names, published):
    data, control, treatment = make_users_data()
    values = data[list(names)].to_numpy(float)
    ours = log_ratio(moments(values[control]), moments(values[treatment]))
    theirs = tt.Experiment(m=metric).analyze(data)["m"]
    low, high = ours.interval(0.95)
    np.testing.assert_allclose(
        [ours.control, ours.treatment, ours.lift, low, high],
        [
            theirs.control,
            theirs.treatment,
            theirs.rel_effect_size,
            theirs.rel_effect_size_ci_lower,
            theirs.rel_effect_size_ci_upper,
        ],
        rtol=1e-9,
    )
    # The published figures have two digits, and their p-value is that of the difference.
    np.testing.assert_allclose([ours.lift, low, high], published, rtol=0.04)
    assert float(ours.p_value) == pytest.approx(theirs.pvalue, rel=0.03)


def test_the_delta_method_equals_cluster_robust_least_squares():
    table = users_table(1, 3_000)
    arm = table["arm"] == "old"
    clicks, shown = table["clicks"][arm], table["impressions"][arm]
    keep = shown > 0
    clicks, shown = clicks[keep], shown[keep]
    user = np.repeat(np.arange(len(shown)), shown)
    clicked = np.concatenate([np.r_[np.ones(c), np.zeros(n - c)] for c, n in zip(clicks, shown, strict=True)])
    fit = sm.OLS(clicked, np.ones(len(clicked))).fit(cov_type="cluster", cov_kwds={"groups": user})
    pair = moments(np.stack([clicks, shown], 1).astype(float))
    # Against an arm without variance, the log ratio's error is this arm's own.
    still = Moments(np.asarray(1e12), np.array([1.0, 1.0]), np.zeros((2, 2)))
    result = log_ratio(pair, still)
    assert float(result.se_log * result.control) == pytest.approx(float(fit.bse[0]), rel=2e-3)
    assert float(result.control) == pytest.approx(float(fit.params[0]))


def test_cuped_theta_is_growthbooks():
    values = np.stack([[2, 1, 5, 3], np.ones(4), [0.3, 0.5, 0.9, 22], np.ones(4)], 1)
    base = moments(values)
    theta = 0.01864
    shifted = values.copy()
    shifted[:, 2] += 1.0  # a covariate one higher moves the adjusted mean by theta / 2 either way
    result = log_ratio(base, moments(shifted))
    pooled = np.concatenate([values, shifted])
    own = np.cov(pooled[:, 0], pooled[:, 2])
    expected = own[0, 1] / own[1, 1]
    assert float(result.control - result.treatment) == pytest.approx(expected, rel=1e-9)
    plain = np.cov(np.tile(values[:, 0], 2), np.tile(values[:, 2], 2))
    assert plain[0, 1] / plain[1, 1] == pytest.approx(theta, abs=5e-6)


def test_cuped_reduces_variance_by_the_squared_correlation():
    rng = np.random.default_rng(0)
    pre = rng.normal(10, 2, (2, 200_000))
    post = 10 + 0.6 * (pre - 10) + rng.normal(0, 1.6, pre.shape)  # rho 0.6
    arms = [
        moments(np.stack([y, np.ones_like(y), x, np.ones_like(x)], 1)) for y, x in zip(post, pre, strict=True)
    ]
    assert float(log_ratio(*arms).variance_reduction) == pytest.approx(0.36, abs=0.01)


def test_a_useless_covariate_changes_nothing():
    table = users_table(2, 400)
    values = stack(table, "clicks", "impressions")
    constant = np.concatenate([values, np.ones((400, 2))], 1)
    empty = np.concatenate([values, np.zeros((400, 2))], 1)
    plain = log_ratio(moments(values[::2]), moments(values[1::2]))
    for other in (constant, empty):
        result = log_ratio(moments(other[::2]), moments(other[1::2]))
        assert float(result.lift) == pytest.approx(float(plain.lift), rel=1e-12)
        assert float(result.se_log) == pytest.approx(float(plain.se_log), rel=1e-12)


def test_two_covariates_never_explain_less_than_one():
    table = users_table(3, 4_000)
    names = ["revenue", "requests", "pre_revenue", "pre_requests", "pre_clicks", "pre_impressions"]
    both, one = stack(table, *names), stack(table, *names[:4])
    reduced = [float(log_ratio(moments(v[::2]), moments(v[1::2])).variance_reduction) for v in (one, both)]
    assert 0 < reduced[0] <= reduced[1] + 1e-3


@pytest.mark.parametrize("metric", RATIOS, ids=lambda m: m.name)
@pytest.mark.parametrize("cuped", [False, True])
def test_intervals_cover_a_known_lift(metric, cuped):
    rng = np.random.default_rng(20)
    names = [metric.top, metric.below]
    names += [f"pre_{n}" for n in names] if cuped else []
    true = 0.0 if metric is CVR else 0.2
    covered, p_small = [], []
    for _ in range(15):
        control = stack(draw(rng, (100, 300)), *names)
        treatment = stack(draw(rng, (100, 300), 0.2), *names)
        result = log_ratio(batch_moments(control), batch_moments(treatment))
        low, high = result.interval(0.95)
        covered.append((low <= true) & (true <= high))
        p_small.append(result.p_value)
    coverage = np.concatenate(covered).mean()
    assert 0.93 <= coverage <= 0.97, coverage
    assert np.isfinite(np.concatenate(p_small)).all()


def test_p_values_are_small_exactly_where_the_interval_leaves_out_zero():
    rng = np.random.default_rng(5)
    arms = [batch_moments(stack(draw(rng, (300, 200), lift), "revenue", "requests")) for lift in (0.0, 0.1)]
    result = log_ratio(*arms)
    low, high = result.interval(0.95)
    np.testing.assert_array_equal(result.p_value < 0.05, (low > 0) | (high < 0))


def test_many_assignments_at_once_equal_one_at_a_time():
    table = users_table(6, 200)
    treated = np.random.default_rng(0).random((5, 200)) < 0.4
    values = stack(table, "advv", "requests", "pre_advv", "pre_requests")
    many = lifts(table, ADVV, treated)
    for i, member in enumerate(treated):
        one = log_ratio(moments(values[~member]), moments(values[member]))
        np.testing.assert_allclose([many.lift[i], many.se_log[i]], [one.lift, one.se_log], rtol=1e-9)
    whole = moments_of_many(values, np.ones(200, bool))
    np.testing.assert_allclose(whole.cov, moments(values).cov, rtol=1e-9)


def test_re_splits_of_identical_arms_reject_five_percent_uniformly():
    p_values = resplit(users_table(8, 3_000), 400, seed=3)
    for name, p in p_values.items():
        assert 0.02 <= (p < 0.05).mean() <= 0.09, name
        assert stats.kstest(p, "uniform").pvalue > 0.001, name


def test_re_splits_depend_on_their_seed_alone():
    table = users_table(9, 100)
    one, again, other = (resplit(table, 5, seed=s)["ctr"] for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_re_splits_without_events_in_an_arm_are_unknown_not_significant():
    table = users_table(9, 40)
    for name in ("conversions", "advv"):
        table[name] = np.where(np.arange(40) == 3, 1, 0)
    p_values = resplit(table, 10)
    assert np.isnan(p_values["advv_per_request"]).all()
    assert np.isnan(p_values["cvr"]).all()
    assert np.isfinite(p_values["ctr"]).all()


def test_an_adjustment_that_would_turn_a_value_negative_is_left_out():
    table = users_table(9, 40)
    few = np.zeros(40, np.int64)
    few[[0, 1]] = 1
    many = few * 50 + (np.arange(40) % 2) * 30
    table |= {"advv": few, "requests": np.ones(40, np.int64), "pre_advv": many, "pre_requests": few + 1}
    e = estimate(table, ADVV, "old", "new")
    assert e.control > 0
    assert e.treatment > 0


def test_power_at_the_planned_mde_is_eighty_percent():
    se = 0.03
    assert mde(se) == pytest.approx(math.exp((1.959964 + 0.841621) * se) - 1, rel=1e-6)
    assert power(mde(se), se) == pytest.approx(0.8, abs=1e-4)
    rng = np.random.default_rng(11)
    names = ("clicks", "impressions")
    pilot = log_ratio(*(batch_moments(stack(draw(rng, (40, 400)), *names)) for _ in range(2)))
    planned = mde(float(pilot.se_log.mean()))
    found = []
    for _ in range(20):
        arms = [batch_moments(stack(draw(rng, (100, 400), lift), *names)) for lift in (0.0, planned)]
        found.append(log_ratio(*arms).p_value < 0.05)
    assert 0.77 <= np.concatenate(found).mean() <= 0.83


def test_an_estimate_says_everything_the_scorecard_needs():
    table = users_table(10, 6_000, lift=0.3)
    e = estimate(table, CTR, "old", "new")
    assert e.ci is not None
    assert e.lift is not None
    assert e.ci[0] < 0.3 < e.ci[1]
    assert e.method == "log-ratio, CUPED"
    assert e.n == table["requests"].sum()
    assert e.mde == pytest.approx(mde(e.se_log))
    assert 0 < e.variance_reduction < 1
    assert e.p_value < 0.05
    plain = estimate(table, CTR, "old", "new", cuped=False)
    assert plain.method == "log-ratio"
    assert plain.se_log > e.se_log


def test_swapping_the_arms_inverts_the_lift():
    table = users_table(12, 500)
    one, other = estimate(table, REVENUE, "old", "new"), estimate(table, REVENUE, "new", "old")
    assert 1 + one.lift == pytest.approx(1 / (1 + other.lift))
    assert one.p_value == pytest.approx(other.p_value)


@pytest.mark.parametrize("arm", ["old", "new"])
def test_an_arm_without_conversions_has_no_lift_and_says_why(arm):
    table = users_table(13, 200)
    gone = table["arm"] == arm
    table["conversions"] = np.where(gone, 0, table["conversions"])
    table["advv"] = np.where(gone, 0.0, table["advv"])
    for metric in (CVR, ADVV):
        e = estimate(table, metric, "old", "new")
        assert (e.lift, e.ci, e.p_value, e.mde) == (None, None, None, None)
        assert f"{arm!r} has no {metric.top}" in e.reason


def test_an_arm_without_clicks_has_no_cvr():
    table = users_table(13, 200)
    for name in ("clicks", "conversions"):
        table[name] = np.where(table["arm"] == "new", 0, table[name])
    e = estimate(table, CVR, "old", "new")
    assert e.treatment is None
    assert e.control is not None
    assert "has no clicks" in e.reason


def test_an_arm_without_users_says_so():
    table = {k: v[users_table(13, 200)["arm"] == "old"] for k, v in users_table(13, 200).items()}
    assert "has 0 users" in estimate(table, CTR, "old", "new").reason


def test_no_pre_period_falls_back_to_the_plain_interval():
    table = users_table(14, 300)
    for name in list(table):
        if name.startswith("pre_"):
            table[name] = np.zeros_like(table[name])
    assert estimate(table, ADVV, "old", "new") == estimate(table, ADVV, "old", "new", cuped=False)


def test_identical_constant_users_give_a_point():
    table = users_table(14, 300)
    for name in ("clicks", "impressions"):
        table[name] = np.full(300, 4)
    e = estimate(table, CTR, "old", "new", cuped=False)
    assert (e.lift, e.ci, e.se_log, e.p_value) == (0.0, (0.0, 0.0), 0.0, None)


def test_wrong_questions_are_refused():
    table = users_table(14, 300)
    with pytest.raises(AnalysisError, match="level"):
        estimate(table, CTR, "old", "new", level=95)
    with pytest.raises(AnalysisError, match="two different"):
        estimate(table, CTR, "old", "old")
    with pytest.raises(AnalysisError, match="pre_clicks"):
        estimate({k: v for k, v in table.items() if k != "pre_clicks"}, CTR, "old", "new")
    with pytest.raises(AnalysisError, match="re-splits"):
        resplit(table, 0)
