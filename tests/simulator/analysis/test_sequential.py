"""Sequential bounds against published values, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.analysis.columns import AnalysisError
from simulator.analysis.sequential import (
    always_valid_factor,
    bounds,
    crossing,
    spending_bounds,
    tightest_at,
)


def test_the_parameter_and_the_widths_are_the_published_ones():
    assert tightest_at(1000, 0.95) == pytest.approx(0.0890851, abs=1e-7)
    times = np.array([0.1, 0.5, 1, 2, 10])
    wider = always_valid_factor(times * 1e6, 1e6) / 1.959964
    np.testing.assert_allclose(wider, [1.967, 1.573, 1.549, 1.562, 1.654], atol=5e-4)


def test_classical_bounds_are_the_published_ones():
    assert bounds(5, shape="pocock") == pytest.approx([2.4132] * 5, abs=5e-5)
    assert bounds(5) == pytest.approx([4.562, 3.226, 2.634, 2.281, 2.040], abs=5e-4)


def test_spending_bounds_are_those_of_the_clinical_trials_packages():
    assert spending_bounds(5) == pytest.approx([4.8769, 3.3570, 2.6803, 2.2898, 2.0310], abs=5e-4)
    pocock = spending_bounds(5, shape="pocock")
    assert pocock == pytest.approx([2.4380, 2.4268, 2.4102, 2.3966, 2.3860], abs=5e-4)


def test_bounds_of_uneven_looks_spend_the_whole_error():
    at = (0.1, 0.35, 0.8, 1.0)
    assert crossing(at, spending_bounds(at)) == pytest.approx(0.05, abs=1e-6)
    assert crossing(at, bounds(at, 0.9, "pocock")) == pytest.approx(0.1, abs=1e-6)
    assert spending_bounds(1) == pytest.approx([1.959964], abs=1e-5)


def test_peeking_at_a_fixed_bound_errs_as_published():
    found = [100 * crossing(np.arange(1, k + 1), [1.959964] * k) for k in (1, 2, 5, 10, 20)]
    np.testing.assert_allclose(found, [5.0, 8.3, 14.2, 19.3, 24.8], atol=0.06)


def test_always_valid_intervals_hold_at_every_look_at_once():
    rng = np.random.default_rng(0)
    looks = np.arange(50, 2_001, 50)
    sums = rng.normal(size=(4_000, 2_000)).cumsum(1)[:, looks - 1]
    outside = np.abs(sums) / np.sqrt(looks) > always_valid_factor(looks, 1_000)
    assert outside.any(1).mean() <= 0.05
    assert outside.any(1).mean() >= 0.005  # and are no wider than they must be


@pytest.mark.parametrize("looks", [0, (), (0.5, 0.5), (0.0, 1.0)])
def test_looks_that_are_none_are_refused(looks):
    with pytest.raises(AnalysisError, match="Looks"):
        bounds(looks)


def test_a_plan_that_is_none_is_refused():
    with pytest.raises(AnalysisError, match="planned sample"):
        always_valid_factor(10, 0)
    with pytest.raises(AnalysisError, match="at most 1"):
        spending_bounds((0.5, 1.2))
