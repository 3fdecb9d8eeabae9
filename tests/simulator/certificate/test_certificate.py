"""The certificate holds, fails where it should, and its commands print it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from simulator.certificate.auction import auction_rows
from simulator.certificate.inference import inference_rows
from simulator.certificate.peeking import peek
from simulator.certificate.queues import Queue, theory
from simulator.certificate.rows import at_most, mean, share
from simulator.cli import app


def call(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.stdout


def test_the_statistics_are_certified_for_other_parameters_too() -> None:
    rows = list(inference_rows(replications=300, users=120, seed=3))
    assert [row.name for row in rows if not row.ok] == []
    assert len(rows) > 30


def test_the_market_meets_auction_theory() -> None:
    rows = list(auction_rows(auctions=20_000, seed=3))
    assert [row.name for row in rows if not row.ok] == []


def test_rows_fail_where_the_claim_is_false() -> None:
    assert share("", 95, 100, 0.95).ok
    assert not share("", 80, 100, 0.95).ok
    assert at_most("", 0, 100, 0.05).ok
    assert not at_most("", 30, 100, 0.05).ok
    values = np.random.default_rng(0).normal(size=1_000)
    assert mean("", values, 0.0).ok
    assert not mean("", values, 0.5).ok


def test_peeking_errs_with_the_interval_of_one_look_and_not_with_the_others() -> None:
    rules = peek(looks=10, users=400, tests=400)["rules"]
    assert rules["fixed"]["called"] > 0.1
    assert rules["group-sequential"]["called"] < 0.09
    assert rules["always-valid"]["called"] < 0.06
    found = peek(looks=10, users=400, tests=200, lift=0.5)["rules"]
    assert found["group-sequential"]["called"] > 0.95
    assert found["group-sequential"]["users_seen"] < 0.8


def test_the_commands_print_rows() -> None:
    rows = json.loads(call("validate", "auction", "--auctions", 5_000, "--json"))["rows"]
    assert set(rows[0]) == {"name", "simulated", "low", "high", "theory", "ok", "untold"}
    assert all(row["ok"] for row in rows)
    assert "always-valid" in call("validate", "peek", "--tests", 100, "--looks", 3, "--users", 100)


@pytest.mark.parametrize(
    ("words", "users"),
    [
        # 2.8016² (19 + 1/0.06 - 1) / log(1.2)², both arms.
        (("--base-rate", 0.05, "--lift", 0.2), 16_362),
        (("--mean", 10, "--sd", 20, "--lift", 0.1), 13_826),
    ],
)
def test_power_plans_a_test(words: tuple[object, ...], users: int) -> None:
    found = json.loads(call("power", *words, "--users-per-day", 1_000, "--json"))
    assert found["users"] == pytest.approx(users, rel=0.001)
    assert found["days"] == pytest.approx(users / 1_000, rel=0.001)
    if "--mean" in words:
        back = json.loads(call("power", *words[:4], "--users", found["users"], "--json"))
        assert back["lift"] == pytest.approx(0.1, rel=0.001)


def test_power_asks_for_one_question() -> None:
    call("power", "--base-rate", 0.05, code=2)
    call("power", "--base-rate", 0.05, "--mean", 3, "--sd", 1, "--lift", 0.1, code=2)
    call("power", "--base-rate", 0.9, "--lift", 0.5, code=2)


def test_the_patient_of_a_long_queue_have_a_theory_too() -> None:
    """Barrer's share of the lost nears (a - 1) / a where nearly nobody leaves in time to help the others."""
    assert theory(Queue(1, 100.0, 1e6))["P(lost)"] == pytest.approx(0.99)
    assert theory(Queue(1, 0.5, 1e6))["P(lost)"] == 0.0
    for load in (0.8, 1.25):
        e = np.exp(-(1 - load) * 2.0)
        lost = (1 - load) * load * e / (1 - load * load * e)
        assert theory(Queue(1, load, 2.0))["P(lost)"] == pytest.approx(lost)
