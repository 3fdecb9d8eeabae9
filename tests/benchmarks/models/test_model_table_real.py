"""The table on real exposures: no row knows its future, and its intervals are what they say."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kuairand_files import log_lines, write_kuairand

from laser.training.metrics import auc
from simulator.logs.real_log import Impressions

DAY_S = 86_400


@pytest.fixture(scope="module")
def exposures(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from benchmarks.models.real_log import exposures_of

    folder = tmp_path_factory.mktemp("real")
    write_kuairand(folder, log_lines(users=40, rows=900))
    return exposures_of(folder)


def test_the_last_day_is_judged_and_no_history_reaches_its_exposure(exposures: Any) -> None:
    train, test, midnight = exposures.train, exposures.test, exposures.midnight
    assert train.request_time_s.max() < 5 * DAY_S <= test.request_time_s.min()
    # Every exposure of the log's 900, those of one user and moment in one request.
    assert train.shown.sum() + test.shown.sum() == 900 + 20
    assert len(train) + len(test) == 900
    for examples, bound_s in ((train, train.request_time_s - 60), (midnight, np.full(len(test), 5 * DAY_S))):
        known = examples.history_end > examples.history_start
        newest_s = examples.time_s[examples.history_end[known] - 1]
        assert (newest_s < bound_s[known]).all()
    # The day's own behaviours are in the one and not in the other.
    assert (midnight.history_end < test.history_end).any()
    assert (midnight.history_end <= test.history_end).all()
    assert set(np.unique(train.position)) == {0, 1, 4, 14}


def test_a_nightly_click_rate_counts_the_days_before_and_nothing_else() -> None:
    from benchmarks.models.real_log import nightly_click_logit

    draws = np.random.default_rng(3)
    n = 400
    time_s = np.sort(draws.uniform(0, 5 * DAY_S, n))
    user, click = draws.integers(0, 9, n).astype(np.uint64), draws.integers(0, 2, n)
    empty = dict.fromkeys(Impressions.__dataclass_fields__, np.zeros(0))
    shown = Impressions(**{**empty, "user_id": user, "time_s": time_s, "click": click})
    found = nightly_click_logit(shown, days=5)
    for row in range(0, n, 7):
        before = time_s < time_s[row] // DAY_S * DAY_S
        everyone = (click[before].sum() + 0.5) / (before.sum() + 1.0)
        mine = click[before & (user == user[row])]
        rate = (mine.sum() + 5 * everyone) / (len(mine) + 5)
        assert found[row] == pytest.approx(np.log(rate / (1 - rate)), rel=1e-5)


def test_the_auc_of_a_draw_of_users_is_that_of_their_exposures_repeated() -> None:
    from benchmarks.models.real_gaps import auc_of_draws, user_draws

    draws = np.random.default_rng(5)
    scores, labels = draws.integers(0, 20, 200) / 7.0, draws.integers(0, 2, 200)
    weights = draws.integers(0, 4, (6, 200))
    found = auc_of_draws(scores, labels, weights)
    for times, value in zip(weights, found, strict=True):
        assert value == pytest.approx(auc(np.repeat(scores, times), np.repeat(labels, times)))
    users = draws.integers(0, 60, 200)
    aucs = user_draws({"a": scores, "b": -scores}, labels, users, seed=1)
    np.testing.assert_allclose(aucs["a"] + aucs["b"], 1.0)  # the same users for both
    assert np.mean(aucs["a"]) == pytest.approx(auc(scores, labels), abs=0.01)


def test_the_error_by_users_shares_is_that_of_redrawn_users() -> None:
    from benchmarks.models.real_gaps import share_error, user_draws, user_shares

    draws = np.random.default_rng(9)
    users = np.repeat(np.arange(300), draws.integers(1, 25, 300))
    level = draws.normal(0, 1, 300)[users]
    labels = draws.random(len(users)) < 1 / (1 + np.exp(1 - level))
    # Two models of the same exposures, with ties, that share what they know.
    scores = {
        name: np.round(level + draws.normal(0, noise, len(users)), 1)
        for name, noise in (("sharp", 0.5), ("blunt", 2.0))
    }
    redrawn = user_draws(scores, labels, users, seed=2)
    shares = {name: user_shares(own, labels, users) for name, own in scores.items()}
    for name, own in shares.items():
        assert own.sum() == pytest.approx(0.0, abs=1e-12)
        assert share_error(own) == pytest.approx(np.std(redrawn[name]), rel=0.1)
    apart = share_error(shares["sharp"] - shares["blunt"])
    assert apart == pytest.approx(np.std(redrawn["sharp"] - redrawn["blunt"]), rel=0.1)


def test_an_interval_over_seeds_is_students() -> None:
    from benchmarks.models.real_gaps import gap_row, seed_interval

    # t of .975 with two degrees of freedom is 4.303; sd 1, n 3.
    assert seed_interval([1.0, 2.0, 3.0]) == pytest.approx(
        (2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-3
    )
    assert seed_interval([1.0]) is None
    aucs = {("laser", 0): 0.72, ("din", 0): 0.71, ("laser", 1): 0.74, ("din", 1): 0.72, ("din", 2): 0.9}
    redrawn = {key: np.linspace(value - 0.01, value + 0.01, 101) for key, value in aucs.items()}
    row = gap_row("laser", "din", aucs, redrawn)
    assert (row["pt"], row["seeds"]) == (pytest.approx(1.5), 2)
    assert row["over_users"] == pytest.approx((1.5, 1.5))


def test_a_table_has_every_row_and_its_section_says_what_they_say(exposures: Any) -> None:
    from benchmarks.models import real_table
    from benchmarks.pages.models import page

    rows = [exposures.facts, *real_table.references(exposures)]
    rows += real_table.protocol_rows(exposures, "plain", ("base", "din"), (0, 1))
    assert [row["train_seed"] for row in rows if "model" in row] == [0, 1, 0, 1]
    constant = next(row for row in rows if row.get("reference") == "constant rate")
    assert constant["auc"] == 0.5
    result: dict[str, Any] = {
        "benchmark": "model_table_real",
        "machine": {"cpu": "Abacus", "gpu": None},
        "commit": "abc",
        "rows": json.loads(json.dumps(rows)),
    }
    text = page({"model_table_kuairand": result})
    (gap,) = [row for row in rows if "gap" in row]
    assert f"| {gap['pt']:+.2f} | [{gap['over_seeds'][0]:+.2f}, " in text
    assert "| constant rate | 0.5000 | 0.5000 |" in text
    assert "Abacus, commit abc" in text


def test_a_difference_is_reported_where_both_intervals_show_it() -> None:
    from benchmarks.pages.real import findings

    ends = {
        "a": ((0.1, 0.3), (0.1, 0.2)),
        "b": ((-0.1, 0.3), (0.1, 0.2)),
        "c": ((-0.5, -0.3), (-0.4, -0.1)),
        "d": (None, (0.1, 0.2)),  # a single seed
    }
    gaps = {f"{name} - din": {"over_seeds": s, "over_users": u} for name, (s, u) in ends.items()}
    assert findings(gaps) == "Above DIN: a. No difference from DIN shown: b, d. Below DIN: c.\n"


def test_without_the_log_the_table_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from benchmarks.models import real_table

    monkeypatch.delenv("LASER_AB_REAL_DATA", raising=False)
    (row,) = real_table.measure(quick=True)[0]
    assert row["note"] == "LASER_AB_REAL_DATA names no folder of public logs"
    monkeypatch.setenv("LASER_AB_REAL_DATA", str(tmp_path))
    (row,) = real_table.measure(quick=True)[0]
    assert "kuairand-pure is not in the folder" in row["note"]
