"""Experiment files on the command line: made, checked, and what a run of one would take."""

import errno
import json
import math
import os
from pathlib import Path

import pytest
from cli_calls import DEMO, call, make_run

from simulator.config.load import load_config, parse_config
from simulator.results import numbers


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
    *settings, _ = output.split("\n\n")
    assert not any(part.startswith("#") for part in settings)  # what it would take comes last, in sight
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
    assert "cannot tell it" not in output
    few = call("run", DEMO, "--dry-run", *small, "--set", "traffic.world.requests=500").stdout
    assert "not counted: with 500 requests this log or world cannot tell it" in few
    # A hundred times the requests tell a tenth of the lift, on the logarithm as the test is.
    many = call("run", DEMO, "--dry-run", "--json", "--set", "traffic.world.requests=1300000").stdout
    told = [s["forecast"]["detectable_lift"] for s in (size, json.loads(many)["size"])]
    assert math.log1p(told[1]) == pytest.approx(math.log1p(told[0]) / 10)
    said = call("run", DEMO, "--dry-run").stdout
    assert (
        f"{numbers.about(size['forecast']['requests_to_find'])} requests, the pre-period not counted" in said
    )


def test_a_sweeps_dry_run_counts_its_cells() -> None:
    output = call("sweep", DEMO, "--over", "traffic.load=.2,.4", "--over", "seed=1,2,3", "--dry-run").stdout
    assert "cells      6, each of so many requests;" in output
    output = call("sweep", DEMO, "--over", "traffic.load=.2,.4", "--seeds", "5", "--dry-run").stdout
    assert "cells      10, each of so many requests;" in output
    # The experiment's own LASER on 1,000 is none of these cells'.
    output = call("sweep", DEMO, "--over", "arms.treatment.history=200,500", "--dry-run").stdout
    assert (
        "3 models on about 63,000 requests: din on 50 behaviours, laser on 200 and 500 behaviours" in output
    )
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
