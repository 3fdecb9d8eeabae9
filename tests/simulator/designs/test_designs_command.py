"""`laser-ab designs` from a file and from a run's folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_runs import EXAMPLES
from typer.testing import CliRunner

from simulator.cli import app
from simulator.commands.statistics.designs import show
from simulator.results.beside.asked import kept
from simulator.results.read import read_run

# The smallest that is trained, served and judged: the way from a file to a table is what is tested.
TINY = {
    "traffic.world": {"users": 120, "requests": 300, "history_max": 20},
    "arms.control": {"model": "base", "history": 1, "light_model": "none"},
    "arms.treatment": {"model": "base", "history": 2, "light_model": "none"},
}


def call(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_designs_of_a_runs_folder_are_judged_and_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = [f"{table}.{key}={value}" for table, pairs in TINY.items() for key, value in pairs.items()]
    settings = [word for pair in sets for word in ("--set", pair)]
    run = tmp_path / "run"
    call("run", EXAMPLES / "demo.toml", *settings, "--out", run)
    # Weights that are trained again, by another version or machine, have another truth.
    monkeypatch.setattr("simulator.designs.bench.train_models", None)
    asked = ("--assignments", 2, "--design", "user split", "--design", "budget split", "-q", "--json")
    found = json.loads(call("designs", run, *asked))
    answer = kept(read_run(run), "designs")
    assert answer == {key: found[key] for key in found if key != "schema_version"}
    assert list(found["designs"]) == ["user split", "budget split"]
    assert all(own["sentence"] for own in found["designs"].values())
    assert found["designs"]["user split"]["metrics"]["revenue_per_request"]["readings"] == 2
    capsys.readouterr()
    show(found)
    printed = " ".join(capsys.readouterr().out.split())
    assert "Revenue per request: the true lift is" in printed
    assert found["choice"]["text"] in printed


def test_a_folder_that_is_no_run_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "experiment.toml").write_text((EXAMPLES / "demo.toml").read_text())
    done = CliRunner().invoke(app, ["designs", str(tmp_path)])
    assert done.exit_code == 1
    assert "found no manifest.json, expected a run folder" in " ".join(done.output.split())


def test_an_unknown_design_is_refused_before_any_work() -> None:
    done = CliRunner().invoke(app, ["designs", str(EXAMPLES / "demo.toml"), "--design", "coin"])
    assert done.exit_code == 2
    assert "coin" in done.output
    assert "user split" in done.output
