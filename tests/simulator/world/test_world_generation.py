"""Statistical claims about the demo world, against the published figures it is calibrated on."""

import dataclasses
import hashlib

import numpy as np
import pytest
from scipy.stats import norm

from simulator.traffic.behaviours import CLICK, COLUMNS, DEEP, SHORT, Behaviours
from simulator.traffic.trace import EXPERIMENT
from simulator.world import blocks, candidates
from simulator.world.calibrated import calibrated
from simulator.world.catalogue import ITEM_ID_BASE, build_catalogue
from simulator.world.clock import DAILY_CURVE, DAY_S, Timeline, Warp
from simulator.world.config import preset, presets
from simulator.world.users import BLOCK_USERS, build_users
from simulator.world.world import World, build_world

SMALL = {"users": 2 * BLOCK_USERS + 40, "history_max": 120, "requests": 900, "log_requests": 3}


def digest(world: World) -> str:
    found = hashlib.sha256()
    for part in (world.behaviours, world.requests, world.log, world.catalogue):
        for field in dataclasses.fields(part):
            found.update(np.ascontiguousarray(getattr(part, field.name)).tobytes())
    return found.hexdigest()


@pytest.mark.parametrize("memory", [True, False])
def test_a_world_drawn_by_several_processes_and_in_parts_is_the_same(
    memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = preset("demo", **SMALL)
    whole = digest(build_world(config, 5))
    monkeypatch.setattr(blocks, "_has_room", lambda config: memory)
    monkeypatch.setattr(candidates, "_AT_ONCE", 1000)
    assert digest(build_world(config, 5, jobs=2)) == whole
    with pytest.raises(ValueError, match="jobs is 0, expected 1 or more"):
        build_world(config, 5, jobs=0)


def within_user_gaps(b: Behaviours) -> np.ndarray:
    same = np.ones(len(b) - 1, dtype=bool)
    same[b.offsets[1:-1] - 1] = False
    return np.diff(b.time_s)[same]


def test_same_seed_same_world_to_the_byte() -> None:
    config = preset("demo", **SMALL)
    assert digest(build_world(config, 3)) == digest(build_world(config, 3))


def test_another_seed_is_another_world() -> None:
    config = preset("demo", **SMALL)
    assert digest(build_world(config, 3)) != digest(build_world(config, 4))


def test_any_range_of_blocks_alone_equals_the_whole() -> None:
    world = build_world(preset("demo", **SMALL), 3)
    assert world.blocks == 3
    whole = world.behaviours
    for first, last in ((0, 3), (1, 2), (2, 3), (1, None)):
        part = Behaviours.concatenate(list(world.behaviour_blocks(first, last)))
        low = int(whole.offsets[first * BLOCK_USERS])
        np.testing.assert_array_equal(part.users, whole.users[first * BLOCK_USERS :][: len(part.users)])
        for name in COLUMNS:
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[low : low + len(part)])


def test_world_without_behaviours_has_the_same_trace_and_log() -> None:
    config = preset("demo", **SMALL)
    lean, full = build_world(config, 3, keep_behaviours=False), build_world(config, 3)
    np.testing.assert_array_equal(lean.requests.candidates, full.requests.candidates)
    np.testing.assert_array_equal(lean.log.p_true, full.log.p_true)
    with pytest.raises(ValueError, match="behaviour_blocks"):
        _ = lean.behaviours


def test_columns_have_the_contract_dtypes(demo: World) -> None:
    for name, dtype in COLUMNS.items():
        assert getattr(demo.behaviours, name).dtype == np.dtype(dtype)
    assert demo.behaviours.user_id.dtype == np.uint64
    assert demo.requests.candidates.dtype == np.uint64


def test_times_never_go_back_within_a_user(demo: World) -> None:
    assert within_user_gaps(demo.behaviours).min() >= 0
    assert demo.behaviours.time_s.min() >= 0
    assert demo.behaviours.time_s.max() < demo.timeline.end_s


def test_history_lengths_are_spread_and_half_are_full(demo: World) -> None:
    b = demo.behaviours
    before_log = b.count_before(
        np.arange(len(b.users)), np.full(len(b.users), demo.timeline.log_start_s + DAY_S)
    )
    # A day of grace: a session may run past the log's first midnight.
    full = (before_log >= demo.config.history_max).mean()
    assert 0.45 < full < 0.6
    assert np.percentile(before_log, 10) < 0.35 * demo.config.history_max


