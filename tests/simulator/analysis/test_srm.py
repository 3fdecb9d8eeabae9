from __future__ import annotations

import pytest

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


def test_few_units_are_not_judged():
    srm = check_split({"a": 60, "b": 39}, HALF)
    assert (srm.status, srm.p_value) == ("hidden", None)
    assert check_split({"a": 61, "b": 39}, HALF).p_value is not None


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
