"""A log's fit on days that it has not seen, and a generated world beside the log."""

import json
import os
import tomllib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ks_2samp
from typer.testing import CliRunner

from simulator.cli import app
from simulator.commands.logs.calibrate import lines
from simulator.config.load import load_config, parse_config, world_config
from simulator.logs.calibration import levels, resembling
from simulator.logs.calibration.calibrate import BAR, experiment_file
from simulator.logs.calibration.spans import Days, by_day, by_decile, fit_and_test
from simulator.logs.calibration.statistics import (
    CALIBRATED,
    distributions,
    fano,
    figures,
    kolmogorov,
    user_click_sd,
)
from simulator.logs.calibration.trials import trial
from simulator.logs.example import LONG, SHORT, Example
from simulator.logs.folder import read_log
from simulator.logs.real_log import RealLog, split_days
from simulator.logs.world import load_log_world
from simulator.traffic.log import LogImpressions
from simulator.traffic.trace import TraceError
from simulator.world.calibrated import Calibrated, calibrated
from simulator.world.config import preset
from simulator.world.world import World, build_world


@pytest.fixture(scope="module")
def log(kuairand_log: Path) -> RealLog:
    return read_log(kuairand_log)[0]


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(preset("demo", users=60, history_max=60, requests=300, log_requests=2), 5)


def judged(log: RealLog, fit: str = "1-4", test: str = "5-6") -> dict[str, Any]:
    spans = [Days.parse(text, log.days, "--fit") for text in (fit, test)]
    return fit_and_test(log, *spans, lambda stage, done, total: None)


def test_kolmogorov_is_scipys_with_ties() -> None:
    rng = np.random.default_rng(6)
    for _ in range(50):
        a, b = (rng.integers(0, 6, rng.integers(1, 30)).astype(float) for _ in range(2))
        assert kolmogorov(a, b) == pytest.approx(ks_2samp(a, b, method="asymp").statistic)
    assert kolmogorov(a, a[:0]) is None


def test_a_poisson_process_has_a_fano_factor_of_one_and_pairs_of_two() -> None:
    arrivals = np.sort(np.random.default_rng(1).uniform(0, 1e5, 100_000))
    assert fano(arrivals, 10) == pytest.approx(1.0, abs=0.05)
    assert fano(np.repeat(arrivals, 2), 20) == pytest.approx(2.0, abs=0.1)


def test_user_click_sd_finds_the_sd_that_was_drawn() -> None:
    rng = np.random.default_rng(2)
    users, each, sd = 3000, 12, 0.9
    level = np.repeat(-0.5 + sd * rng.standard_normal(users), each)
    click = (rng.random(users * each) < 1 / (1 + np.exp(-level))).astype(np.uint8)[:, None]
    empty: dict[str, Any] = dict.fromkeys(LogImpressions.__dataclass_fields__)
    columns = {
        "user_id": np.repeat(np.arange(users), each),
        "click": click,
        "ad": np.zeros_like(click, np.int32),
    }
    shown = LogImpressions(**{**empty, **columns})
    assert user_click_sd(shown) == pytest.approx(sd, abs=0.05)


def test_statistics_of_histories_are_those_of_a_loop_over_users(world: World) -> None:
    did, drawn = world.behaviours, distributions(world)
    returns, gaps, between, sessions, tops, same = [], [], [], [], [], []
    for low, high in zip(did.offsets[:-1], did.offsets[1:], strict=True):
        category, time_s = did.category[low:high].tolist(), did.time_s[low:high].tolist()
        last: dict[int, int] = {}
        for place, each in enumerate(category):
            if each in last and 2 * place >= len(category):
                returns.append(place - last[each])
            last[each] = place
        session = 1
        for first, second in pairwise(time_s):
            (gaps if second - first <= 1800 else between).append(second - first)
            if second - first > 1800:
                sessions.append(session)
                session = 0
            session += 1
        sessions.append(session)
        same += [a == b for a, b in pairwise(category)]
        if len(category) >= 20:
            tops.append(max(category.count(c) for c in set(category)) / len(category))
    for name, expected in {
        "return_events": returns,
        "gap_s": gaps,
        "session_length": sessions,
        "top_share": tops,
        "session_gap_days": [gap / 86_400 for gap in between],
    }.items():
        np.testing.assert_allclose(np.sort(drawn[name]), np.sort(expected), err_msg=name)
    found = figures(world, drawn)
    assert found["same_category_next"] == pytest.approx(np.mean(same))
    items = {(u, i) for u, i in zip(did.user_id.tolist(), did.item_id.tolist(), strict=True)}
    assert found["item_repeats"] == pytest.approx(1 - len(items) / len(did))


