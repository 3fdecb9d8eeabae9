"""Experiments from the browser: the form is the schema, the messages are the command line's, work goes on."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import made_runs
import pytest
from page_driver import SCORECARD, opened, texts, until
from streamlit.testing.v1 import AppTest

from dashboard.work import commands, jobs
from dashboard.work.commands import Answer, laser_ab
from dashboard.work.places import READ_ONLY_VARIABLE, DashboardError
from dashboard.work.schema import lookup, tables
from simulator.results.read import read_run

START = "app_pages/start.py"
PRETEND = Path(__file__).with_name("pretend_run.py")


def button(app: AppTest, label: str):
    (found,) = [one for one in app.button if one.label == label]
    return found


@pytest.fixture
def pretend(monkeypatch):
    """`laser-ab run` and `--resume` are a small program; all else is the real command line."""
    monkeypatch.setattr(jobs, "command", lambda arguments: [sys.executable, str(PRETEND), *arguments])


@pytest.fixture(scope="module")
def schema():
    return json.loads(laser_ab("config", "schema").out)


def test_the_form_has_a_field_for_every_single_value_of_the_schema(schema):
    found = tables(schema, ("control", "treatment"))
    assert list(found) == [
        "",
        "experiment",
        "traffic",
        "arms.control",
        "arms.treatment",
        "market",
        "guardrails",
    ]
    fields = {field.key: field for each in found.values() for field in each}
    assert fields["seed"].default == "7"
    assert fields["experiment.budget_ms"].kind == "text"
    assert fields["experiment.extrapolate"].kind == "flag"
    assert fields["arms.treatment.policy"].choices == ("goodput", "fifo", "ladder")
    assert fields["arms.treatment.history"].help == "Behaviours read for a request, the newest."
    assert "traffic.world" not in fields
    # What the form sets, the file has: every default is one that the command line takes as it is typed.
    one = schema["$defs"]["Market"]["properties"]
    single = {f"market.{name}" for name in one} - {"market.bids"}  # a table of its own
    assert {key for key in fields if key.startswith("market.")} == single


def test_a_files_values_are_found_by_key():
    file = tomllib.loads(
        "seed = 3\n[arms.a]\nhistory = 50\n[experiment]\nextrapolate = true\nbudget_ms = 2.5"
    )
    assert [
        lookup(file, key) for key in ("seed", "arms.a.history", "experiment.budget_ms", "market.slots")
    ] == [
        "3",
        "50",
        "2.5",
        "",
    ]
    assert lookup(file, "experiment.extrapolate") == "true"
    assert lookup(file, "seed.deeper") == ""


def test_what_is_typed_becomes_the_command_and_is_judged_by_the_command_line(folder):
    app = opened(START)
    field = next(one for one in app.text_input if one.label == "history" and one.value == "1000")
    field.set_value("20000000").run()
    command = app.code[0].value
    assert "--set arms.treatment.history=20000000" in command
    assert f"--out {folder / 'my-experiment'}" in command
    button(app, "Check and estimate").click().run()
    assert not app.exception
    said = "\n".join(error.value for error in app.error).replace("\\", "")
    (folder / "same.toml").write_text(laser_ab("config", "init").out)
    same = laser_ab("config", "check", str(folder / "same.toml"), "--set", "arms.treatment.history=20000000",
                    "--json")  # fmt: skip
    assert json.loads(same.out)["problems"][0]["message"] in said
    assert not jobs.jobs(folder)


def test_an_estimate_comes_before_the_start(folder):
    app = opened(START)
    button(app, "Check and estimate").click().run()
    words = texts(app)
    assert "The settings can be used" in words
    assert "**13,000** requests of 3,600 users" in words
    assert (
        "**can tell** a lift of about 67% in ADVV; for 2% about 6,200,000 requests, the pre-period" in words
    )
    assert "[arms.treatment]" in app.code[-1].value
    assert not jobs.jobs(folder)


def test_a_budget_that_follows_the_arms_says_so(folder):
    app = opened(START)
    assert "The latency budget follows the arms" in texts(app)
    field = next(one for one in app.text_input if one.label == "budget_ms")
    assert "The latency budget follows the arms" not in texts(field.set_value("20").run() and app)


def test_a_clone_begins_with_the_runs_own_file(folder):
    made_runs.write_run(folder / "demo", requests=200)
    app = opened(START, clone="demo")
    assert app.text_area[0].value == made_runs.EXPERIMENT
    assert next(one for one in app.text_input if one.label == "preset").value == "demo"


def test_a_run_is_started_stopped_resumed_and_finished(folder, pretend, monkeypatch):
    size = {"requests": 1, "users": 1, "cells": 1, "models_to_train": []}
    size["forecast"] = {"scoring_minutes": None, "memory_gib": 1.0, "detectable_lift": 0.5,
                        "requests_to_find": 1}  # fmt: skip
    fine = json.dumps({"valid": True, "problems": [], "size": size})
    real = commands.laser_ab
    # What is asked is tested above; here it would only take its time.
    monkeypatch.setattr(
        commands, "laser_ab", lambda *a: real(*a) if a[1] in ("init", "schema") else Answer(0, fine, "")
    )
    app = opened(START)
    app.text_input(key="folder").set_value("mine").run()
    button(app, "Start").click().run()
    assert ["mine is under way" in one.value for one in app.toast] == [True]
    assert "under way" not in texts(app)  # it would stay there when that is no longer so
    (job,) = jobs.jobs(folder)
    until(lambda: jobs.log_of(folder, job) == "at work\n")
    assert jobs.alive(job)
    page = opened(SCORECARD, run="mine")
    assert "under way" in texts(page)
    assert "train: 300 of 1,200" in [bar.proto.text for bar in page.get("progress")]
    assert "Stop ends it at its next checkpoint. What was computed until then is kept" in texts(page)
    assert "Stop ends it at its next checkpoint" in texts(opened(START))
    button(page, "Stop").click().run()
    assert [one.value for one in page.toast] == ["It stops at its next checkpoint."]
    until(lambda: not jobs.alive(job))
    # The server knows the process by what is on the disk alone.
    assert read_run(folder / "mine").status == "interrupted"
    page = opened(SCORECARD, run="mine")
    assert "To continue it:" in texts(page)
    page = opened(START)
    assert "**mine** · interrupted" in texts(page)
    button(page, "Resume").click().run()
    until(lambda: read_run(folder / "mine").status == "running")
    assert "under way" in texts(opened(SCORECARD, run="mine"))
    again = jobs.job_of(folder, "mine")
    assert again is not None
    assert again.arguments == ("run", "--resume", str(folder / "mine"))
    (folder / "go").touch()
    until(lambda: not jobs.alive(again))
    assert read_run(folder / "mine").status == "finished"
    assert jobs.log_of(folder, again) == "at work\n"
    assert opened(SCORECARD, run="mine").metric


def test_work_outlives_the_process_that_started_it(folder):
    code = f"""
