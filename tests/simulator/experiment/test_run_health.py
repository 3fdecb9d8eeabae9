"""A run's own logs are checked for faults: in its scorecard, from its folder, with faults put in."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from small_runs import call, small
from typer.testing import CliRunner

from simulator.analysis.health.checks import find_fault
from simulator.analysis.health.folder import logs_of_run
from simulator.analysis.health.logs import Logs
from simulator.certificate.faults import STRENGTH, fault_rows
from simulator.cli import app
from simulator.experiment.run import run_experiment
from simulator.results.files import plain
from simulator.results.read import Run, read_run
from simulator.results.report import headlines, notes
from simulator.results.scorecard import SOUND, faults


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return read_run(run_experiment(small(), tmp_path_factory.mktemp("health") / "run"))


@pytest.fixture(scope="module")
def logs(run: Run) -> Logs:
    return logs_of_run(run)


def test_a_runs_logs_are_those_of_its_tables(run: Run, logs: Logs) -> None:
    users, shown = run.table("users"), run.table("impressions")
    inside = shown.filter(pc.equal(shown["period"].cast("string"), "experiment"))
    assert logs.user_id[logs.seen].tolist() == users["user_id"].to_pylist()
    for name in ("requests", "impressions", "clicks", "conversions"):
        assert getattr(logs, name)[logs.seen].sum(1).tolist() == users[name].to_pylist()
    assert logs.predicted.sum() == pytest.approx(pc.sum(inside["pctr"]).as_py())
    assert logs.requests.shape[1] == 5  # days


def test_the_scorecards_finding_is_that_of_the_folders_tables(run: Run, logs: Logs) -> None:
    users = run.table("users")
    treated = dict(zip(users["user_id"].to_pylist(), users["arm"].to_pylist(), strict=True))
    arm = np.array([treated.get(user) for user in logs.user_id.tolist()])
    # Who was not seen is in no arm's table; only the reason for lost logs asks for them.
    found = find_fault(logs.of(arm == "control"), logs.of(arm == "treatment"))
    card = run.scorecard
    assert card is not None
    assert card["arms"]["treatment"]["fault"] == (None if found is None else plain(asdict(found)))
    assert "fault" not in card["arms"]["control"]
    assert SOUND in notes(card)


def test_a_fault_is_a_warning_at_the_head_of_the_report(run: Run) -> None:
    card: dict[str, Any] = json.loads((run.path / "scorecard.json").read_text(encoding="utf-8"))
    card["arms"]["treatment"]["fault"] = {"fault": "bots", "p_value": 0.0, "text": "5 users click on all."}
    said = "treatment against control: bots. 5 users click on all."
    assert faults(card) == [said]
    assert f"WARNING: {said}" in headlines(card)
    assert SOUND not in notes(card)
    del card["arms"]["treatment"]["fault"]  # a scorecard of before
    assert faults(card) == []
    assert SOUND not in notes(card)


def test_strong_faults_are_found_in_a_runs_own_logs_and_its_random_halves_are_sound(logs: Logs) -> None:
    rows = {row.name.split(":")[0]: row for row in fault_rows(40, seed=5, logs=logs)}
    assert len(rows) == 1 + len(STRENGTH)
    assert rows["a sound test is suspected"].ok
    # The run is small, so the weaker faults are lost in its noise: robots are not.
    assert rows["bots"].simulated >= 0.95


def test_validate_faults_takes_a_run(run: Run, tmp_path: Path) -> None:
    words = ["validate", "faults", "--replications", "5", "--run", str(run.path), "--json"]
    found = json.loads(CliRunner().invoke(app, words).stdout)
    assert len(found["rows"]) == 1 + len(STRENGTH)
    assert "no such folder" in call("validate", "faults", "--run", tmp_path / "none", code=1)
