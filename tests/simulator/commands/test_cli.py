import errno
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from simulator.cli import app
from simulator.commands.errors import explain, guarded
from simulator.commands.output import plain_lines
from simulator.config.load import load_config, parse_config
from simulator.errors import SimulatorError
from simulator.execution.resume import continued_by
from simulator.results.axes import BUDGET, Axis, as_json
from simulator.results.run_folder import RunWriter, SweepWriter
from simulator.results.schemas import sweep_schema

ROOT = Path(__file__).resolve().parents[3]
DEMO = str(ROOT / "examples" / "demo.toml")
COMMANDS = [
    "demo",
    "run",
    "sweep",
    "report",
    "compare",
    "analyze",
    "power",
    "validate",
    "dash",
    "train",
    "profile",
    "doctor",
    "config",
    "import",
    "store",
]


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("LASER_AB_DEBUG", raising=False)


def call(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def metric(
    lift: float, ci: tuple[float, float], role: str = "secondary", unit: str = "currency"
) -> dict[str, Any]:
    return {
        "control": 2.0, "treatment": 2.0 * (1 + lift), "unit": unit, "role": role, "lift": lift,
        "ci": list(ci), "level": 0.95, "method": "log-ratio, CUPED", "p_value": 0.2, "true_lift": 0.03,
        "true_se": 0.003, "mde": 0.05, "n": 9000,
    }  # fmt: skip


def scorecard(p99_ci: tuple[float, float] = (-0.1, 0.1), srm_p: float = 0.6) -> dict[str, Any]:
    metrics = {
        "advv_per_request": metric(0.03, (-0.01, 0.07), "primary"),
        "p99_ms": metric(sum(p99_ci) / 2, p99_ci, "guardrail", "ms"),
    }
    verdict = {"decision": "inconclusive", "text": "Cannot tell."}
    return {
        "schema_version": 2, "run": "a run", "status": "finished", "seed": 7, "service_times": "profile",
        "srm": {"p_value": srm_p, "expected": {"control": 505, "treatment": 505}}, "budget_ms": 20.0,
        "verdict": verdict,
        "arms": {
            "control": {"role": "control", "units": 500, "metrics": {}, "verdict": None},
            "treatment": {"role": "treatment", "units": 510, "metrics": metrics, "verdict": verdict},
        },
    }  # fmt: skip


def make_run(folder: Path, finish: bool = True, **changes: Any) -> Path:
    manifest = {"name": "a run", "seed": 7, "arms": [{"name": "control"}, {"name": "treatment"}]}
    with RunWriter.create(folder, manifest) as writer:
        writer.write_text("experiment.toml", "seed = 7\n")
        if finish:
            writer.write_scorecard(scorecard(**changes))
            writer.finish()
    return folder


# ---- the program -------------------------------------------------------------------------------------


def test_help_names_every_command() -> None:
    output = call("--help").output
    assert all(command in output for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    assert "Usage" in call(command, "--help").output


def test_version_is_the_packages() -> None:
    assert call("--version").output == f"laser-ab {version('laser-ab')}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run"],
        ["run", DEMO, "--resume", "x"],
        ["run", "--resume", "x", "--seed", "1"],
        ["sweep"],
        ["sweep", DEMO, "--resume", "x"],
        ["sweep", "--resume", "x", "--over", "experiment.budget_ms=1,2"],
        ["run", DEMO, "--jobs", "0"],
        ["sweep", DEMO, "--over", "experiment.budget_ms"],
        ["sweep", DEMO, "--over", "experiment.budget_ms=5,5"],
        ["sweep", DEMO, "--over", "a=1,2", "--over", "a=3"],
        ["run", DEMO, "--out", ""],
        ["run", DEMO, "--out", "/"],
        ["train", DEMO, "--out", "."],
        ["profile", "--out", ""],
        ["report", "x", "--out", ""],
        ["report", "x", "--fail-on", "all"],
        ["report", "x", "--format", "html5"],
        ["dash", "--port", "0"],
    ],
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    assert "Traceback" not in call(*arguments, code=2).output


def test_the_module_runs_as_the_console_script_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "simulator.cli", "run", "/no/such.toml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot read the experiment file" in done.stderr
    assert "Traceback" not in done.stderr


