"""Faults in the logs: what each check measures, what it leaves alone, and that faults are told apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from simulator.analysis.health.checks import find_fault
from simulator.analysis.health.trends import Change, change
from simulator.certificate.faults import DAYS, STRENGTH, fault_rows, simulate


def overdispersed(rng: np.random.Generator, slope: float = 0.0, users: int = 600) -> Change:
    """A trend among users who differ much in how often they come and click."""
    shown = rng.poisson(rng.gamma(0.5, 8.0, (users, 1)), (users, DAYS))
    rate = np.clip(rng.beta(1, 8, (users, 1)) * np.exp(slope * np.arange(DAYS)), 0, 1)
    return change(rng.binomial(shown, rate), shown.astype(float), np.arange(DAYS))


def test_a_trend_is_estimated_and_its_error_is_that_of_repeated_tests() -> None:
    found = [overdispersed(np.random.default_rng((1, i)), 0.05) for i in range(300)]
    sizes = np.array([one.size for one in found])
    assert sizes.mean() == pytest.approx(0.05, abs=0.006)
    assert np.mean([one.se for one in found]) == pytest.approx(sizes.std(), rel=0.15)


def test_p_values_of_no_trend_are_uniform_though_users_differ() -> None:
    p = [overdispersed(np.random.default_rng((2, i))).p_value for i in range(500)]
    assert stats.kstest(p, "uniform").pvalue > 0.01
    # Taking requests for independent would reject more often: here it is the users that vary.
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09


def test_nothing_to_count_is_no_trend() -> None:
    none = np.zeros((5, DAYS))
    assert change(none, none, np.arange(DAYS)).p_value == 1.0
    assert change(none, none + 1, np.arange(DAYS)).p_value == 1.0


def test_faults_are_found_and_named_and_sound_tests_are_let_be() -> None:
    rows = list(fault_rows(replications=8, users=10_000, seed=3))
    assert len(rows) == 1 + len(STRENGTH)
    assert rows[0].simulated <= 0.05
    for row in rows[1:]:
        assert row.simulated >= 7 / 8, row.name


def test_a_split_that_is_off_for_another_reason_is_not_put_down_to_latency() -> None:
    rng = np.random.default_rng(4)
    control, treatment = simulate(rng, 4_000), simulate(rng, 4_000)
    gone = rng.random(4_000) < 0.15
    columns = {
        name: np.where(gone[:, None], 0.0, getattr(treatment, name))
        for name in ("requests", "impressions", "clicks", "conversions", "predicted")
    }
    found = find_fault(control, replace(treatment, **columns))
    assert found is not None
    assert found.fault == "lost logs"
    assert "look at the assignment" in found.text
    slow = find_fault(simulate(rng, 4_000), simulate(rng, 4_000, slower=2.5))
    assert slow is not None
    assert "slow answers lose their logs" in slow.text


def test_the_fault_is_found_in_whichever_arm_it_is() -> None:
    rng = np.random.default_rng(6)
    control, treatment = simulate(rng, 10_000), simulate(rng, 10_000)
    kept = control.conversions.copy()
    kept[:, 4:] = rng.binomial(kept[:, 4:].astype(np.int64), 0.3)
    found = find_fault(replace(control, conversions=kept), treatment)
    assert found is not None
    assert found.fault == "missing conversions"
    assert "From day 5 on, control's clicks" in found.text
