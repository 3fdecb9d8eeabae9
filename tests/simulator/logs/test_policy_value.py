"""What a policy that never ran would have been worth, against what is known of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom
from tables import MAP, shown, write
from typer.testing import CliRunner

from simulator.cli import app
from simulator.logs.calibration.policy_value import Shown, estimate, policy_value, shares
from simulator.logs.table.importer import import_table
from simulator.logs.table.staging.load import load_mapping
from simulator.traffic.trace import TraceError

ITEMS, POSITIONS = 12, 3


def logged(policy: np.ndarray, truth: np.ndarray, rows: int, seed: int) -> Shown:
    """Impressions of a policy (A, positions) whose click rates (A, positions) are known."""
    rng = np.random.default_rng(seed)
    position = rng.integers(0, POSITIONS, rows)
    item = (rng.random(rows) < policy.cumsum(axis=0).T[position].T).argmax(axis=0)
    click = (rng.random(rows) < truth[item, position]).astype(float)
    return Shown(item, position, click, policy[item, position], np.arange(rows, dtype=np.uint64))


@pytest.fixture(scope="module")
def known() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    uniform = np.full((ITEMS, POSITIONS), 1 / ITEMS)
    sharp = rng.dirichlet(np.full(ITEMS, 0.5), POSITIONS).T
    truth = rng.beta(1, 15, (ITEMS, POSITIONS))
    return uniform, sharp, truth


def test_intervals_cover_the_known_value_as_often_as_they_promise(
    known: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    uniform, sharp, truth = known
    value, times = (sharp * truth).sum() / POSITIONS, 200
    covered = dict.fromkeys(("ips", "snips", "dr", "replay"), 0)
    for seed in range(times):
        for name, (found, error) in estimate(logged(uniform, truth, 3000, seed), sharp).items():
            covered[name] += abs(found - value) < 1.96 * error
    # Not below 95 % by more than chance in 200 experiments, with a point for the normal approximation.
    least = binom.ppf(0.001, times, 0.94)
    assert all(count >= least for count in covered.values()), covered


def test_doubly_robust_is_more_exact_than_inverse_propensity_and_replay(
    known: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    uniform, sharp, truth = known
    found = np.array(
        [[e for _, e in estimate(logged(uniform, truth, 3000, seed), sharp).values()] for seed in range(20)]
    )
    ips, _, dr, replay = found.mean(axis=0)
    assert dr < ips
    assert dr < replay


def test_the_logs_own_policy_is_worth_what_was_logged(
    known: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    uniform, _, truth = known
    rows = logged(uniform, truth, 2000, 1)
    found = estimate(rows, uniform)
    for name in ("ips", "snips", "replay"):
        assert found[name][0] == pytest.approx(rows.click.mean())
        assert found[name][1] == pytest.approx(rows.click.std() / np.sqrt(2000))


def test_wrong_propensities_are_noticed_by_the_weights(
    known: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    uniform, sharp, truth = known
    rows = logged(sharp, truth, 20_000, 1)
    value = (uniform * truth).sum() / POSITIONS
    right = estimate(rows, uniform)["ips"]
    wrong = estimate(
        Shown(rows.item, rows.position, rows.click, uniform[0, 0] + 0 * rows.click, rows.request), uniform
    )
    assert abs(right[0] - value) < 4 * right[1]
    assert abs(wrong["ips"][0] - value) > 4 * wrong["ips"][1]


def test_a_replay_without_a_click_is_not_certain_of_zero() -> None:
    rows = logged(np.full((ITEMS, POSITIONS), 1 / ITEMS), np.zeros((ITEMS, POSITIONS)), 500, 1)
    for value, error in estimate(rows, np.full((ITEMS, POSITIONS), 1 / ITEMS)).values():
        exact = binom_upper(500)
        assert value == 0
        assert exact < 1.96 * error < 1.2 * exact


def binom_upper(rows: int) -> float:
    """Clopper and Pearson's upper end at 95 %, of no success in so many rows."""
    return 1 - 0.025 ** (1 / rows)


def test_shares_are_what_each_position_shows(known: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    _, sharp, truth = known
    found = shares(logged(sharp, truth, 60_000, 2), ITEMS, POSITIONS)
    np.testing.assert_allclose(found.sum(axis=0), 1)
    np.testing.assert_allclose(found, sharp, atol=0.015)


def test_the_command_judges_one_log_by_another_of_the_same_items(tmp_path: Path) -> None:
    text = MAP + 'logging_propensity = "p"\nposition = "slot"\n'
    for name, seed in (("one", 3), ("two", 4)):
        rows = [{**row, "creative": f"ad {row['creative']}", "p": 0.025} for row in shown(seed=seed)]
        write(tmp_path / name / "shown.csv", rows)
        (tmp_path / name / "map.toml").write_text(text)
        import_table(load_mapping(tmp_path / name / "map.toml"), tmp_path / name / "log")
    logs = [str(tmp_path / name / "log") for name in ("one", "two")]
    result = CliRunner().invoke(app, ["policy-value", logs[0], "--policy", logs[1], "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    # Both policies are the same draw of any of 40 items, so that both rates estimate one number.
    assert found["agrees"] == dict.fromkeys(("ips", "snips", "dr", "replay"), True)
    assert found["without_support"] < 0.1
    plain = CliRunner().invoke(app, ["policy-value", logs[0], "--policy", logs[1]]).output
    assert "doubly robust" in plain
    assert "as it was logged" in plain


def test_a_log_without_propensities_or_common_items_is_refused(tmp_path: Path) -> None:
    for name, first in (("one", 0), ("two", 1000)):
        rows = [{**row, "creative": row["creative"] + first} for row in shown()]
        write(tmp_path / name / "shown.csv", rows)
        (tmp_path / name / "map.toml").write_text(MAP)
        import_table(load_mapping(tmp_path / name / "map.toml"), tmp_path / name / "log")
    one, two = (tmp_path / name / "log" for name in ("one", "two"))
    with pytest.raises(TraceError, match="no item in common"):
        policy_value(one, two)
    with pytest.raises(TraceError, match=r"no logging propensities.*Map impressions.logging_propensity"):
        policy_value(one, one)
    with pytest.raises(TraceError, match="--level is 95"):
        policy_value(one, one, 95)
