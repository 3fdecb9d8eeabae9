"""What a log's request may know, which ads it may show, and the response fitted on it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kuairand_files import LOG_HEADER, log_lines, write_kuairand

from simulator.logs.folder import read_log
from simulator.logs.real_log import RealLog, request_scenes, split_days
from simulator.logs.table.candidates import nearest_candidates
from simulator.logs.table.convert import FEATURE_DELAY_S, PRIOR_IMPRESSIONS, EarlierClicks
from simulator.logs.table.fit import design_of, fit_response
from simulator.logs.table.shipped import import_kuairand
from simulator.logs.world import load_log_world, log_impressions
from simulator.traffic.examples import history_slices
from simulator.traffic.trace import TraceError
from simulator.world.fitted import FEATURES, LogWorld, request_features

SPLIT = split_days(6)


@pytest.fixture(scope="module")
def log(kuairand_log: Path) -> RealLog:
    return read_log(kuairand_log)[0]


@pytest.fixture(scope="module")
def world(kuairand_log: Path) -> LogWorld:
    return load_log_world(kuairand_log, 7, SPLIT)


def features_of(log: RealLog, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Everything rankers and the response may know of some requests."""
    requests, behaviours = log.requests, log.behaviours
    user = np.searchsorted(behaviours.users, requests.user_id[rows])
    start, end = history_slices(behaviours, requests.user_id[rows], requests.arrival_s[rows], 60.0)
    seen = [behaviours.item_id[a:b].tolist() for a, b in zip(start, end, strict=True)]
    every = np.broadcast_to(np.arange(log.categories), (len(rows), log.categories))
    return {
        "hour": requests.hour[rows],
        "propensity": requests.propensity[rows],
        "scene": request_scenes(log.impressions, requests)[rows],
        "items": np.array([str(items) for items in seen]),
        "actions": np.array([str(behaviours.action[a:b]) for a, b in zip(start, end, strict=True)]),
        "response": request_features(
            behaviours, user, requests.arrival_s[rows], requests.propensity[rows], every
        ),
    }


def test_no_feature_depends_on_later_rows(log: RealLog, tmp_path: Path) -> None:
    place = LOG_HEADER.split(",").index("time_ms")
    cut_s = 4.6 * 86_400
    kept = [x for x in log_lines() if int(x.split(",")[place]) < log.epoch_ms + cut_s * 1000]
    write_kuairand(tmp_path / "in", kept)
    import_kuairand(tmp_path / "in", tmp_path / "log")
    short = read_log(tmp_path / "log")[0]
    assert log.categories == short.categories
    rows = np.arange(len(short.requests))
    assert 500 < len(rows) < len(log.requests)
    found, expected = features_of(short, rows), features_of(log, rows)
    for name in found:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_a_request_never_sees_what_it_led_to(log: RealLog) -> None:
    rows = np.arange(len(log.requests))
    behaviours, requests = log.behaviours, log.requests
    start, end = history_slices(behaviours, requests.user_id, requests.arrival_s, 60.0)
    known = end > start
    assert (behaviours.time_s[end[known] - 1] < requests.arrival_s[known] - 59).all()
    user = np.searchsorted(behaviours.users, requests.user_id)
    category = np.zeros((len(rows), 1), np.int64)
    count = request_features(behaviours, user, requests.arrival_s, requests.propensity, category)[:, 0, 1]
    own = [
        int((np.floor(log.impressions.time_s[log.impressions.user_id == u]) < np.floor(t)).sum())
        for u, t in zip(requests.user_id[:300], requests.arrival_s[:300], strict=True)
    ]
    np.testing.assert_allclose(np.expm1(count[:300]), own)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200), st.booleans()), min_size=1, max_size=40),
    st.integers(0, 40),
)
def test_propensity_is_the_smoothed_earlier_click_rate_however_rows_are_parted(
    rows: list[tuple[int, int, bool]], cut: int
) -> None:
    rows = sorted(rows, key=lambda row: row[1])
    user, second, click = (np.array(c) for c in zip(*rows, strict=True))
    earlier = EarlierClicks(4)
    parts = (slice(0, cut), slice(cut, len(rows)))
    found = np.concatenate(
        [earlier(user[p].astype(np.int32), second[p], click[p].astype(np.uint8)) for p in parts]
    )
    for i, (u, s, _) in enumerate(rows):
        before = second < s - FEATURE_DELAY_S
        mine = before & (user == u)
        everyone = (click[before].sum() + 0.5) / (before.sum() + 1)
        rate = (click[mine].sum() + PRIOR_IMPRESSIONS * everyone) / (mine.sum() + PRIOR_IMPRESSIONS)
        assert found[i] == pytest.approx(np.log(rate / (1 - rate)))


