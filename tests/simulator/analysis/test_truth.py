from __future__ import annotations

import numpy as np
import pytest

from simulator.analysis.columns import AnalysisError
from simulator.analysis.truth import by_user, true_lift
from simulator.metrics import RATIOS

ADVV, _, CTR, _ = RATIOS[:4]


def world(rng: np.random.Generator, users: int = 300, lift: float = 0.1) -> tuple[dict, dict]:
    """Truth rows of two worlds over the same requests; clicks and money rise by `lift`."""
    count = 1 + rng.poisson(5, users)
    user = np.repeat(np.arange(users, dtype=np.uint64), count)
    taste = np.repeat(rng.lognormal(-2, 0.5, users), count)
    base = {
        "request_id": np.arange(len(user), dtype=np.uint64),
        "user_id": user,
        "expected_impressions": np.ones(len(user)),
        "expected_clicks": taste,
        "expected_conversions": taste * 0.2,
        "expected_revenue": taste * 0.5,
        "expected_advv": taste * 0.2 * 20,
    }
    noise = np.exp(rng.normal(0, 0.1, len(user)) - 0.005) * (1 + lift)
    changed = {
        k: v * noise if k.startswith("expected_") and k != "expected_impressions" else v
        for k, v in base.items()
    }
    return base, changed


@pytest.mark.parametrize("metric", RATIOS, ids=lambda m: m.name)
def test_identical_arms_differ_by_exactly_zero(metric):
    base, _ = world(np.random.default_rng(0))
    true = true_lift(by_user(base), by_user({k: v.copy() for k, v in base.items()}), metric)
    assert (true.lift, true.se) == (0.0, 0.0)


def test_the_true_lift_is_a_ratio_of_sums():
    base, changed = world(np.random.default_rng(1))
    true = true_lift(by_user(base), by_user(changed), ADVV)
    assert true.lift == pytest.approx(changed["expected_advv"].sum() / base["expected_advv"].sum() - 1)
    assert true.control == pytest.approx(base["expected_advv"].sum() / len(base["user_id"]))
    assert true_lift(by_user(base), by_user(changed), CTR).control == pytest.approx(
        base["expected_clicks"].mean()
    )


def test_its_standard_error_is_that_of_redrawn_users():
    rng = np.random.default_rng(2)
    found = [true_lift(*map(by_user, world(rng)), ADVV) for _ in range(400)]
    lifts = np.array([t.lift for t in found])
    errors = np.array([t.se for t in found])
    assert errors.mean() == pytest.approx(lifts.std(), rel=0.15)
    covered = np.abs(lifts - 0.1) <= 1.96 * errors
    assert 0.92 <= covered.mean() <= 0.98


def test_pairing_beats_two_independent_samples():
    base, changed = world(np.random.default_rng(3))
    unpaired = np.hypot(
        *(w["expected_advv"].std() / w["expected_advv"].mean() / 300**0.5 for w in (base, changed))
    )
    assert true_lift(by_user(base), by_user(changed), ADVV).se < 0.3 * unpaired


def test_worlds_without_outcomes_have_no_lift():
    base, changed = world(np.random.default_rng(4))
    none = base | {"expected_advv": np.zeros_like(base["expected_advv"])}
    assert true_lift(by_user(none), by_user(changed), ADVV).lift is None
    assert true_lift(by_user(none), by_user(changed), ADVV).control == 0.0


def test_worlds_of_different_requests_are_refused():
    base, changed = world(np.random.default_rng(5))
    with pytest.raises(AnalysisError, match="the same"):
        true_lift(by_user(base), by_user({k: v[1:] for k, v in changed.items()}), ADVV)
