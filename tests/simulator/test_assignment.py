from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from simulator.assignment import SplitError, assign

USERS = np.arange(100_000, dtype=np.uint64)


def test_shares_are_met_in_order():
    arms = assign(USERS, "first", (0.2, 0.3, 0.5))
    counts = np.bincount(arms, minlength=3)
    assert stats.chisquare(counts, np.array([0.2, 0.3, 0.5]) * len(USERS)).pvalue > 0.001


def test_a_user_keeps_its_arm_whoever_else_is_asked():
    arms = assign(USERS, "first", (0.5, 0.5))
    some = np.array([5, 99_999, 17])
    np.testing.assert_array_equal(assign(some, "first", (0.5, 0.5)), arms[some])
    assert int(assign(5, "first", {"a": 0.5, "b": 0.5})) == arms[5]


def test_another_salt_or_seed_is_an_independent_assignment():
    one = assign(USERS, "first", (0.5, 0.5))
    for other in (assign(USERS, "second", (0.5, 0.5)), assign(USERS, "first", (0.5, 0.5), seed=1)):
        table = np.zeros((2, 2))
        np.add.at(table, (one, other), 1)
        assert stats.chi2_contingency(table).pvalue > 0.001


def test_ramping_up_moves_nobody_back():
    small, large = (assign(USERS, "ramp", (1 - s, s)) for s in (0.1, 0.4))
    assert (large[small == 1] == 1).all()


def test_an_arm_without_a_share_gets_nobody():
    assert set(assign(USERS, "s", (0.0, 1.0))) == {1}
    assert set(assign(USERS, "s", (1.0, 0.0))) == {0}


@pytest.mark.parametrize("split", [(), (0.5, 0.6), (-0.1, 1.1), (float("nan"), 1.0)])
def test_shares_that_are_no_split_are_refused(split):
    with pytest.raises(SplitError, match="sum to 1"):
        assign(USERS, "s", split)