# ---- errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (SimulatorError("found 3, expected 4"), 1, "found 3, expected 4"),
        (OSError(errno.ENOSPC, "No space left on device", "/out/a"), 1, "/out/a: the disk is full"),
        (PermissionError(errno.EACCES, "denied", "/out/a"), 1, "permission denied"),
        (FileNotFoundError(errno.ENOENT, "missing", "/in/a"), 1, "/in/a: not found"),
        (MemoryError(), 1, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (RuntimeError("odd"), 70, "RuntimeError: odd"),
    ],
)
def test_every_exception_ends_in_a_message_and_a_code(error: BaseException, code: int, says: str) -> None:
    message, found = explain(error)
    assert found == code
    assert says in message


def failing(error: BaseException) -> typer.Typer:
    program = typer.Typer()

    @guarded
    def fail() -> None:
        raise error

    program.command()(fail)
    return program


@pytest.mark.parametrize(
    "error", [SimulatorError("wrong"), KeyboardInterrupt(), MemoryError(), OSError("odd")]
)
def test_a_users_mistake_shows_no_traceback(error: BaseException) -> None:
    result = CliRunner().invoke(failing(error), [])
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert result.exit_code == explain(error)[1]


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LASER_AB_DEBUG", "1")
    assert "Traceback" in CliRunner().invoke(failing(SimulatorError("wrong")), []).stderr


def test_an_interruption_names_the_command_that_continues_it(tmp_path: Path) -> None:
    assert explain(KeyboardInterrupt())[0].startswith("\ninterrupted: there is nothing to continue.")
    for kind in ("run", "sweep"):
        with pytest.raises(KeyboardInterrupt) as caught, continued_by(kind, tmp_path / "a folder"):
            raise KeyboardInterrupt
        assert explain(caught.value)[0].endswith(f"laser-ab {kind} --resume '{tmp_path}/a folder'")


