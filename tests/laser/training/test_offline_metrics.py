"""Metrics against their definitions, pair by pair."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laser.training.calibration import Platt, fit_platt
from laser.training.metrics import (
    auc,
    gauc,
    log_loss,
    pcoc,
    pcoc_interval,
    truth_weighted_auc,
)


def auc_by_pairs(scores: list[float], up: list[float], down: list[float]) -> float:
    total = won = 0.0
    for i, j in itertools.product(range(len(scores)), repeat=2):
        pair = up[i] * down[j]
        total += pair
        won += pair * (1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0)
    return won / total if total else math.nan


rows = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1), st.floats(0.0, 3.0)), min_size=1, max_size=25)


@given(rows)
def test_auc_counts_pairs_and_half_of_ties(given_rows: list[tuple[int, int, float]]) -> None:
    scores, labels, weights = (list(map(float, column)) for column in zip(*given_rows, strict=True))
    expected = auc_by_pairs(scores, labels, [1 - y for y in labels])
    assert auc(scores, labels) == pytest.approx(expected, nan_ok=True)
    up = [w * y for w, y in zip(weights, labels, strict=True)]
    down = [w * (1 - y) for w, y in zip(weights, labels, strict=True)]
    if sum(up) * sum(down) > 1e-6:
        assert auc(scores, labels, weights) == pytest.approx(auc_by_pairs(scores, up, down))


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0.01, 0.99)), min_size=1, max_size=25))
def test_truth_weighted_auc_counts_every_impression_both_ways(pairs: list[tuple[int, float]]) -> None:
    scores, p = [float(s) for s, _ in pairs], [p for _, p in pairs]
    assert truth_weighted_auc(scores, p) == pytest.approx(auc_by_pairs(scores, p, [1 - x for x in p]))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=30))
def test_gauc_is_the_impression_weighted_mean_over_groups_with_both_labels(
    triples: list[tuple[int, int, int]],
) -> None:
    total = weight = 0.0
    for group in {g for g, _, _ in triples}:
        own = [(float(s), float(y)) for g, s, y in triples if g == group]
        s, y = [a for a, _ in own], [b for _, b in own]
        if 0 < sum(y) < len(y):
            total += len(y) * auc_by_pairs(s, y, [1 - v for v in y])
            weight += len(y)
    g, s, y = (np.array(column) for column in zip(*triples, strict=True))
    assert gauc(s, y, g) == pytest.approx(total / weight if weight else math.nan, nan_ok=True)


def test_gauc_takes_one_group_for_each_request() -> None:
    scores, labels = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([[1, 0], [1, 0]])
    assert gauc(scores, labels, np.array([7, 8])) == 0.5


def test_auc_does_not_change_when_scores_become_probabilities() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=500), rng.integers(2, size=500)
    assert auc(Platt(0.7, -2.0).apply(logits), labels) == auc(logits, labels)


def test_log_loss_and_pcoc_match_hand_computed_values() -> None:
    assert log_loss([0.25, 0.5], [0, 1]) == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2)
    assert pcoc([0.2, 0.4, 0.9], [0, 1, 0]) == pytest.approx(1.5)
    assert math.isnan(pcoc([0.2], [0]))


def test_the_interval_of_pcoc_covers_what_new_users_will_show_as_often_as_it_says() -> None:
    """Users differ, so that impressions are no independent evidence; calibrated as `train` does it."""
    rng, covered, naive = np.random.default_rng(5), 0, 0
    mean = float((1.0 / (1.0 + np.exp(-rng.normal(-1.0, 1.0, 200_000)))).mean())
    worlds, users, each = 400, 150, 20
    for _ in range(worlds):
        rate = 1.0 / (1.0 + np.exp(-rng.normal(-1.0, 1.0, (users, 1))))
        label = rng.random((users, each)) < rate
        half = np.arange(users) % 2 == 0
        # The model knows nothing: each half gets the other's click rate.
        p = np.where(half, label[~half].mean(), label[half].mean())[:, None].repeat(each, axis=1)
        who = np.arange(users).repeat(each)
        served = label.mean() / mean  # predicted over observed clicks, of all users that there could be
        low, high = pcoc_interval(p, label, who)[1:]
        covered += low <= served <= high
        low, high = pcoc_interval(p, label)[1:]
        naive += low <= served <= high
    assert 0.92 <= covered / worlds <= 0.98
    assert naive / worlds < 0.85


def test_an_interval_of_pcoc_needs_a_click_and_two_users() -> None:
    assert np.isnan(pcoc_interval([0.2, 0.1], [0, 0])).all()
    assert pcoc_interval([0.2, 0.3], [1, 0], [7, 7])[0] == pytest.approx(0.5)
    assert np.isnan(pcoc_interval([0.2, 0.3], [1, 0], [7, 7])[1:]).all()
    # By hand: off = (.2 - .5, .3), error = sqrt(2 * (.3^2 + .3^2)) / .5
    value, low, high = pcoc_interval([0.2, 0.3], [1, 0])
    assert (low, high) == pytest.approx((value * math.exp(-1.96 * 1.2), value * math.exp(1.96 * 1.2)))


def test_metrics_refuse_sizes_that_differ_and_nan() -> None:
    with pytest.raises(ValueError, match="sizes differ: scores 2, labels 1"):
        auc([1.0, 2.0], [1])
    with pytest.raises(ValueError, match="scores holds NaN"):
        auc([math.nan, 2.0], [1, 0])
    with pytest.raises(ValueError, match=r"expected \[0, 1\]"):
        log_loss([1.5], [1])


def test_platt_finds_the_scale_and_shift_that_made_the_labels() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(-2.0, 1.5, 200_000)
    labels = rng.random(logits.shape) < 1.0 / (1.0 + np.exp(-(0.6 * logits + 0.4)))
    fit = fit_platt(logits, labels)
    assert fit.scale == pytest.approx(0.6, abs=0.02)
    assert fit.shift == pytest.approx(0.4, abs=0.03)


@given(st.integers(0, 2**31), st.floats(0.05, 20.0), st.floats(-5.0, 5.0))
def test_platt_predicts_as_many_clicks_as_there_are_whatever_the_models_scale(
    seed: int, scale: float, shift: float
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=400)
    labels = rng.random(400) < 1.0 / (1.0 + np.exp(-(x - 1.0)))
    fit = fit_platt(scale * x + shift, labels)
    assert fit.apply(scale * x + shift).sum() == pytest.approx(labels.sum(), rel=1e-5)


def test_platt_survives_separable_and_constant_logits_and_refuses_labels_all_alike() -> None:
    separable = fit_platt([-2.0, -1.0, 1.0, 2.0], [0, 0, 1, 1])
    assert np.isfinite([separable.scale, separable.shift]).all()
    assert fit_platt([1.0, 1.0, 1.0, 1.0], [0, 0, 0, 1]).apply([1.0])[0] == pytest.approx(0.25)
    with pytest.raises(ValueError, match="all alike"):
        fit_platt([0.1, 0.2], [0, 0])
    with pytest.raises(ValueError, match="one label for each logit"):
        fit_platt([0.1, 0.2], [0])


def test_a_missing_candidate_gets_probability_zero() -> None:
    assert Platt(0.9, 0.3).apply([-np.inf])[0] == 0.0