def test_events_in_random_order_repeat_their_category_as_the_mixture_says(world: World) -> None:
    did = world.behaviours
    rng = np.random.default_rng(3)
    category = np.concatenate(
        [rng.permutation(did.category[a:b]) for a, b in zip(did.offsets[:-1], did.offsets[1:], strict=True)]
    )
    shuffled = replace(world, _behaviours=replace(did, category=category))
    found = figures(shuffled, distributions(shuffled))
    assert found["same_category_mix"] == figures(world, distributions(world))["same_category_mix"]
    assert found["same_category_next"] == pytest.approx(found["same_category_mix"], abs=0.02)


def test_deciles_and_days_hold_every_row_once_in_order() -> None:
    rng = np.random.default_rng(4)
    p = rng.random(5003)
    label = (rng.random(5003) < p).astype(np.uint8)
    for parts in (by_decile(p, label), by_day(p, label, rng.integers(0, 3, 5003))):
        assert sum(each["rows"] for each in parts) == 5003
        assert sum(each["rows"] * each["observed"] for each in parts) == pytest.approx(label.sum())
        # The labels were drawn from p: every part is calibrated within its own error.
        assert all(abs(e["observed"] - e["predicted"]) < 4 * e["standard_error"] for e in parts)
    predicted = [each["predicted"] for each in by_decile(p, label)]
    assert predicted == sorted(predicted)


def test_a_fit_knows_nothing_of_the_days_it_is_tested_on(log: RealLog) -> None:
    found = judged(log)
    late = log.impressions.day >= 4
    click = np.where(late, 1 - log.impressions.click, log.impressions.click).astype(np.uint8)
    turned = judged(replace(log, impressions=replace(log.impressions, click=click, conversion=0 * click)))
    assert turned["click"]["fit"] == found["click"]["fit"]
    predicted = [[each["predicted"] for each in one["click"]["deciles"]] for one in (found, turned)]
    assert predicted[0] == predicted[1]
    assert turned["click"]["test"]["auc"] == pytest.approx(1 - found["click"]["test"]["auc"])


def test_conversions_that_were_drawn_are_not_judged(log: RealLog) -> None:
    spans = [Days.parse(text, log.days, "--fit") for text in ("1-4", "5-6")]
    found = fit_and_test(log, *spans, lambda stage, done, total: None, conversions=False)
    assert found["conversion"] is None
    assert found["click"] == judged(log)["click"]
    one = {"x": {"meaning": "x", "log": 1.0, "world": 1.0}}
    said = lines(
        {
            **{"source": "shop", "licence": None, "fit_days": "1-4", "test_days": "5-6"},
            **{"fitted": found, "world_users": 1, "distributions": {}, "figures": one},
        }
    )
    assert [line for line in said if "conversion" in line] == ["conversion: drawn, not logged: not judged"]


def test_days_are_counted_from_one_and_must_not_overlap(log: RealLog) -> None:
    found = judged(log, "2-3", "6")
    assert [each["day"] for each in found["click"]["days"]] == [6]
    rows = np.isin(log.impressions.day, (1, 2)).sum()
    assert found["click"]["fit"]["rows"] == rows
    with pytest.raises(TraceError, match="--fit 1-4 and --test 4-6 have days in common"):
        judged(log, "1-4", "4-6")
    for wrong in ("0-2", "3-2", "5-7", "monday", "1-2-3", ""):
        with pytest.raises(
            TraceError, match=r"--test is .*expected days of the log such as 3 or 1-3, from 1 to 6"
        ):
            Days.parse(wrong, 6, "--test")


