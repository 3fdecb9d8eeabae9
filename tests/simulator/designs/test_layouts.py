"""Assignments: who moves when, who is left out, and what is independent of what."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.designs.design import Population
from simulator.designs.layouts import (
    AdvertiserSplit,
    Switchback,
    TwoSided,
    UserSplit,
    designs,
    in_layer,
)
from simulator.errors import SimulatorError

DAYS, USERS = 6, 2_000


def population(days: int = DAYS) -> Population:
    """Every user asks once every two hours, on one day before the experiment and on its days."""
    hours = np.arange(-24, 24 * days, 2, dtype=np.float64)
    since = np.repeat(hours * 3600.0, USERS)
    user = np.tile(np.arange(USERS), len(hours))
    day = np.floor(since / 86_400).astype(np.int64)
    ids = np.arange(USERS, dtype=np.uint64) * 7 + 3
    return Population(ids, user, since, day, day >= 0, np.arange(100) % 20, 20)


def test_a_user_split_gives_its_share_and_nothing_before_the_experiment() -> None:
    people = population()
    found = UserSplit(0.3).draw(people, "s", 7)
    assert not found.rows[~people.inside].any()
    assert (found.unit_of[~people.inside] == -1).all()
    assert found.rows[people.inside].mean() == pytest.approx(0.3, abs=0.03)
    by_user = [found.rows[people.inside & (people.user == user)] for user in range(50)]
    assert all(len(set(rows.tolist())) == 1 for rows in by_user)


def test_a_ramp_moves_users_once_and_to_treatment_alone() -> None:
    people = population()
    found = UserSplit(0.5, ramp=(0.05, 0.2)).draw(people, "s", 7)
    by_day = np.stack([found.rows[people.day == day].reshape(-1, USERS)[0] for day in range(DAYS)])
    assert (np.diff(by_day.astype(int), axis=0) >= 0).all()
    assert by_day.mean(1) == pytest.approx([0.05, 0.2, 0.5, 0.5, 0.5, 0.5], abs=0.03)
    assert (found.unit_of[people.day < 2] == -1).all()
    assert (found.unit_of[people.day >= 2] >= 0).all()
    plain = UserSplit(0.5).draw(people, "s", 7)
    last = people.day >= 2
    np.testing.assert_array_equal(found.rows[last], plain.rows[last])


def test_a_hold_out_is_served_by_control_and_left_out() -> None:
    people = population()
    found = UserSplit(0.5, layer=(0.0, 0.8)).draw(people, "s", 7)
    out = ~in_layer(people.user_ids, (0.0, 0.8), 7)[people.user]
    assert out.mean() == pytest.approx(0.2, abs=0.03)
    assert not found.rows[out].any()
    assert (found.unit_of[out] == -1).all()


def test_parts_of_a_layer_share_nobody_and_layers_are_independent() -> None:
    ids = np.arange(20_000)
    low, high = in_layer(ids, (0.0, 0.4), 7), in_layer(ids, (0.4, 1.0), 7)
    assert not (low & high).any()
    assert (low | high).all()
    other = in_layer(ids, (0.0, 0.4), 7, "ads")
    assert (low & other).mean() == pytest.approx(0.16, abs=0.01)
    # An experiment's split is independent of its layer too: both halves of it are as large inside.
    people = population()
    rows = UserSplit(0.5, layer=(0.0, 0.5)).draw(people, "s", 7).rows
    mine = in_layer(people.user_ids, (0.0, 0.5), 7)[people.user] & people.inside
    assert rows[mine].mean() == pytest.approx(0.5, abs=0.05)


def test_a_switchback_gives_each_of_two_neighbouring_windows_to_one_arm() -> None:
    people = population()
    found = Switchback(window_hours=6, washout_hours=2).draw(people, "s", 7)
    window = np.floor(people.since_s / (6 * 3600)).astype(int)
    arm = np.array([found.rows[window == w].mean() for w in range(4 * DAYS)])
    assert set(arm) == {0.0, 1.0}
    assert (arm[0::2] + arm[1::2] == 1).all()
    assert len(set(arm[0::2])) == 2
    early = (people.since_s % (6 * 3600) < 2 * 3600) & people.inside
    assert (found.unit_of[early] == -1).all()
    assert (found.unit_of[people.inside & ~early] == window[people.inside & ~early]).all()


@pytest.mark.parametrize("hours", [(48.0, 1.0), (6.0, 6.0)])
def test_a_switchback_of_too_few_windows_or_all_washout_is_refused(hours: tuple[float, float]) -> None:
    with pytest.raises(SimulatorError, match="expected"):
        Switchback(*hours).draw(population(), "s", 7)


def test_advertisers_are_assigned_whole_and_two_sides_by_themselves() -> None:
    people = population()
    one = AdvertiserSplit().draw(people, "s", 7)
    by_advertiser = [set(one.ads[people.advertiser == v].tolist()) for v in range(20)]
    assert all(len(found) == 1 for found in by_advertiser)
    assert 0.2 < one.ads.mean() < 0.8
    assert one.rows[people.inside].all()
    both = TwoSided().draw(people, "s", 7)
    np.testing.assert_array_equal(both.ads, one.ads)
    np.testing.assert_array_equal(both.rows, UserSplit().draw(people, "s", 7).rows)


def test_another_salt_is_another_assignment_and_the_same_is_the_same() -> None:
    people = population()
    for design in designs():
        first, again, other = (design.draw(people, salt, 7) for salt in ("a", "a", "b"))
        np.testing.assert_array_equal(first.rows, again.rows)
        np.testing.assert_array_equal(first.ads, again.ads)
        assert (first.rows != other.rows).any() or (first.ads != other.ads).any()
    assert len({design.name for design in designs()}) == len(designs())
