"""The truth over worlds: exact zeros, what pooling promises, and for whom an effect is larger."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from known_arms import WORLD, bench
from small_runs import EXAMPLES

from simulator.analysis.truth import pairing_gain
from simulator.commands.statistics.truth import show
from simulator.config.load import load_config
from simulator.designs import worlds
from simulator.designs.compare import Bench
from simulator.designs.strata import THIRDS, Effect, pooled, world_truth
from simulator.designs.worlds import truth_over_worlds
from simulator.errors import SimulatorError
from simulator.metrics import BY_NAME, OUTCOMES


def test_identical_arms_differ_for_nobody() -> None:
    found = world_truth(bench(0.5, same=True), 7)
    thirds = [effects for parts in found.thirds.values() for _, effects in parts]
    for effects in (found.effects, *thirds):
        assert {(effect.log_lift, effect.se) for effect in effects.values()} == {(0.0, 0.0)}
    assert found.pairing == {}


def test_the_whole_lies_between_its_thirds_and_pairing_saves_users() -> None:
    found = world_truth(bench(), 7)
    for parts in found.thirds.values():
        assert len(parts) == THIRDS
        assert [mean for mean, _ in parts] == sorted(mean for mean, _ in parts)
        lifts = [effects["ctr"].log_lift for _, effects in parts]
        assert min(lifts) <= found.effects["ctr"].log_lift <= max(lifts)
    assert min(found.pairing.values()) > 1.0


def test_pairing_gain_is_the_ratio_of_the_variances() -> None:
    rng = np.random.default_rng(3)
    users, zeros = np.arange(400, dtype=np.uint64), {f"expected_{name}": np.zeros(400) for name in OUTCOMES}
    base = rng.gamma(2.0, 1.0, 400)
    tables = [
        {"user_id": users, "requests": np.ones(400, np.int64), **zeros, "expected_advv": base * factor}
        for factor in (np.ones(400), rng.lognormal(0.1, 0.1, 400))
    ]
    own, other = (table["expected_advv"] / table["expected_advv"].sum() - 1 / 400 for table in tables)
    gain = pairing_gain(*tables, BY_NAME["advv_per_request"])
    assert gain == pytest.approx((own.var() + other.var()) / (other - own).var())
    assert gain > 5


def test_the_interval_of_the_mean_covers_and_worlds_without_an_effect_are_near_zero() -> None:
    rng, hits, near = np.random.default_rng(5), 0, []
    for _ in range(400):
        effects = [Effect(float(x), 0.01) for x in rng.normal(0.0, 0.02, 12)]
        found = pooled(effects, 0.95)
        hits += found["ci"][0] <= 0.0 <= found["ci"][1]
        near.append(found["covers_zero"])
        assert found["sd_users"] == pytest.approx(0.01)
    assert 0.92 < hits / 400 < 0.98
    assert np.mean(near) > 0.94
    assert pooled([Effect(0.1, 0.01)], 0.95)["ci"] is None
    assert pooled([Effect(0.1, 0.01)], 0.95)["lift"] == pytest.approx(math.expm1(0.1))
    shifted = pooled([Effect(float(x), 0.01) for x in rng.normal(0.2, 0.02, 12)], 0.95)
    assert shifted["covers_zero"] == 0.0


def test_worlds_are_pooled_by_seed_and_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    @contextmanager
    def known(plan: object, *_: object) -> Iterator[Bench]:
        seen.append(plan)
        yield bench(0.5 if len(seen) == 1 else np.inf)  # two markets stand for two worlds

    monkeypatch.setattr(worlds, "served", known)
    monkeypatch.setattr(worlds, "make_plan", lambda config: config.seed)
    config = load_config(EXAMPLES / "demo.toml", WORLD, environment={})
    found = truth_over_worlds(config, (7, 8))
    assert seen == [7, 8]
    ctr = found["metrics"]["ctr"]
    assert [one["seed"] for one in ctr["by_seed"]] == [7, 8]
    logs = [math.log1p(one["lift"]) for one in ctr["by_seed"]]
    assert math.log1p(ctr["lift"]) == pytest.approx(np.mean(logs))
    assert ctr["sd"] == pytest.approx(np.std(logs, ddof=1))
    assert [len(thirds) for thirds in found["thirds"].values()] == [THIRDS, THIRDS]
    show({"name": "two", **found})
    printed = " ".join(capsys.readouterr().out.split())
    assert "2 worlds and trainings, seeds 7 to 8" in printed
    assert "thirds by readable" in printed
    with pytest.raises(SimulatorError, match="no seed"):
        truth_over_worlds(config, ())
