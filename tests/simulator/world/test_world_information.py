"""What a history reveals about a user's present interests: the reason long histories pay, or do not."""

from typing import Any

import numpy as np
import pytest

from simulator.logs.calibration.levels import interest_gain
from simulator.traffic.behaviours import SHORT
from simulator.traffic.examples import log_examples
from simulator.world.config import preset
from simulator.world.response import affinity
from simulator.world.world import World, build_world

WINDOWS = (50, 200, 1000)
DEPARTMENT = 3  #: counted beside the windows: the whole history in the categories of the ad's department


def explained(world: World, models: tuple[tuple[int, ...], ...] = ((0,), (0, 1), (0, 1, 2))) -> list[float]:
    """Share of the affinity's variance that counts in some WINDOWS and DEPARTMENT explain, for each choice.

    Least squares on log-counts of the ad's category, skips apart; fitted on the earlier half of the log.
    """
    examples = log_examples(world.behaviours, world.log)
    rows = np.arange(0, len(world.log), 12)
    category = world.catalogue.category[world.log.ad]
    truth = affinity(world.config, world._plan.users, world._log_moments, category)[rows].ravel()
    features = []
    for row in rows:
        counts = []
        for window, size in (*((each, 1) for each in WINDOWS), (1000, world.config.department)):
            end = examples.history_end[row]
            part = slice(max(examples.history_start[row], end - window), end)
            skipped = examples.action[part] == SHORT
            for kind in (skipped, ~skipped):
                count = np.bincount(examples.category[part][kind] // size, minlength=200)
                counts.append(np.log1p(count[examples.ad_category[row] // size]))
        features.append(np.stack(counts, axis=-1))
    x, half = np.concatenate(features), len(truth) // 2
    shares = []
    for model in models:
        chosen = x[:, [2 * window + kind for window in model for kind in (0, 1)]]
        design = np.concatenate([chosen, chosen**2, np.ones((len(x), 1))], axis=1)
        fit = np.linalg.lstsq(design[:half], truth[:half], rcond=None)[0]
        error = truth[half:] - design[half:] @ fit
        shares.append(1.0 - float((error**2).mean() / truth[half:].var()))
    return shares


def test_longer_histories_reveal_more_about_interests(demo: World) -> None:
    at_50, at_200, at_1000 = explained(demo)
    assert at_200 > at_50 + 0.05
    assert at_1000 > at_200 + 0.02


def test_under_fast_drift_the_distant_past_reveals_nothing_new() -> None:
    config = preset("fast-drift", users=3000, requests=100, log_requests=10, log_days=10, holdout_days=2)
    _, at_200, at_1000 = explained(build_world(config, 7))
    assert at_1000 == pytest.approx(at_200, abs=0.01)


EVERY: dict[str, Any] = {
    "promised_visits": 1, "session_sd": 1.0, "activity_sd": 0.8, "noise_own": 0.5, "follow_share": 0.3,
    "department": 8, "item_repeat": 0.3, "stay_days": 30.0, "stay_sd": 1.0, "first_session": 20.0,
}  # fmt: skip


@pytest.mark.parametrize("changed", [{}, EVERY | {"related": 0.5}], ids=["null", "null, with all else"])
def test_in_the_null_world_no_order_of_ads_gains_by_histories(changed: dict[str, Any]) -> None:
    sizes = {"users": 300, "history_max": 200, "requests": 1500, "log_requests": 4}
    gains = [interest_gain(build_world(preset(name, **sizes, **changed), 3)) for name in ("null", "quick")]
    assert gains[0] == 0.0
    assert gains[1] > 0.05


def test_interests_that_rise_and_fade_make_recency_pay() -> None:
    sizes = {"users": 1000, "requests": 100}
    brief = {"share_burst": 0.5, "burst_life": 150.0, "interests": 32, "dormant_click": 0.0}
    gains = []
    for changed in ({}, brief):
        order_free, windows = explained(build_world(preset("demo", **sizes, **changed), 7), ((2,), (0, 1, 2)))
        gains.append(windows - order_free)
    assert gains[1] > 1.8 * gains[0] > 0.05


@pytest.mark.parametrize("related", [0.0, 0.5])
def test_related_categories_tell_of_a_candidate_what_its_own_does_not(related: float) -> None:
    config = preset("demo", users=1000, requests=100, department=8, related=related)
    own, both = explained(build_world(config, 7), ((0, 1, 2), (0, 1, 2, DEPARTMENT)))
    assert both - own == pytest.approx(0.0, abs=0.01) if related == 0 else both > own + 0.04
