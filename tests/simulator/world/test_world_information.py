"""What a history reveals about a user's present interests: the reason long histories pay, or do not."""

import numpy as np
import pytest

from simulator.traffic.behaviours import SHORT
from simulator.traffic.examples import log_examples
from simulator.world.config import preset
from simulator.world.response import affinity
from simulator.world.world import World, build_world

WINDOWS = (50, 200, 1000)


def explained(world: World) -> list[float]:
    """Share of the affinity's variance that counts in the newest 50, 200, 1000 behaviours explain.

    Least squares on log-counts of the ad's category, without skips; fitted on the earlier half of the log.
    """
    examples = log_examples(world.behaviours, world.log)
    rows = np.arange(0, len(world.log), 12)
    category = world.catalogue.category[world.log.ad]
    truth = affinity(world.config, world._plan.users, world._log_moments, category)[rows].ravel()
    features = []
    for row in rows:
        counts = []
        for window in WINDOWS:
            end = examples.history_end[row]
            part = slice(max(examples.history_start[row], end - window), end)
            skipped = examples.action[part] == SHORT
            for chosen in (skipped, ~skipped):
                count = np.bincount(examples.category[part][chosen], minlength=200)
                counts.append(np.log1p(count[examples.ad_category[row]]))
        features.append(np.stack(counts, axis=-1))
    x, half = np.concatenate(features), len(truth) // 2
    shares = []
    for k in (2, 4, 6):
        design = np.concatenate([x[:, :k], x[:, :k] ** 2, np.ones((len(x), 1))], axis=1)
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