import sys
from pathlib import Path
from dashboard.work import jobs
jobs.command = lambda arguments: [sys.executable, {str(PRETEND)!r}, *arguments]
jobs.start(Path({str(folder)!r}), "run", "seed = 1", [], [], "mine")
import os; os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    (job,) = jobs.jobs(folder)
    until(lambda: jobs.log_of(folder, job) == "at work\n")
    assert jobs.alive(job)
    jobs.stop(folder, "mine")
    until(lambda: not jobs.alive(job))
    assert read_run(folder / "mine").resumable


def test_a_command_that_fails_before_it_has_a_folder_shows_what_it_said(folder, monkeypatch):
    monkeypatch.setattr(jobs, "command", lambda arguments: [sys.executable, "-c", "print('no such log')"])
    job = jobs.start(folder, "run", "seed = 1", [], [], "mine")
    until(lambda: not jobs.alive(job))
    app = opened(START)
    assert "**mine** · ended" in texts(app)
    assert app.code[-1].value == "no such log"


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", ".hidden", "", "demo"])
def test_a_folder_outside_or_taken_is_refused(folder, pretend, name):
    made_runs.write_run(folder / "demo", requests=200)
    with pytest.raises(DashboardError):
        jobs.start(folder, "run", "seed = 1", [], [], name)
    assert not jobs.jobs(folder)


def test_a_process_whose_number_was_given_again_is_not_stopped(folder, pretend):
    job = jobs.start(folder, "run", "seed = 1", [], [], "mine")
    path = folder / ".laser-ab/jobs" / job.key / "job.json"
    path.write_text(path.read_text().replace(job.began, "1"))
    with pytest.raises(DashboardError, match="no process at work"):
        jobs.stop(folder, "mine")
    assert jobs.alive(job)
    (folder / "go").touch()
    until(lambda: not jobs.alive(job))


def test_a_finished_run_is_not_resumed(folder, pretend):
    made_runs.write_run(folder / "demo", requests=200)
    with pytest.raises(DashboardError, match="found it finished"):
        jobs.resume(folder, "demo")


def test_read_only_starts_stops_and_resumes_nothing(folder, monkeypatch, pretend):
    with made_runs.running_run(folder / "mine"):
        pass
    monkeypatch.setenv(READ_ONLY_VARIABLE, "1")
    assert "read-only" in texts(opened(START))
    assert not opened(START).text_input
    assert "Resume" not in [one.label for one in opened(SCORECARD, run="mine").button]
    for work in (
        lambda: jobs.start(folder, "run", "", [], [], "other"),
        lambda: jobs.stop(folder, "mine"),
        lambda: jobs.resume(folder, "mine"),
        lambda: jobs.draft(folder, ""),
    ):
        with pytest.raises(DashboardError, match="read-only"):
            work()
