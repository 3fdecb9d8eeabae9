from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from simulator.analysis.columns import AnalysisError
from simulator.analysis.srm import check_split

HALF = {"a": 0.5, "b": 0.5}


@pytest.mark.parametrize(
    ("a", "b", "p_value", "status"),
    [
        (821_588, 815_482, 1.8218e-6, "alert"),
        (4_950, 5_050, 0.317311, "ok"),
        (1_000, 1_200, 2.008e-5, "alert"),
    ],
)
def test_published_mismatches_are_met(a, b, p_value, status):
    srm = check_split({"a": a, "b": b}, HALF)
    assert srm.p_value == pytest.approx(p_value, rel=1e-4)
    assert srm.status == status


def test_an_uneven_plan_is_respected():
    assert check_split({"a": 900, "b": 100}, {"a": 0.9, "b": 0.1}).p_value == pytest.approx(1.0)
    assert check_split({"a": 900, "b": 100}, HALF).status == "alert"


def test_more_than_two_arms_are_checked_together():
    srm = check_split({"a": 330, "b": 330, "c": 340}, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})
    assert srm.status == "ok"
    assert srm.expected["c"] == pytest.approx(1000 / 3)


@pytest.mark.parametrize(("a", "b", "share"), [(8, 2, 0.5), (3, 9, 0.4), (1, 400, 0.01)])
def test_few_expected_units_are_tested_exactly(a, b, share):
    srm = check_split({"a": a, "b": b}, {"a": share, "b": 1 - share})
    assert srm.p_value == pytest.approx(stats.binomtest(a, a + b, share).pvalue)
    assert srm.status == "ok"


def test_three_arms_with_few_expected_units_are_tested_against_every_split_there_is():
    found, shares = np.array([4, 1, 9]), np.array([0.2, 0.2, 0.6])
    split = [(i, j, 14 - i - j) for i in range(15) for j in range(15 - i)]
    chance = stats.multinomial(14, shares).pmf(np.array(split))
    far = (((np.array(split) - 14 * shares) ** 2) / (14 * shares)).sum(1)
    own = (((found - 14 * shares) ** 2) / (14 * shares)).sum()
    exact = chance[far >= own - 1e-9].sum()
    srm = check_split(dict(zip("abc", found.tolist(), strict=True)), dict(zip("abc", shares, strict=True)))
    assert srm.p_value == pytest.approx(exact, abs=0.005)


def test_an_exact_check_errs_at_most_at_its_level():
    rng = np.random.default_rng(0)
    first = rng.binomial(12, 0.5, 2_000)
    p = np.array([check_split({"a": int(n), "b": int(12 - n)}, HALF).p_value or 0.0 for n in first])
    assert (p < 0.05).mean() <= 0.06


def test_an_arm_without_traffic_is_named():
    for counts in ({"a": 500, "b": 0}, {"a": 0, "b": 0}):
        srm = check_split(counts, HALF)
        assert (srm.status, srm.p_value) == ("empty", None)
        assert "b has no units" in srm.text


def test_an_arm_that_should_have_nobody_and_has_is_an_alert():
    assert check_split({"a": 500, "b": 1}, {"a": 1.0, "b": 0.0}).status == "alert"
    assert check_split({"a": 500, "b": 0}, {"a": 1.0, "b": 0.0}).status == "hidden"


@pytest.mark.parametrize("split", [{"a": 1.0}, {"a": 0.5, "b": 0.6}, {"a": 0.5, "c": 0.5}])
def test_a_split_that_is_none_is_refused(split):
    with pytest.raises(AnalysisError, match="split"):
        check_split({"a": 1, "b": 2}, split)