def test_the_world_resembles_the_log_more_than_the_preset_does(
    kuairand_log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A short search: of few users, over what matters most to this log.
    monkeypatch.setattr(resembling, "_TRIAL_USERS", (150, 150))
    monkeypatch.setattr(resembling, "_PACES", resembling._PACES[::5])
    monkeypatch.setattr(resembling, "_TASTES", resembling._TASTES[::7])
    monkeypatch.setattr(resembling, "_PASSES", 1)
    monkeypatch.setattr(resembling, "_FACTORS", {"gap_median_s": (1.4, 2.0)})
    monkeypatch.setattr(resembling, "_VALUES", {"interests": (8, 32)})
    out, named = tmp_path / "world.toml", tmp_path / "like.toml"
    files = ["--out", str(out), "--preset", str(named)]
    result = CliRunner().invoke(app, ["calibrate", str(kuairand_log), *files, "--json", "-q"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    written = Calibrated(**tomllib.loads(named.read_text()))
    assert (written.world, written.log) == (found["world"], "KuaiRand")
    config = load_config(out)
    assert config.traffic.like is not None
    assert config.traffic.like.startswith("KuaiRand (CC BY-SA 4.0")
    assert "; largest Kolmogorov distance 0." in config.traffic.like
    config = world_config(config)
    assert (config.users, config.days, config.requests) == (150, 1, found["world"]["requests"])
    made = distributions(build_world(config, 7))
    same = {key: found["world"][key] for key in ("users", "requests", "log_requests", "history_max")}
    demo = distributions(build_world(preset("demo", **same), 7))
    log = distributions(load_log_world(kuairand_log, 7, split_days(6)))
    for name in ("history_length", "session_length", "user_activity"):
        distance = found["distributions"][name]["distance"]
        assert distance == kolmogorov(log[name], made[name])  # the file's world is the one that was compared
        assert distance < 0.6 * kolmogorov(log[name], demo[name])
    for name in ("best_ctr", "history_can_move_ctr"):  # of the truth, log and world
        assert all(0 < found["figures"][name][side] < 1 for side in ("log", "world"))
    assert found["figures"]["best_ctr"]["world"] == pytest.approx(
        found["figures"]["best_ctr"]["log"], abs=0.1
    )
    click = found["figures"]["click_rate"]
    assert click["world"] == pytest.approx(click["log"], abs=0.07)
    again = CliRunner().invoke(app, ["calibrate", str(kuairand_log), "--out", str(out)])
    assert again.exit_code == 1
    assert "found something there" in again.output


@pytest.mark.parametrize("example", [LONG, replace(SHORT, asked=200)])
def test_the_worlds_file_differs_from_the_logs_example_in_its_traffic_alone(
    example: Example, kuairand_log: Path
) -> None:
    world = {"users": 150, "history_max": 4000, "requests": 300}
    found = {"source": "shop", "licence": "ours", "base": "demo", "world": world, "distributions": {}}
    text = experiment_file({**found, "example": example.says})
    made = parse_config(text, environment={}).model_dump()
    overrides = [f"traffic.log={kuairand_log}", f"arms.treatment.history={example.says['history']}"]
    own = load_config(example.path(), overrides, environment={}).model_dump()
    same = {"preset": None, "log": None, "like": None, "world": {}}
    for each in (made, own):
        each["experiment"]["name"] = ""
        each["traffic"] |= same
    assert made == own
    assert f"# Load and arms are those of examples/{example.name}.toml" in text


@pytest.mark.parametrize("option", ["--out", "--preset"])
def test_a_place_that_cannot_be_written_is_refused_before_any_work(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def worked(*_: object) -> None:
        raise AssertionError("the work had begun")

    monkeypatch.setattr("simulator.logs.calibration.calibrate.calibrate", worked)
    (tmp_path / "file").write_text("")
    (tmp_path / "closed").mkdir()
    # Root may write anywhere, so what the system would say to others is put in its place.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed")
    for place, says in (
        ("nodir", f"found no folder at {tmp_path / 'nodir'}, expected a folder to write into. Make it, or"),
        ("file", f"found a file at {tmp_path / 'file'}, expected a folder to write into. Choose another"),
        ("closed", f"found {tmp_path / 'closed'} not writable, expected a folder to write into. Change its"),
    ):
        asked = ["calibrate", str(tmp_path), option, str(tmp_path / place / "like.toml"), "-q"]
        result = CliRunner().invoke(app, asked)
        assert result.exit_code == 1
        assert says in result.output
        assert f"another {option}." in result.output


def test_a_search_tries_no_world_of_more_visits_than_it_can_draw(
    kuairand_log: Path, log: RealLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []

    def nothing_is_near(overrides: dict[str, Any], target: dict[str, np.ndarray]) -> float:
        tried.append(resembling._visits(overrides))
        return 1.0 - 1e-6 * len(tried)

    monkeypatch.setattr(resembling, "_MOST_VISITS", 30)
    monkeypatch.setattr(resembling, "_distance", nothing_is_near)
    monkeypatch.setattr(resembling, "with_repeats", lambda overrides, world: overrides)
    monkeypatch.setattr(resembling, "click_level", lambda overrides, world, gain: overrides)
    split = split_days(log.days)
    world = load_log_world(kuairand_log, 7, split)
    chosen = resembling.resembling_world(log, world, split, None, lambda stage, done, total: None)
    assert len(tried) > 40
    assert max(tried) <= 30 * (1 + 1e-9)
    assert resembling._visits(chosen) <= 30 * (1 + 1e-9)


def test_stays_are_found_where_users_have_some() -> None:
    shape = {"users": 500, "requests": 500, "log_requests": 2, "history_days": 300, "session_gap_days": 0.1}
    truth = {"stay_days": 4.0, "stay_sd": 1.5, "first_session": 40.0, "first_session_sd": 0.6}
    did = build_world(preset("demo", promised_visits=1, **shape, **truth), 5).behaviours
    found = resembling._stays(did, 320)
    assert {name: found[name] for name in truth} == pytest.approx(truth, rel=0.15)
    assert resembling._stays(build_world(preset("demo", **shape), 5).behaviours, 320) == {}


@pytest.mark.parametrize("name", calibrated())
def test_a_calibrated_preset_is_within_the_bar_of_its_log(name: str) -> None:
    distances = calibrated()[name].distances
    assert set(CALIBRATED) <= set(distances)
    assert max(distances[statistic] for statistic in CALIBRATED) <= BAR


def test_a_world_whose_items_repeat_and_whose_ads_differ_more_than_interests_is_found_again() -> None:
    truth = {"users": 400, "history_max": 100, "requests": 3000, "log_requests": 4, "item_repeat": 0.5}
    shape = {key: value for key, value in truth.items() if key != "item_repeat"}
    asked = build_world(preset("demo", **truth, bA=0.2, bR=0.1, ad_sd=0.9, category_sd=0.6), 5)
    found = levels.with_repeats(shape, asked)
    assert found["item_repeat"] == pytest.approx(0.5, abs=0.05)
    gain = levels.interest_gain(asked)
    strong = levels.click_level(found, asked, gain)
    made = trial(strong, 400, 5)
    assert levels.interest_gain(made) == pytest.approx(gain, rel=0.3)
    assert levels.best_ctr(made) == pytest.approx(levels.best_ctr(asked), rel=0.1)
    assert np.hypot(strong["ad_sd"], strong["category_sd"]) == pytest.approx(np.hypot(0.9, 0.6), rel=0.15)
    assert made.log.click.mean() == pytest.approx(asked.log.click.mean(), rel=0.15)
