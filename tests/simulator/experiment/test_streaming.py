"""A trace is gone through part by part: how it is parted changes nothing."""

from pathlib import Path

import pytest
from small_runs import small, whole

from simulator.experiment import outcomes
from simulator.experiment.run import run_experiment

# Base trains in a second; two arms that differ, slots that stay empty, budgets that run out.
ARMS = (
    "arms.control.model=base",
    "arms.treatment.model=base",
    "arms.control.light_model=none",
    "arms.treatment.light_model=none",
    "traffic.world.slots=2",
    "market.budget_tau=-1",
    "market.budget_clicks=0",
    "traffic.load=1.2",
    "traffic.world.log_requests=4",
)


def test_how_a_trace_is_parted_changes_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LASER_AB_CACHE_GB", "1")
    monkeypatch.setenv("LASER_AB_CACHE", str(tmp_path / "cache"))
    expected = whole(run_experiment(small(*ARMS), tmp_path / "whole" / "run"))
    monkeypatch.setattr(outcomes, "_ROWS", 7)
    monkeypatch.setattr(outcomes, "ROW_GROUP_ROWS", 11)
    assert whole(run_experiment(small(*ARMS), tmp_path / "parts" / "run")) == expected
