"""An arm's own values: against statsmodels' cluster-robust errors, and in coverage."""

import numpy as np
import pytest
import statsmodels.api as sm

from simulator.analysis.arm_values import clustered_ratio, clustered_share
from simulator.analysis.columns import AnalysisError


def sample(seed: int, users: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Missed or not (0/1) per request, correlated within users."""
    rng = np.random.default_rng(seed)
    requests = rng.integers(1, 12, users)
    user_id = np.repeat(np.arange(users, dtype=np.uint64), requests)
    chance = np.repeat(rng.beta(1.0, 4.0, users), requests)
    return (rng.random(len(user_id)) < chance).astype(float), user_id


def test_the_interval_is_the_cluster_robust_one() -> None:
    hit, user_id = sample(1)
    found = clustered_ratio(hit, np.ones_like(hit), user_id)
    fit = sm.OLS(hit, np.ones_like(hit)).fit(
        cov_type="cluster", cov_kwds={"groups": user_id, "use_correction": False}
    )
    users = len(np.unique(user_id))
    half = (found.ci[1] - found.ci[0]) / 2 if found.ci else 0.0
    from scipy import stats

    expected = stats.t.ppf(0.975, users - 1) * fit.bse[0] * np.sqrt(users / (users - 1))
    assert found.value == pytest.approx(hit.mean())
    assert half == pytest.approx(expected)


def test_the_interval_covers_at_its_level() -> None:
    covered = 0
    runs = 1000
    pooled = np.concatenate([sample(k)[0] for k in range(5000, 5400)]).mean()
    for seed in range(runs):
        hit, user_id = sample(seed)
        low, high = clustered_ratio(hit, np.ones_like(hit), user_id).ci or (1.0, 0.0)
        covered += low <= pooled <= high
    assert 0.93 <= covered / runs <= 0.97


def test_nothing_to_divide_by_has_no_value() -> None:
    assert clustered_ratio([0.0], [0.0], np.array([1], np.uint64)).value is None
    one = clustered_ratio([1.0, 0.0], [1.0, 1.0], np.array([1, 1], np.uint64))
    assert one.value == 0.5
    assert one.ci is None


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(AnalysisError, match="expected equal"):
        clustered_ratio([1.0], [1.0, 2.0], np.array([1], np.uint64))


@pytest.mark.parametrize(("a", "b"), [(0.05, 20.0), (1.0, 4.0), (20.0, 0.05)])
def test_shares_near_0_and_1_are_covered_where_a_t_interval_fails(a: float, b: float) -> None:
    rng = np.random.default_rng(3)
    covered, symmetric = [], []
    for _ in range(500):
        requests = rng.integers(1, 12, 200)
        user = np.repeat(np.arange(200, dtype=np.uint64), requests)
        hit = rng.random(len(user)) < np.repeat(rng.beta(a, b, 200), requests)
        for interval, found in ((clustered_share, covered), (clustered_ratio, symmetric)):
            low, high = interval(hit, np.ones(len(user)), user).ci or (1.0, 0.0)
            found.append(low <= a / (a + b) <= high)
            assert interval is clustered_ratio or 0 <= low <= high <= 1
    assert np.mean(covered) >= 0.94
    if a != 1.0:
        assert np.mean(symmetric) < 0.9


def test_a_share_of_0_or_1_has_an_interval_of_the_users_seen() -> None:
    user = np.repeat(np.arange(50, dtype=np.uint64), 20)
    for hit in (0.0, 1.0):
        low, high = clustered_share(np.full(1_000, hit), np.ones(1_000), user).ci or (0.0, 0.0)
        assert (low, high)[int(1 - hit)] == hit or (low, high)[int(hit)] == hit
        # 1 - 0.025^(1/50), as of 50 trials: a little wider, for t.
        assert 0.07 < high - low < 0.08