def plain_candidates(time_ms: np.ndarray, ad: np.ndarray, row: int, width: int) -> list[int]:
    order = sorted(range(len(ad)), key=lambda i: (abs(int(time_ms[i] - time_ms[row])), i))
    chosen: dict[int, None] = {}
    for i in order:
        chosen.setdefault(int(ad[i]), None)
        if len(chosen) == width:
            break
    return sorted(chosen)


@pytest.mark.parametrize(("span", "ads"), [(1_000_000, 40), (300, 40), (5_000, 7), (3, 12)])
def test_candidates_are_the_ads_exposed_nearest_in_time(span: int, ads: int) -> None:
    rng = np.random.default_rng(span)
    time_ms, ad = np.sort(rng.integers(0, span, 900)), rng.integers(0, ads, 900)
    # A long spell of one ad: the first window cannot hold enough of them.
    ad[200:600] = 3
    first = np.unique(time_ms, return_index=True)[1]
    found = nearest_candidates(time_ms, ad, time_ms[first], first, 7)
    for k, row in enumerate(first):
        assert found[k].tolist() == plain_candidates(time_ms, ad, row, 7)


def test_a_spell_of_one_ad_longer_than_any_window_is_survived() -> None:
    ad = np.zeros(9000, np.int64)
    ad[:3], ad[-3:] = (1, 2, 3), (4, 5, 6)
    time_ms, row = np.arange(9000), np.array([4000, 8999])
    found = nearest_candidates(time_ms, ad, time_ms[row], row, 4)
    assert found.tolist() == [[0, 1, 2, 3], [0, 4, 5, 6]]


def test_the_exposed_ad_is_among_distinct_candidates(log: RealLog) -> None:
    row = np.searchsorted(log.requests.request_id, log.impressions.request_id)
    candidates = log.requests.candidates[row].astype(np.int64)
    assert (candidates == log.impressions.ad[:, None]).any(axis=1).all()
    assert candidates.shape[1] == 32
    assert (np.diff(np.sort(candidates, axis=1)) > 0).all()


def test_running_counts_are_the_counts_of_the_whole_history(log: RealLog) -> None:
    design, shown = design_of(log), log.impressions
    user = np.searchsorted(log.behaviours.users, shown.user_id)
    category = log.ads.category[shown.ad].astype(np.int64)[:, None]
    found = request_features(log.behaviours, user, shown.time_s, shown.propensity, category)[:, 0]
    np.testing.assert_array_equal(found, design.features)


