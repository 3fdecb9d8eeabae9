from dataclasses import replace

import numpy as np
import pytest

from simulator.traffic.log import HOLDOUT
from simulator.traffic.priors import item_ctr, item_cvr, slot_weights, smoothed_rates, top_slot_factor
from simulator.world.world import World


def test_smoothing_recovers_a_known_beta_prior() -> None:
    rng = np.random.default_rng(3)
    a, b = 4.0, 76.0
    trials = rng.integers(20, 200, 20_000)
    rates = rng.beta(a, b, 20_000)
    clicks = rng.binomial(trials, rates)
    exact = (clicks + a) / (trials + a + b)
    np.testing.assert_allclose(smoothed_rates(clicks, trials), exact, rtol=0.03)


def test_smoothed_rates_beat_raw_ones() -> None:
    rng = np.random.default_rng(4)
    rates = rng.beta(4, 76, 5000)
    trials = np.full(5000, 60)
    clicks = rng.binomial(trials, rates)
    raw, smooth = clicks / trials, smoothed_rates(clicks, trials)
    assert ((smooth - rates) ** 2).mean() < 0.6 * ((raw - rates) ** 2).mean()


def test_equal_items_get_one_rate() -> None:
    rates = smoothed_rates(np.full(50, 5), np.full(50, 100))
    assert np.ptp(rates) == 0
    assert rates[0] == pytest.approx(0.05, rel=0.01)


@pytest.mark.parametrize(
    ("k", "n"), [([0, 0], [0, 0]), ([0, 0], [9, 9]), ([9, 9], [9, 9]), ([3], [7]), ([5, 0], [5, 5])]
)
def test_rates_stay_inside_the_unit_interval(k: list[int], n: list[int]) -> None:
    rates = smoothed_rates(np.array(k), np.array(n))
    assert ((rates > 0) & (rates < 1)).all()


def test_items_without_trials_get_the_overall_rate() -> None:
    rates = smoothed_rates(np.array([30, 2, 0]), np.array([100, 100, 0]))
    assert rates[1] < rates[2] < rates[0]


def test_item_rates_follow_the_hidden_qualities(world: World) -> None:
    ctr, cvr = item_ctr(world.log, 2000), item_cvr(world.log, 2000)
    assert ctr.shape == cvr.shape == (2000,)
    assert np.corrcoef(np.log(ctr), world._ad_truth.click_logit)[0, 1] > 0.2
    assert ctr.mean() == pytest.approx(world.log.click.mean(), rel=0.1)


def test_only_the_training_split_is_used(world: World) -> None:
    log = world.log
    flipped = replace(log, click=np.where((log.split == HOLDOUT)[:, None], 1 - log.click, log.click))
    np.testing.assert_array_equal(item_ctr(log, 2000), item_ctr(flipped, 2000))


def test_unknown_ads_and_empty_logs_are_refused(world: World) -> None:
    with pytest.raises(ValueError, match="only 7 ads are known"):
        item_ctr(world.log, 7)
    with pytest.raises(ValueError, match="no training requests"):
        item_cvr(world.log.take(world.log.rows("holdout")), 2000)


def test_slot_weights_are_the_logs_click_rates_from_the_top_and_never_rise(world) -> None:
    log = world.log.take(world.log.rows("train"))
    found = np.array(slot_weights(world.log, 5))
    rates = log.click.reshape(-1, 8).mean(0)
    assert found[0] == 1.0
    assert (np.diff(found) <= 0).all()
    np.testing.assert_allclose(found, np.minimum.accumulate(rates)[:5] / rates[0], rtol=0.01)
    assert len(slot_weights(world.log, 20)) == 8


def test_a_gap_of_a_request_counts_as_nothing_shown(world: World) -> None:
    log = world.log
    gap = np.zeros((len(log), 1))
    wider = {
        name: np.concatenate([getattr(log, name), gap.astype(getattr(log, name).dtype)], axis=1)
        for name in ("ad_category", "position", "click", "conversion")
    }
    gapped = replace(log, ad=np.concatenate([log.ad, gap.astype(log.ad.dtype) - 1], axis=1), **wider)
    for rates in (item_ctr, item_cvr):
        np.testing.assert_array_equal(rates(log, 2000), rates(gapped, 2000))
    assert slot_weights(log, 3) == slot_weights(gapped, 3)
    assert top_slot_factor(log) == top_slot_factor(gapped)
