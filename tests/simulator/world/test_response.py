"""The vectorised truth beside a scalar twin written straight from the formula."""

import math
from typing import Any

import numpy as np
import pytest

from simulator.world.config import preset
from simulator.world.world import World, build_world


def plain_response(world: World, row: int, ad: int, position: int) -> tuple[float, float]:
    c, users, at = world.config, world._plan.users, world._trace_moments
    u, event = int(at.user[row]), float(at.event[row])
    category = int(world.catalogue.category[ad])
    a = 0.0
    for k in range(c.interests):
        own = int(users.category[u, k])
        if own // c.department != category // c.department or (own != category and c.related == 0):
            continue
        if not users.born[u, k] <= event < users.death[u, k]:
            strength = 0.0
        else:
            cycle = event / float(users.period[u, k]) + float(users.phase[u, k])
            strength = 1.0 if cycle % 1.0 < users.duty[u, k] else c.dormant_click
        a += float(users.weight[u, k]) * strength * (1.0 if own == category else c.related)
    a = min(c.affinity_cap, a)
    hour = min(float(at.time_s[row]) % 86_400 / 3600, 23.999)
    logit = (
        c.b0
        + float(users.click_bias[u])
        + float(world._ad_truth.click_logit[ad])
        - c.position_slope * position
        + c.hour_amplitude * math.sqrt(2) * math.sin(2 * math.pi * hour / 24)
        + c.bA * a
        + (c.bR if category == int(at.topic[row]) else 0.0)
    )
    convert = float(world._ad_truth.conversion_logit[ad]) + c.cvr_affinity * a
    return 1 / (1 + math.exp(-logit)), 1 / (1 + math.exp(-convert))


OTHERS: list[dict[str, Any]] = [{}, {"department": 7, "related": 0.4}]


@pytest.mark.parametrize("changed", OTHERS, ids=lambda changed: ", ".join(changed) or "demo")
def test_response_agrees_with_the_scalar_formula(demo: World, changed: dict[str, Any]) -> None:
    sizes = {"users": 400, "history_max": 400, "requests": 1000, "log_requests": 2}
    world = build_world(preset("demo", **sizes, **changed), 7) if changed else demo
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(world.requests), 300)
    ads = world.requests.candidates[rows].astype(np.int64)
    position = rng.integers(0, 4, ads.shape)
    click, convert = world.response(rows, ads, position)
    for i, row in enumerate(rows):
        for j in (0, 7, 31):
            expected = plain_response(world, int(row), int(ads[i, j]), int(position[i, j]))
            assert (click[i, j], convert[i, j]) == pytest.approx(expected, rel=1e-5)


def test_response_does_not_depend_on_the_batch(demo: World) -> None:
    rows = np.arange(6000)
    ads = demo.requests.candidates[rows, :3].astype(np.int64)
    whole, _ = demo.response(rows, ads, 0)
    part, _ = demo.response(rows[4090:4100], ads[4090:4100], 0)
    np.testing.assert_array_equal(whole[4090:4100], part)


def test_one_ad_a_request_may_come_flat(demo: World) -> None:
    rows, ads = np.array([3, 5]), np.array([10, 20])
    flat, _ = demo.response(rows, ads, np.array([0, 1]))
    table, _ = demo.response(rows, ads[:, None], np.array([[0], [1]]))
    np.testing.assert_array_equal(flat, table[:, 0])


def test_log_probabilities_are_the_response_of_what_was_shown(demo: World) -> None:
    p, _ = demo.log_response(np.arange(len(demo.log)), demo.log.ad, demo.log.position)
    np.testing.assert_allclose(p, demo.log.p_true, rtol=1e-6)


def test_lower_positions_are_clicked_less(demo: World) -> None:
    rows = np.zeros(5, dtype=np.int64)
    click, convert = demo.response(rows, np.full((5, 1), 3), np.arange(5)[:, None])
    assert (np.diff(click[:, 0]) < 0).all()
    assert np.ptp(convert) == 0


def test_null_world_ignores_interests() -> None:
    world = build_world(preset("null", users=300, requests=600, log_requests=2, cvr_affinity=0.0), 2)
    r, users, truth = world.requests, world._plan.users, world._ad_truth
    ads = r.candidates.astype(np.int64)
    click, convert = world.response(np.arange(len(r)), ads, 0)
    hour = world.config.hour_amplitude * np.sqrt(2) * np.sin(2 * np.pi * (r.arrival_s % 86_400) / 86_400)
    logit = np.log(click / (1 - click)) - truth.click_logit[ads]
    own = world.config.b0 + users.click_bias[r.user_id.astype(np.int64)] + hour
    np.testing.assert_allclose(logit, np.broadcast_to(own[:, None], logit.shape), atol=1e-4)
    np.testing.assert_allclose(np.log(convert / (1 - convert)), truth.conversion_logit[ads], atol=1e-9)


def test_living_interests_raise_clicks_and_conversions(demo: World) -> None:
    users, at = demo._plan.users, demo._trace_moments
    rows = np.arange(2000)
    # The first interest is evergreen and permanent.
    ad_of = {int(c): i for i, c in enumerate(demo.catalogue.category)}
    ads = np.array([[ad_of[int(users.category[u, 0])]] for u in at.user[rows]])
    mine = demo.response(rows, ads, 0)
    others = demo.response(np.roll(rows, 1), ads, 0)
    for own, other in zip(mine, others, strict=True):
        assert np.log(own).mean() > np.log(other).mean() + 0.2


@pytest.mark.parametrize(
    ("rows", "ads", "position"),
    [([-1], [[0]], 0), ([13_000], [[0]], 0), ([0], [[2000]], 0), ([0], [[0.5]], 0), ([0], [[0]], -1),
     ([0, 1], [[0]], 0), ([0], [[[0]]], 0), ([0], [[1, 2]], [0, 1, 2])],
)  # fmt: skip
def test_nonsense_is_refused(demo: World, rows: list[int], ads: list[list[int]], position: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        demo.response(rows, ads, position)


def test_no_request_gives_empty_answers(demo: World) -> None:
    click, convert = demo.response(np.empty(0, np.int64), np.empty((0, 4), np.int64), 0)
    assert click.shape == convert.shape == (0, 4)