@pytest.mark.parametrize(
    ("error", "helps"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (MemoryError(), True),
        (ValueError("found 3, expected 4"), False),
        (RuntimeError("a defect"), False),
    ],
)
def test_resume_is_offered_where_it_can_help(error: Exception, helps: bool, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    begun = RunWriter.create(folder, {"seed": 7}, {"experiment.toml": ""})
    with pytest.raises(type(error)) as caught, begun, continued_by("run", folder):
        raise error
    told = "\n".join(caught.value.__notes__), call("report", folder, code=1).stderr
    assert [f"laser-ab run --resume {folder}" in text for text in told] == [helps, helps]
    assert [f"laser-ab run {folder}/experiment.toml" in text for text in told] == [not helps, not helps]


def test_a_damaged_run_is_made_again_by_its_own_file(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a run")
    (folder / "scorecard.json").write_text("{")
    told = call("report", folder, code=1).stderr
    assert f"Run the experiment again: laser-ab run '{folder}/experiment.toml'" in told


@pytest.mark.skipif(sys.platform == "win32", reason="its files need no locale")
def test_output_survives_a_terminal_that_has_no_such_signs(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    done = subprocess.run(
        [sys.executable, "-m", "simulator.cli", "report", str(run)],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0, done.stderr
    assert b"ADVV" in done.stdout
    assert b"?" in done.stdout


# ---- experiment files --------------------------------------------------------------------------------


def test_init_prints_a_file_that_check_accepts(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(call("config", "init").stdout)
    assert call("config", "check", file).stdout == f"{file}: fine\n"


def test_init_writes_a_file_and_never_over_another(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    call("config", "init", file)
    assert parse_config(file.read_text()).experiment.name == "my-experiment"
    file.write_text("mine")
    assert "found a file there" in call("config", "init", file, code=1).stderr
    assert file.read_text() == "mine"


def fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "run")
    fill_the_disk(monkeypatch)
    for command in (["config", "init"], ["report", run, "--out"]):
        told = call(*command, tmp_path / "file", code=1).stderr
        assert "full disk" in told
        assert "--resume" not in told
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_check_points_at_the_line_and_exits_2(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(Path(DEMO).read_text().replace("load", "lod"))
    assert f"--> {file}:13:1" in call("config", "check", file, code=2).stderr
    document = json.loads(call("config", "check", file, "--json", code=2).stdout)
    assert document["schema_version"] == 1
    assert [(p["line"], p["help"]) for p in document["problems"]] == [(13, "did you mean `load`?")]


def test_schema_is_json() -> None:
    assert "arms" in json.loads(call("config", "schema").stdout)["properties"]


def test_dry_run_prints_the_resolved_file() -> None:
    output = call("run", DEMO, "--dry-run", "--seed", 99, "--set", "arms.treatment.history=200").stdout
    config = parse_config(output)
    assert (config.seed, config.arms["treatment"].history) == (99, 200)
    document = json.loads(call("run", DEMO, "--dry-run", "--json").stdout)
    assert document["config"]["arms"]["control"]["store"] == "lastn"


def test_dry_run_says_what_it_would_take() -> None:
    small = ("--set", "traffic.world.users=400", "--set", "experiment.budget_ms=20")
    output = call("run", DEMO, "--dry-run", *small).stdout
    assert "13,000 of 400 users, in 5 days and 2 before them" in output
    assert "32 of 2,000 ads" in output
    assert "2 models on about 7,000 requests: din on 50 behaviours, laser on 1,000 behaviours" in output
    assert "budget     20.0 ms" in output
    assert "twice the slowest arm's unloaded P95, at most about" in call("run", DEMO, "--dry-run").stdout
    size = json.loads(call("run", DEMO, "--dry-run", "--json").stdout)["size"]
    assert (size["users"], size["requests"], len(size["models_to_train"])) == (3600, 13_000, 2)
    assert size["forecast"]["requests_per_s"] > 1
    assert size["forecast"]["scoring_minutes"] > 0
    # A hundred times the requests tell a tenth of the lift.
    many = call("run", DEMO, "--dry-run", "--json", "--set", "traffic.world.requests=1300000").stdout
    told = [s["forecast"]["detectable_lift"] for s in (size, json.loads(many)["size"])]
    assert told[1] == pytest.approx(told[0] / 10)


def test_a_sweeps_dry_run_counts_its_cells() -> None:
    output = call("sweep", DEMO, "--over", "traffic.load=.2,.4", "--over", "seed=1,2,3", "--dry-run").stdout
    assert "cells      6;" in output
    output = call("sweep", DEMO, "--over", "traffic.load=.2,.4", "--seeds", "5", "--dry-run").stdout
    assert "cells      10;" in output
    again = call("sweep", DEMO, "--over", "seed=1,2", "--seeds", "5", "--dry-run", code=2).stderr
    assert "varies already" in again


def test_the_template_and_the_demo_have_the_same_load() -> None:
    assert parse_config(call("config", "init").stdout).traffic.load == load_config(Path(DEMO)).traffic.load


def test_warnings_go_to_stderr_and_do_not_end_a_command() -> None:
    edge = ("--set", "experiment.extrapolate=true")
    result = call("config", "check", DEMO, "--set", "arms.treatment.history=5000", *edge)
    assert result.stdout == f"{DEMO}: fine, with the warnings above\n"
    assert result.stderr.startswith("warning: `arms.treatment.history` is 5,000")
    document = json.loads(call("config", "check", DEMO, "--json", "--set", "traffic.world.users=150").stdout)
    assert document["valid"]
    assert [problem["severity"] for problem in document["problems"]] == ["warning"]


def test_work_begins_with_what_the_check_finds(tmp_path: Path) -> None:
    for command in ("run", "sweep", "train"):
        told = call(
            command, DEMO, "--set", "market.reserve_ecpm=1e6", "--out", tmp_path / "out", code=2
        ).stderr
        assert "no ad would ever be shown" in told
        assert "--resume" not in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "folder"),
    [
        ("run", "runs/NAME"),
        ("demo", "runs/demo"),
        ("sweep", "runs/NAME-sweep"),
        ("train", "runs/NAME-models"),
    ],
)
def test_help_names_the_folder_that_is_written_by_default(command: str, folder: str) -> None:
    assert folder in call(command, "--help").output


def test_a_dashboard_of_no_folder_ends_at_once(tmp_path: Path) -> None:
    assert "found no such folder" in call("dash", tmp_path / "typo", code=1).stderr
    (tmp_path / "file").touch()
    assert "found a file" in call("dash", tmp_path / "file", code=1).stderr


def test_work_speaks_now_and_then_where_nobody_watches() -> None:
    stream = io.StringIO()
    with plain_lines(stream, every_s=0.01) as lines:
        lines.stage("train", 1, 3)
        while "train 1 of 3" not in stream.getvalue():
            time.sleep(0.001)
        lines.stage("serve", 0, 2)
        while "serve 0 of 2" not in stream.getvalue():
            time.sleep(0.001)
    said = stream.getvalue()
    assert re.search(r"train 1 of 3, [\d,.]+ a minute, about \d+ s left", said)
    assert "serve 0 of 2\n" in said
    time.sleep(0.05)
    assert stream.getvalue() == said


# ---- run folders -------------------------------------------------------------------------------------


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


def test_sweeps_are_shown_a_line_a_budget(tmp_path: Path) -> None:
    from simulator.commands.whatif.sweep import show

    values = {"p99_ms": 12.5, "missed_share": 0.01, "full_history_share": 0.9, "advv_per_request_lift": 0.021}
    columns: dict[str, list[Any]] = {
        "cell": [0] * 4, BUDGET: [20.0] * 4, "arm": ["treatment"] * 4, "metric": list(values),
        "value": list(values.values()), "ci_low": [None] * 3 + [0.01], "ci_high": [None] * 3 + [0.03],
        "true_value": [None] * 3 + [0.017], "unit": ["ms", "fraction", "fraction", "fraction"],
    }  # fmt: skip
    axes = [Axis(BUDGET, (columns[BUDGET][0],))]
    begun = {"name": "a sweep", "axes": as_json(axes)}
    with SweepWriter.create(tmp_path / "sweep", begun) as writer:
        writer.write_table("sweep", columns, sweep_schema(axes))
        writer.finish()

    printed = printed_by(lambda: show(tmp_path / "sweep", as_json=False))
    assert "12.5 ms" in printed
    assert "+1 to +3%" in printed
    assert "+1.7%" in printed
    assert len(json.loads(printed_by(lambda: show(tmp_path / "sweep", as_json=True)))["rows"]) == 4


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
    axes = [Axis(BUDGET, (columns[BUDGET][0],))]
    begun = {"name": "a sweep", "axes": as_json(axes)}
    with SweepWriter.create(tmp_path / "sweep", begun) as writer:
        writer.write_table("sweep", columns, sweep_schema(axes))
        writer.finish()
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


def printed_by(command: Callable[[], None]) -> str:
    program = typer.Typer()
    program.command()(command)
    return CliRunner().invoke(program, []).stdout


def test_profile_never_writes_over_another(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("{}")
    assert "found a file there" in call("profile", "--out", tmp_path / "p.json", code=1).stderr


# ---- the machine -------------------------------------------------------------------------------------


def test_doctor_refuses_a_file_where_runs_are_to_be_written(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    result = CliRunner().invoke(app, ["doctor", "--dir", str(tmp_path / "runs")])
    assert result.exit_code == 1
    assert f"✗ disk       {tmp_path / 'runs'} is a file" in result.stdout


def test_doctor_says_the_same_in_both_forms() -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    checks = json.loads(result.stdout)["checks"]
    names = ["python", "packages", "device", "disk", "rocksdb", "seqvault", "zstd", "profile"]
    assert [check["name"] for check in checks] == names
    assert result.exit_code == int(any(check["status"] == "failed" for check in checks))
    assert all(check["advice"] for check in checks if check["status"] == "failed")
    assert [
        line.split()[1] for line in CliRunner().invoke(app, ["doctor"]).stdout.splitlines() if line[0] != " "
    ] == names


def test_progress_is_silent_without_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    from simulator.commands.output import progress

    with progress(quiet=False) as told:
        told.stage("world", 1, 2)
    assert capfd.readouterr() == ("", "")


def test_progress_draws_a_bar_a_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from simulator.commands.output import progress

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress(quiet=False) as told:
        told.stage("world", 1, 2)
        told.stage("train din", 3, 3)
    out, err = capsys.readouterr()
    assert out == ""
    assert "world" in err
    assert "3/3" in err


def test_an_interrupted_run_says_how_far_it_came(tmp_path: Path) -> None:
    with RunWriter.create(tmp_path / "run", {"name": "stopped"}, {"experiment.toml": "seed = 7"}) as writer:
        writer.stage("world", 1, 1)
        writer.stage("train", 1, 2)
    told = call("report", tmp_path / "run", code=1).stderr
    assert "interrupted" in told
    assert "stages world 1/1, train 1/2; files experiment.toml" in told