def test_in_session_gaps_have_the_measured_median_and_share_under_a_minute(demo: World) -> None:
    gaps = within_user_gaps(demo.behaviours)
    inside = gaps[gaps < demo.config.gap_max_s]
    assert 10 <= np.median(inside) <= 12
    assert abs((inside < 60).mean() - 0.83) < 0.01


def test_session_gaps_have_the_measured_median_and_p90(demo: World) -> None:
    gaps = within_user_gaps(demo.behaviours)
    days = gaps[gaps >= demo.config.gap_max_s] / DAY_S
    assert abs(np.median(days) - 0.51) < 0.03
    assert abs(np.percentile(days, 90) - 2.1) < 0.15


def test_behaviours_follow_the_daily_curve(demo: World) -> None:
    by_hour = np.bincount(demo.behaviours.time_s // 3600 % 24, minlength=24)
    assert np.corrcoef(by_hour, DAILY_CURVE)[0, 1] > 0.99


def test_a_burst_raises_arrivals_by_its_factor() -> None:
    burst = (1, 10.0, 120.0, 6.0)
    plain, loud = (
        build_world(preset("demo", users=1500, history_max=60, requests=20_000, bursts=b), 5)
        for b in ((), (burst,))
    )
    start = plain.timeline.pre_start_s + DAY_S + 10 * 3600
    inside = [((w.requests.arrival_s >= start) & (w.requests.arrival_s < start + 7200)).sum()
              for w in (plain, loud)]  # fmt: skip
    # The day is renormalised: 9.2 % of it at six times the rate gives a ratio of 6 / 1.46 = 4.1.
    share = DAILY_CURVE[10:12].sum() / DAILY_CURVE.sum()
    assert inside[1] / inside[0] == pytest.approx(6 / (1 + 5 * share), rel=0.25)


def test_warp_keeps_order_and_midnights() -> None:
    config = preset("demo")
    warp = Warp.of(config)
    even = np.sort(np.random.default_rng(1).uniform(0, Timeline.of(config).end_s, 10_000))
    assert (np.diff(warp(even)) >= 0).all()
    midnights = np.arange(0, Timeline.of(config).end_s, DAY_S)
    np.testing.assert_allclose(warp(midnights), midnights, atol=1e-3)


def test_items_are_zipf_within_a_category(demo: World) -> None:
    b = demo.behaviours
    rank = (b.item_id - ITEM_ID_BASE).astype(np.int64) - b.category.astype(np.int64) * 5000
    assert rank.min() >= 0
    assert rank.max() < 5000
    edges = np.array([0, 50, 500, 5000])
    share = np.histogram(rank, edges)[0] / len(rank)
    expected = np.diff((edges / 5000) ** (1 - demo.config.item_zipf))
    np.testing.assert_allclose(share, expected, atol=0.003)


def test_item_popularity_resembles_the_measured_one(demo: World) -> None:
    # KuaiRand: top 1 % of items 17.5 %, top 10 % 58 % of views.
    count = np.sort(np.unique(demo.behaviours.item_id, return_counts=True)[1])[::-1]
    assert 0.15 < count[: len(count) // 100].sum() / count.sum() < 0.26
    assert 0.45 < count[: len(count) // 10].sum() / count.sum() < 0.62


def test_organic_items_and_ads_share_no_id(demo: World) -> None:
    assert demo.behaviours.item_id.min() > demo.catalogue.ad_id.max()


def test_action_mix_is_that_of_genuine_and_noise_events(demo: World) -> None:
    share = np.bincount(demo.behaviours.action, minlength=3) / len(demo.behaviours)
    expected = 0.7 * np.array([0.25, 0.50, 0.25]) + 0.3 * np.array([0.70, 0.27, 0.03])
    np.testing.assert_allclose(share, expected, atol=0.002)


def test_dwell_grows_with_the_action(demo: World) -> None:
    b = demo.behaviours
    short, click, deep = (np.median(b.dwell_s[b.action == a]) for a in (SHORT, CLICK, DEEP))
    assert short < click < deep
    assert (short, click, deep) == pytest.approx((2.5, 15, 70), abs=1)


def test_search_is_more_genuine_than_feed(demo: World) -> None:
    b = demo.behaviours
    feed, video, search = ((b.action[b.scene == s] == DEEP).mean() for s in (0, 1, 2))
    assert feed < video < search


def test_everyone_is_at_event_T_when_the_pre_period_begins(demo: World) -> None:
    moments, b = demo._trace_moments, demo.behaviours
    before = b.count_before(moments.user, np.full(len(moments.user), demo.timeline.pre_start_s))
    at = b.count_before(moments.user, np.floor(moments.time_s))
    elapsed = moments.event - demo.config.history_max
    # Sessions over midnight and ties at one second may shift the count by a few events.
    assert np.median(np.abs(elapsed - (at - before))) <= 2


def test_requests_happen_seconds_after_a_behaviour(demo: World) -> None:
    b, r = demo.behaviours, demo.requests
    user = r.user_id.astype(np.int64)
    last = b.offsets[user] + b.count_before(user, r.arrival_s) - 1
    np.testing.assert_array_equal(b.users[user], r.user_id)
    assert (b.offsets[user] <= last).all()
    pause = r.arrival_s - b.time_s[last]
    assert pause.min() > 0
    assert pause.max() <= 5


def test_the_topic_under_way_is_that_of_the_behaviour_just_seen() -> None:
    # With every event about its session's first topic, the behaviour asked after must show it.
    only = {"topic_first": 1.0, "topic_second": 0.0}
    world = build_world(preset("demo", users=300, history_max=60, requests=2000, log_requests=4, **only), 5)
    for moments in (world._trace_moments, world._log_moments):
        b = world.behaviours
        # Pauses last 1 to 5 s: the behaviour asked after lies in that range, later ones may follow it.
        last = b.count_before(moments.user, moments.time_s - 1.0) + b.offsets[moments.user] - 1
        assert (b.category[last] == moments.topic).mean() > 0.99


def test_trace_has_exactly_the_requests_asked_for(demo: World) -> None:
    assert len(demo.requests) == demo.config.requests == 13_000
    assert len(demo.log) == demo.config.users * demo.config.log_requests


@pytest.mark.parametrize("seed", range(8))
def test_no_request_is_lost_in_the_shortest_timeline(seed: int) -> None:
    days = {"log_days": 1, "holdout_days": 1, "pre_days": 0, "days": 1}
    world = build_world(
        preset("demo", users=400, history_max=20, requests=1000, log_requests=2, **days), seed
    )
    assert len(world.requests) == 1000
    assert len(world.log) == 800
    assert (world.requests.period == EXPERIMENT).all()


def test_arrivals_are_nearly_all_distinct(demo: World) -> None:
    assert len(np.unique(demo.requests.arrival_s)) > 0.999 * len(demo.requests)


def test_periods_follow_the_timeline(demo: World) -> None:
    r, t = demo.requests, demo.timeline
    assert r.arrival_s.min() >= t.pre_start_s
    assert r.arrival_s.max() < t.end_s
    np.testing.assert_array_equal(r.period == EXPERIMENT, r.arrival_s >= t.experiment_start_s)


def test_requests_per_user_are_arcsine_spread(demo: World) -> None:
    count = np.bincount(demo.requests.user_id.astype(np.int64), minlength=demo.config.users)
    # Arcsine: Var(rate) = mean^2 / 2, plus the Poisson variance of the counts.
    mean = count.mean()
    assert count.var() == pytest.approx(mean + mean**2 / 2, rel=0.08)
    assert (count == 0).mean() > 0.1


def test_logged_ctr_is_about_five_per_cent(demo: World) -> None:
    assert 0.046 < demo.log.click.mean() < 0.054


@pytest.mark.parametrize("name", sorted(set(presets()) - set(calibrated())))
def test_every_made_up_preset_has_the_intended_ctr(name: str) -> None:
    # Two block-sized worlds, mean: worlds differ by 0.13 points (sd), few users by more.
    small = preset(name, users=768, requests=1000)
    ctr = np.mean([build_world(small, s, keep_behaviours=False).log.p_true.mean() for s in (1, 2)])
    assert 0.046 < ctr < 0.055


def test_clicks_and_conversions_follow_their_probabilities(demo: World) -> None:
    log = demo.log
    p = log.p_true.astype(np.float64)
    assert log.click.sum() == pytest.approx(p.sum(), abs=4 * np.sqrt((p * (1 - p)).sum()))
    _, convert = demo.log_response(np.arange(len(log)), log.ad, log.position)
    q = convert[log.click == 1]
    assert log.conversion.sum() == pytest.approx(q.sum(), abs=4 * np.sqrt((q * (1 - q)).sum()))
    assert not log.conversion[log.click == 0].any()


def test_holdout_is_later_than_training(demo: World) -> None:
    log = demo.log
    assert log.time_s[log.rows("train")].max() < log.time_s[log.rows("holdout")].min()
    assert log.time_s.max() < demo.timeline.pre_start_s
    assert (np.diff(log.time_s) >= 0).all()


def test_candidates_are_distinct_and_mixed_35_to_65(demo: World) -> None:
    r = demo.requests
    ordered = np.sort(r.candidates, axis=1)
    assert (ordered[:, 1:] > ordered[:, :-1]).all()
    users = demo._plan.users
    own = np.zeros((demo.config.users, demo.config.categories), dtype=bool)
    own[np.arange(demo.config.users)[:, None], users.category] = True
    user = r.user_id.astype(np.int64)
    hit = own[user[:, None], demo.catalogue.category[r.candidates.astype(np.int64)]].mean()
    by_chance = own[user].mean()  # ads are spread evenly over categories
    # Redrawing repeats costs interests with few ads a little of their share.
    assert hit == pytest.approx(0.35 + 0.65 * by_chance, abs=0.02)


def test_ads_inherit_their_advertisers_tcpa(demo: World) -> None:
    c = demo.catalogue
    np.testing.assert_array_equal(c.tcpa, c.advertiser_tcpa[c.advertiser])
    assert np.bincount(c.advertiser).min() == np.bincount(c.advertiser).max() == 10
    assert np.log(c.advertiser_tcpa).mean() == pytest.approx(np.log(20), abs=0.1)
    assert np.log(c.advertiser_tcpa).std() == pytest.approx(0.4, abs=0.07)


def test_propensity_is_the_bias_with_the_stated_noise(demo: World) -> None:
    users = demo._plan.users
    assert users.click_bias.std() == pytest.approx(1.10, rel=0.05)
    assert (users.propensity - users.click_bias).std() == pytest.approx(0.35, rel=0.05)


def test_users_without_living_interests_still_behave() -> None:
    world = build_world(
        preset("fast-drift", users=100, requests=200, interests=1, life_share=0.01, log_requests=2), 1
    )
    assert len(world.behaviours) > 10_000
    assert np.isfinite(world.log.p_true).all()


def test_one_user_world_works() -> None:
    world = build_world(preset("demo", users=1, requests=5, log_requests=2), 1)
    assert len(world.requests) == 5


def test_fractional_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="expected an integer"):
        build_world(preset("demo"), 1.5)  # type: ignore[arg-type]


def test_users_are_as_unequal_as_activity_sd_says() -> None:
    sd = 1.2
    sizes = {"users": 2000, "history_max": 20, "log_requests": 1, "requests": 100_000}
    requests = build_world(preset("demo", activity_sd=sd, **sizes), 3).requests
    counts = np.sort(np.bincount(requests.user_id.astype(np.int64), minlength=2000))[::-1]
    # The first tenth's share of a log-normal total: Aitchison and Brown, "The Lognormal Distribution", 1957.
    assert counts[:200].sum() / counts.sum() == pytest.approx(norm.cdf(sd - norm.ppf(0.9)), abs=0.03)


def test_unequal_users_keep_their_interests() -> None:
    config = preset("demo", users=300)
    _, _, categories = build_catalogue(config, 3)
    plain = build_users(config, categories, 3)
    unequal = build_users(dataclasses.replace(config, activity_sd=1.2), categories, 3)
    assert (plain.activity != unequal.activity).all()
    for name in ("history_length", "category", "weight", "born", "phase", "propensity"):
        assert (getattr(plain, name) == getattr(unequal, name)).all()
