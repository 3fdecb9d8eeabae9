"""pCVR by ad and affinity: better than the ad's alone, calibrated, and blind to what comes later."""

from dataclasses import replace

import numpy as np
import pytest

from simulator.inputs.conversion import WINDOWS, TraceConversion, fit_conversion, held_out
from simulator.inputs.prepare import Prepared, prepare
from simulator.inputs.worlds import WorldSource
from simulator.traffic.examples import history_slices
from simulator.world.config import preset


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    # Conversions are common and follow affinity closely, so that few clicks show what many would.
    world = preset("demo", users=800, requests=1500, history_max=300, cvr0=-1.5, cvr_affinity=1.0)
    return prepare(WorldSource(world, seed=3, ingest_delay_s=60.0))


def log_loss(p: np.ndarray, truth: np.ndarray) -> float:
    """Expected, at the true probabilities."""
    return float(-(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean())


def test_affinity_tells_conversions_better_than_the_ad_alone_and_stays_calibrated(prepared: Prepared) -> None:
    rows = np.arange(len(prepared.requests))
    ads = prepared.requests.candidates.astype(np.int64)
    p_click, truth = prepared.truth.of(rows)
    found = TraceConversion(prepared).pcvr(rows)
    alone = prepared.pcvr[ads]
    worst, best = log_loss(alone, truth), log_loss(truth, truth)
    # A third of what knowing the truth would gain.
    assert worst - log_loss(found, truth) > (worst - best) / 3
    # Pages of the trace promise as many conversions as there are, but for what 1,300 of the log can tell, and
    # for more candidates of interests long past than the log shows.
    clicks = p_click[:, :, 0]
    assert (clicks * found).sum() == pytest.approx((clicks * truth).sum(), rel=0.1)


def test_on_the_log_it_learnt_from_predicted_and_seen_conversions_are_equal(prepared: Prepared) -> None:
    world = prepared.world
    model = TraceConversion(prepared).model
    log = world.log.take(world.log.rows("train"))
    start, end = history_slices(world.behaviours, log.user_id, log.time_s, 60.0)
    p = model.pcvr(world.behaviours, start, end, log.ad.astype(np.int64), world.catalogue.category)
    clicked = log.click > 0
    assert p[clicked].sum() == pytest.approx(log.conversion[clicked].sum(), rel=1e-6)


def test_it_promises_about_as_many_conversions_as_the_held_out_log_has(prepared: Prepared) -> None:
    for trace in (None, TraceConversion(prepared)):
        promised, converted = held_out(prepared, trace)
        assert converted > 50
        # Two sets of conversions of which each is counted with its own luck.
        assert promised == pytest.approx(converted, abs=3 * converted**0.5 + 0.05 * converted)


def test_what_a_user_does_after_a_request_changes_no_pcvr_of_it(prepared: Prepared) -> None:
    behaviours, log, requests = prepared.world.behaviours, prepared.world.log, prepared.requests
    begin_s = log.time_s.max()
    later = behaviours.time_s >= begin_s - 60.0
    assert later.any()
    other = replace(behaviours, category=np.where(later, 0, behaviours.category).astype(np.uint16))
    assert fit_conversion(log, other, prepared.pcvr, 60.0) == fit_conversion(
        log, behaviours, prepared.pcvr, 60.0
    )
    first = int(np.argmin(requests.arrival_s))
    model = TraceConversion(prepared).model
    start, end = history_slices(behaviours, requests.user_id, requests.arrival_s, 60.0)
    unread = np.ones(len(behaviours), bool)
    unread[start[first] : end[first]] = False
    other = replace(behaviours, category=np.where(unread, 0, behaviours.category).astype(np.uint16))
    ads, category = requests.candidates[[first]].astype(np.int64), prepared.world.catalogue.category
    both = [model.pcvr(b, start[[first]], end[[first]], ads, category) for b in (behaviours, other)]
    np.testing.assert_array_equal(both[0], both[1])


def test_counts_are_those_of_the_newest_behaviours(prepared: Prepared) -> None:
    behaviours, model = prepared.world.behaviours, TraceConversion(prepared).model
    start, end = behaviours.offsets[:1], behaviours.offsets[1:2]
    category = prepared.world.catalogue.category
    found = model.pcvr(behaviours, start, end, np.array([[7, -1]]), category)[0, 0]
    seen = behaviours.category[start[0] : end[0]]
    logs = [np.log1p((seen[-window:] == category[7]).sum()) for window in WINDOWS]
    rate = prepared.pcvr[7]
    logit = np.log(rate / (1 - rate)) + model.shift + np.dot(model.slopes, logs)
    assert found == pytest.approx(1 / (1 + np.exp(-logit)))


def test_a_log_without_conversions_leaves_the_ads_rates(prepared: Prepared) -> None:
    log = replace(prepared.world.log, conversion=np.zeros_like(prepared.world.log.conversion))
    model = fit_conversion(log, prepared.world.behaviours, prepared.pcvr, 60.0)
    assert (model.shift, set(model.slopes)) == (0.0, {0.0})
