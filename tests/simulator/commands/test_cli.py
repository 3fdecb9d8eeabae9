"""The program itself: help, wrong usage, errors and their exit codes, progress, and what doctor says."""

import errno
import io
import json
import os
import pickle
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from cli_calls import DEMO, call, make_run
from typer.testing import CliRunner

from simulator.cli import app
from simulator.commands.errors import explain, guarded
from simulator.commands.output import plain_lines
from simulator.errors import SimulatorError
from simulator.execution.resume import continued_by
from simulator.results.errors import ResultsError, can_pass, from_os_error
from simulator.results.run_folder import RunWriter

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
        ["run", DEMO, "--out", "\udcff"],
        ["store", "bench", "x", "--seed", "-1"],
        ["store", "dump", "x", "--user", str(2**64)],
    ],
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    assert "Traceback" not in call(*arguments, code=2).output


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["power", "--base-rate", "0.05", "--lift", "nan"], "--lift"),
        (["power", "--base-rate", "0.05", "--lift", "0.1", "--power", "inf"], "--power"),
        (["power", "--mean", "1", "--sd", "inf", "--lift", "0.1"], "--sd"),
        (["validate", "queueing", "--load", "nan"], "--load"),
        (["report", "x", "--p99-ms", "nan"], "--p99-ms"),
        (["designs", DEMO, "--window-hours", "nan"], "--window-hours"),
        (["profile", "--minutes", "nan"], "--minutes"),
        (["demo", "--cache-gb", "inf"], "--cache-gb"),
    ],
)
def test_no_option_takes_nan_or_infinity(arguments: list[str], flag: str) -> None:
    said = call(*arguments, code=2).output
    assert flag in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["--base-rate", "0.000001", "--users", "10"],
        ["--base-rate", "0.05", "--users", "1" + "0" * 400],
        ["--base-rate", "0.05", "--lift", "1e-200"],
        ["--mean", "1e-300", "--sd", "1e300", "--lift", "0.1"],
        ["--base-rate", "0.05", "--lift", "0.02", "--level", "0.9999999999999999"],
        ["--base-rate", "0.05", "--lift", "0.02", "--power", "0.01"],
    ],
)
def test_a_test_that_cannot_be_planned_says_so(arguments: list[str]) -> None:
    said = call("power", *arguments, code=1).stderr
    assert "expected" in said
    assert "Traceback" not in said


def test_a_number_of_thousands_of_digits_is_refused_as_any_other() -> None:
    said = call("profile", "--batches", "9" * 5_000, code=1).stderr
    assert "below 100 million" in said
    assert len(said) < 300


def test_json_holds_no_number_that_json_has_not() -> None:
    few = ["--base-rate", "0.05", "--lift", "0.02", "--users-per-day", "1e-320", "--json"]
    found = json.loads(call("power", *few).stdout, parse_constant=lambda name: pytest.fail(name))
    assert found["days"] is None


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


def test_a_full_disk_that_a_worker_met_is_passing_too() -> None:
    """An error loses its cause on its way home from a worker process."""
    met = from_os_error(Path("run/models/a"), OSError(errno.ENOSPC, "No space left on device"))
    assert can_pass(pickle.loads(pickle.dumps(met)))
    assert not can_pass(
        pickle.loads(pickle.dumps(ResultsError(Path("run"), "found a, expected b.", "Mend it.")))
    )


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


def test_a_queue_simulated_too_shortly_is_told_apart_from_one_that_is_wrong() -> None:
    asked = ["validate", "queueing", "--load", "0.99", "--customers", "1000"]
    said = call(*asked, code=1).stdout
    assert said.count("? M/M/1") == 2
    assert "✗" not in said
    assert "Too short to tell: found 1,000 customers of each run, expected about 390,000" in said
    rows = json.loads(call(*asked, "--json", code=1).stdout)["rows"]
    assert all(row["ok"] is False and row["untold"] for row in rows)


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
        lines.stage("train", 2, 3)
        while "train 2 of 3" not in stream.getvalue():
            time.sleep(0.001)
        lines.stage("serve", 0, 2)
        while "serve 0 of 2" not in stream.getvalue():
            time.sleep(0.001)
    said = stream.getvalue()
    assert "train 1 of 3\n" in said  # how fast it goes is known from when it was first heard of
    assert re.search(r"train 2 of 3, [\d,.]+ a minute, about \d+ s left", said)
    assert "serve 0 of 2\n" in said
    time.sleep(0.05)
    assert stream.getvalue() == said


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