def test_a_last_day_that_is_a_fragment_is_not_judged(log: RealLog) -> None:
    day = log.impressions.day
    last = np.flatnonzero(day == day[-1])
    fewer = log.impressions.take(np.arange(last[len(last) // 20]))
    _, quality = fit_response(replace(log, impressions=fewer))
    assert quality["click"]["last_day"]["rows"] == (day == day[-1] - 1).sum()
    _, quality = fit_response(log)
    assert quality["click"]["last_day"]["rows"] == len(last)


def test_the_fit_is_calibrated_and_finds_what_was_put_in(log: RealLog) -> None:
    response, quality = fit_response(log)
    assert quality["click"]["in_sample"]["pcoc"] == pytest.approx(1.0, abs=1e-3)
    assert quality["click"]["in_sample"]["auc"] > quality["click"]["last_day"]["auc"] > 0.55
    scene = response.click.tables["scene"]
    assert scene[[1, 4, 14]].min() - scene[0] > 0.5  # scene 0 was made a logit worse
    liked = response.click.weights[FEATURES.index("log_category_clicks")]
    skipped = response.click.weights[FEATURES.index("log_category_skips")]
    assert liked > 0 > skipped


def test_the_trace_follows_the_log_rankers_learn_from(world: LogWorld, log: RealLog) -> None:
    train, holdout = world.log.rows("train"), world.log.rows("holdout")
    assert world.log.time_s[train].max() < 3 * 86_400 <= world.log.time_s[holdout].min()
    assert world.log.time_s.max() < 4 * 86_400 <= world.requests.arrival_s.min()
    assert set(world.requests.day[world.requests.period == 0]) == {4}
    assert set(world.requests.day[world.requests.period == 1]) == {5}
    assert len(world.requests) == (log.requests.day >= 4).sum()


def test_the_truth_differs_between_users_and_ads_not_between_slots(world: LogWorld) -> None:
    rows = np.arange(50)
    ads = world.requests.candidates[rows].astype(np.int64)
    click, convert = world.response(rows, ads, 0)
    assert click.shape == convert.shape == (50, 32)
    assert ((click > 0) & (click < 1) & (convert > 0) & (convert < 1)).all()
    assert (click.std(axis=1) > 0).all()
    assert (click.std(axis=0) > 0).any()
    np.testing.assert_array_equal(world.response(rows, ads, 5)[0], click)
    np.testing.assert_array_equal(world.response(rows, ads[:, 3], 0)[0], click[:, 3])
    np.testing.assert_array_equal(world.response(rows[7:9], ads[7:9], 0)[0], click[7:9])


@pytest.mark.parametrize(
    ("rows", "ads", "position"),
    [([10**6], [[0]], 0), ([0], [[10**6]], 0), ([0], [[0]], -1), ([0, 1], [[0]], 0)],
)
def test_a_question_outside_the_world_is_refused(
    world: LogWorld, rows: object, ads: object, position: int
) -> None:
    with pytest.raises(ValueError, match="expected"):
        world.response(np.array(rows), np.array(ads), position)


def test_tcpa_is_the_runs_draw_and_advertisers_are_the_logs(kuairand_log: Path, world: LogWorld) -> None:
    other = load_log_world(kuairand_log, 8, SPLIT)
    assert (other.catalogue.tcpa != world.catalogue.tcpa).all()
    np.testing.assert_array_equal(other.catalogue.advertiser, world.catalogue.advertiser)
    tcpa = world.catalogue.advertiser_tcpa
    np.testing.assert_array_equal(world.catalogue.tcpa, tcpa[world.catalogue.advertiser])
    assert np.log(tcpa).mean() == pytest.approx(np.log(20), abs=0.1)
    assert np.log(tcpa).std() == pytest.approx(0.4, abs=0.08)


def test_the_traces_candidates_stay_in_the_file_in_which_a_log_has_them(world: LogWorld) -> None:
    requests = world.requests
    assert requests.day[0] == SPLIT.pre
    assert requests.day[-1] == SPLIT.end - 1
    assert not requests.candidates.flags.owndata
    assert not requests.candidates.flags.writeable


def test_more_slots_than_candidates_are_refused(kuairand_log: Path) -> None:
    with pytest.raises(TraceError, match=r"market\.slots is 33"):
        load_log_world(kuairand_log, 7, SPLIT, slots=33)


def test_what_rankers_learn_from_is_the_log_row_by_row_its_requests_side_by_side(
    log: RealLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = log.impressions.take(np.flatnonzero(log.impressions.day < SPLIT.pre))
    for widest in (64, 1):  # as it is, and with every request cut into its rows
        monkeypatch.setattr("simulator.logs.world.WIDEST", widest)
        learned = log_impressions(log, SPLIT)
        there = learned.shown
        assert there.sum() == len(shown)
        assert len(learned) == (len(shown) if widest == 1 else len(np.unique(shown.request_id)))
        for name in ("ad", "click", "conversion"):
            np.testing.assert_array_equal(getattr(learned, name)[there], getattr(shown, name))
            assert (getattr(learned, name)[~there] == (-1 if name == "ad" else 0)).all()
        for name in ("user_id", "time_s", "hour", "propensity"):
            each = np.broadcast_to(getattr(learned, name)[:, None], there.shape)[there]
            np.testing.assert_array_equal(each, getattr(shown, name))
    assert there.shape[1] == 1
