import dataclasses
import json
import math

import pytest

from simulator.world.config import WorldConfig, preset, presets


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_valid_and_knows_its_name(name: str) -> None:
    assert preset(name).preset == name


def test_presets_differ_as_documented() -> None:
    paper, loud, quick, null = preset("paper"), preset("loud"), preset("quick"), preset("null")
    assert (paper.bA, paper.bR, paper.users, paper.history_max) == (0.3, 0.2, 100_000, 5000)
    assert (loud.bA, loud.bR, loud.users, loud.history_max) == (0.6, 0.35, 100_000, 5000)
    assert (quick.bA, quick.users, quick.history_max) == (0.6, 20_000, 1000)
    assert (null.bA, null.bR, null.users) == (0.0, 0.0, quick.users)
    drift = preset("fast-drift")
    assert (drift.interests, drift.life_share * drift.history_max) == (60, 150.0)


def test_overrides_replace_parameters() -> None:
    assert preset("demo", users=10, bA=0.1).bA == 0.1


def test_history_median_follows_an_overridden_history_max() -> None:
    config = preset("demo", history_max=10)
    assert (config.history_median, config.history_min) == (10, 10)


def test_config_survives_json() -> None:
    config = preset("demo", users=12)
    values = json.loads(json.dumps(dataclasses.asdict(config)))
    name = values.pop("preset")
    assert preset(name, **values) == config


def test_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'papre'.*demo, quick, paper, loud, null, fast-drift"):
        preset("papre")


def test_unknown_parameter_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"parameter usres\. Known: users, history_max"):
        preset("demo", usres=4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("users", 0), ("users", -3), ("users", 2.5), ("users", True), ("users", "10"), ("days", 0),
        ("days", -1), ("pre_days", -1), ("log_days", 0), ("holdout_days", 0), ("requests", 0),
        ("candidates", 0), ("log_candidates", 0), ("slots", 0), ("slots", 33), ("bA", math.nan),
        ("bA", math.inf), ("history_max", 0), ("history_days", 0), ("item_zipf", 1.0), ("ads", 60),
        ("categories", 1), ("categories", 5000), ("advertisers", 0), ("advertisers", 5000),
        ("interests", 0), ("interests", 3), ("interests_permanent", 99), ("share_burst", 0.9),
        ("topic_second", 0.6), ("period_min", 1e6), ("duty_max", 0.01), ("session_mean", 0.5),
        ("related", 0.5), ("department", 0), ("follow_share", 1.0), ("promised_visits", 0),
        ("stay_days", 3.0), ("first_session", 9.0), ("stay_sd", -1.0),
        ("tcpa_median", 0.0), ("activity_floor", 0.0), ("history_min", 5000),
        ("bursts", ((0, 25.0, 10.0, 2.0),)), ("bursts", ((0, 23.0, 90.0, 2.0),)), ("bursts", ((1, 2.0),)),
    ],
)  # fmt: skip
def test_bad_value_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"expected|Swap|Lower|Correct"):
        preset("demo", **{name: value})


def test_error_says_found_expected_and_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"users is 0, expected from 1 to 2,000,000,000. Change users"):
        WorldConfig(users=0)
