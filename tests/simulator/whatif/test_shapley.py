"""Parts of an effect: they sum to it, and are those of every order that there is."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.whatif.shapley import coalitions, in_order, shapley

FACTORS = ("a", "b", "c", "d")
VALUES = st.lists(st.integers(-100, 100), min_size=16, max_size=16)


def game(values: list[int]) -> dict[frozenset[str], np.ndarray]:
    return {some: np.array([float(v), 2.0 * v]) for some, v in zip(coalitions(FACTORS), values, strict=True)}


@given(VALUES)
def test_parts_are_the_mean_over_every_order_and_sum_to_the_whole(values: list[int]) -> None:
    value = game(values)
    orders = [in_order(order, value) for order in permutations(FACTORS)]
    whole = value[frozenset(FACTORS)] - value[frozenset()]
    for parts in (shapley(FACTORS, value), *orders):
        np.testing.assert_allclose(sum(parts.values()), whole, atol=1e-9)
    for factor in FACTORS:
        mean = np.mean([parts[factor] for parts in orders], axis=0)
        np.testing.assert_allclose(shapley(FACTORS, value)[factor], mean, atol=1e-9)


def test_a_factor_that_changes_nothing_has_no_part_and_equal_ones_have_equal_parts() -> None:
    value = {some: np.array([2.0 * len(some - {"d"})]) for some in coalitions(FACTORS)}
    parts = shapley(FACTORS, value)
    assert parts["d"] == 0
    assert parts["a"] == parts["b"] == parts["c"] == pytest.approx(2.0)


def test_the_glove_game_has_its_published_value() -> None:
    # Two left gloves and a right one: a pair is worth 1. Shapley: 1/6, 1/6, 4/6.
    value = {
        some: np.array([float("right" in some and len(some) > 1)]) for some in coalitions(("l", "m", "right"))
    }
    parts = shapley(("l", "m", "right"), value)
    assert [float(parts[name][0]) for name in ("l", "m", "right")] == pytest.approx([1 / 6, 1 / 6, 4 / 6])
