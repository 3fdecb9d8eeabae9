"""Run and sweep folders on the command line: reported, compared, resumed."""

import json
from pathlib import Path
from typing import Any

import pytest
from cli_calls import DEMO, call, make_run, printed_by, scorecard

from simulator.errors import SimulatorError
from simulator.results.axes import BUDGET, Axis, as_json
from simulator.results.run_folder import RunWriter, SweepWriter
from simulator.results.schemas import sweep_schema


def test_report_prints_every_format(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    assert "ADVV" in call("report", run).stdout
    assert json.loads(call("report", run, "--json").stdout) == scorecard()
    assert call("report", run, "--format", "csv").stdout.startswith("metric,arm,")
    call("report", run, "--format", "parquet", code=2)
    call("report", run, "--format", "parquet", "--out", tmp_path / "a.parquet")
    call("report", run, "--format", "text", "--out", tmp_path / "a.txt")
    assert (tmp_path / "a.parquet").read_bytes()[:4] == b"PAR1"
    assert "ADVV" in (tmp_path / "a.txt").read_text()


@pytest.mark.parametrize("name", ["scorecard.json", "notes.txt", "cells/a.csv"])
def test_report_writes_nothing_into_a_run(tmp_path: Path, name: str) -> None:
    run = make_run(tmp_path / "run")
    before = (run / "scorecard.json").read_bytes()
    assert "Invalid value for --out" in call("report", run, "--out", run / name, code=2).stderr
    assert (run / "scorecard.json").read_bytes() == before


def test_a_scorecard_of_an_unfinished_run_does_not_say_finished(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with RunWriter.create(run, {"name": "a run", "seed": 7}) as writer:
        writer.write_scorecard(scorecard())
    result = call("report", run, "--json")
    assert json.loads(result.stdout)["status"] == "interrupted"
    assert "warning" in result.stderr
    assert call("report", make_run(tmp_path / "b")).stderr == ""


@pytest.mark.parametrize(
    ("changes", "fail_on", "code"),
    [
        ({}, "guardrail,srm", 0),
        ({"p99_ci": (0.01, 0.2)}, "guardrail", 3),
        ({"p99_ci": (0.01, 0.2)}, "srm", 0),
        ({"p99_ci": (-0.2, -0.01)}, "guardrail", 0),  # faster is no failure
        ({"srm_p": 1e-5}, "srm", 4),
        ({"srm_p": 1e-5}, "guardrail", 0),
        ({"srm_p": 1e-5, "p99_ci": (0.01, 0.2)}, "guardrail,srm", 4),
    ],
)
def test_fail_on_sets_the_exit_code(tmp_path: Path, changes: dict[str, Any], fail_on: str, code: int) -> None:
    run = make_run(tmp_path / "run", **changes)
    result = call("report", run, "--json", "--fail-on", fail_on, code=code)
    json.loads(result.stdout)  # the reason goes to stderr
    call("report", run)


def test_resuming_a_finished_run_shows_it_and_exits_0(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    result = call("run", "--resume", run)
    assert "ADVV" in result.stdout
    assert f"laser-ab dash {tmp_path}" in result.stdout
    assert f"laser-ab sweep {run}/experiment.toml" in result.stdout
    assert json.loads(call("run", "--resume", run, "--json").stdout) == scorecard()


def test_suggested_commands_can_be_pasted(tmp_path: Path) -> None:
    run = make_run(tmp_path / "my run")
    assert f"laser-ab sweep '{run}/experiment.toml'" in call("run", "--resume", run).stdout


def test_resuming_a_running_run_is_refused(tmp_path: Path) -> None:
    with RunWriter.create(tmp_path / "run", {"name": "a run"}):
        assert "still running" in call("run", "--resume", tmp_path / "run", code=1).stderr


def test_an_unfinished_run_says_how_to_go_on(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", finish=False)
    assert f"laser-ab run --resume {run}" in call("report", run, code=1).stderr
    other = make_run(tmp_path / "other")
    assert "expected a scorecard" in call("compare", other, run, code=1).stderr


def test_a_damaged_run_is_reported(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "manifest.json").write_text("{")
    assert "manifest.json" in call("report", run, code=1).stderr


def test_a_folder_without_a_run_is_reported(tmp_path: Path) -> None:
    assert "expected a run folder" in call("report", tmp_path, code=1).stderr


def test_compare_puts_two_runs_side_by_side(tmp_path: Path) -> None:
    a, b = make_run(tmp_path / "a"), make_run(tmp_path / "b", p99_ci=(0.1, 0.3))
    shown = call("compare", a, b).stdout
    assert "P99 latency" in shown
    assert "true in B" in shown
    assert "+10.0% to +30.0%" in shown
    document = json.loads(call("compare", a, b, "--diff-only", "--json").stdout)
    assert [row["metric"] for row in document["metrics"]] == ["p99_ms"]
    assert "No setting differs" in call("compare", a, a).stdout


def test_a_report_is_handed_on_as_a_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    call("report", run, "--format", "html", "--out", tmp_path / "run.html")
    assert (tmp_path / "run.html").read_text().startswith("<!doctype html>")
    assert call("report", run, "--format", "markdown").stdout.startswith("# ")


def write_sweep(folder: Path, columns: dict[str, list[Any]]) -> None:
    """A finished sweep of one budget with this table."""
    axes = [Axis(BUDGET, (columns[BUDGET][0],))]
    with SweepWriter.create(folder, {"name": "a sweep", "axes": as_json(axes)}) as writer:
        writer.write_table("sweep", columns, sweep_schema(axes))
        writer.finish()


def test_sweeps_are_shown_a_line_a_budget(tmp_path: Path) -> None:
    from simulator.commands.whatif.sweep import show

    values = {"p99_ms": 12.5, "missed_share": 0.01, "full_history_share": 0.9, "advv_per_request_lift": 0.021}
    columns: dict[str, list[Any]] = {
        "cell": [0] * 4, BUDGET: [20.0] * 4, "arm": ["treatment"] * 4, "metric": list(values),
        "value": list(values.values()), "ci_low": [None] * 3 + [0.01], "ci_high": [None] * 3 + [0.03],
        "true_value": [None] * 3 + [0.017], "unit": ["ms", "fraction", "fraction", "fraction"],
    }  # fmt: skip
    write_sweep(tmp_path / "sweep", columns)

    printed = printed_by(lambda: show(tmp_path / "sweep", as_json=False))
    assert "12.5 ms" in printed
    assert "+1 to +3%" in printed
    assert "+1.7%" in printed
    assert len(json.loads(printed_by(lambda: show(tmp_path / "sweep", as_json=True)))["rows"]) == 4


def test_a_sweep_says_beforehand_which_models_it_needs_besides(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise SimulatorError("It would begin here.")

    monkeypatch.setattr("simulator.whatif.sweep.run_sweep", never)
    said = call("sweep", DEMO, "--over", "arms.treatment.history=200,1000", code=1).stderr
    assert "besides the experiment's own models the cells need laser on 200 behaviours. They are" in said
    assert "--one-model" in said
    for options in (["--over", "traffic.load=.2,.4"], ["--over", "arms.treatment.history=200,1000", "-q"]):
        assert "note:" not in call("sweep", DEMO, *options, code=1).stderr


def test_several_treatments_are_swept_in_tables_of_80_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from simulator.commands.whatif.sweep import show

    monkeypatch.setenv("COLUMNS", "80")
    arms = ["seqvault-and-laser-with-a-thousand-behaviours", "twin"]
    metrics = ["p99_ms", "missed_share", "full_history_share", "advv_per_request_lift"]
    metrics += ["revenue_per_request_lift"]
    values = [123.4, 0.5, 0.5, 1.5, -0.25]
    rows = [(arm, *pair) for arm in arms for pair in zip(metrics, values, strict=True)]
    n = len(rows)
    columns: dict[str, list[Any]] = {
        "cell": [0] * n, BUDGET: [120.0] * n, "arm": [row[0] for row in rows],
        "metric": [row[1] for row in rows], "value": [row[2] for row in rows], "ci_low": [-0.45] * n,
        "ci_high": [1.75] * n, "true_value": [-0.255] * n, "unit": ["fraction"] * n,
    }  # fmt: skip
    write_sweep(tmp_path / "sweep", columns)
    printed = printed_by(lambda: show(tmp_path / "sweep", as_json=False))
    assert set(arms) <= {line.rstrip() for line in printed.splitlines()}
    assert printed.count("−45 to +175%") == 4
    assert "…" not in printed


def test_train_takes_the_next_free_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine").write_text("")
    asked: list[Path] = []

    def noted(config: object, folder: Path, **_: object) -> dict[object, object]:
        asked.append(folder)
        return {}

    monkeypatch.setattr("simulator.arms.training.train_models", noted)
    call("train", DEMO, "--out", tmp_path / "models", "--json")
    assert asked == [tmp_path / "models-2"]


def test_profile_never_writes_over_another(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("{}")
    assert "found a file there" in call("profile", "--out", tmp_path / "p.json", code=1).stderr


def test_an_interrupted_run_says_how_far_it_came(tmp_path: Path) -> None:
    with RunWriter.create(tmp_path / "run", {"name": "stopped"}, {"experiment.toml": "seed = 7"}) as writer:
        writer.stage("world", 1, 1)
        writer.stage("train", 1, 2)
    told = call("report", tmp_path / "run", code=1).stderr
    assert "interrupted" in told
    assert "stages world 1/1, train 1/2; files experiment.toml" in told
