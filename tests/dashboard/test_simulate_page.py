"""A run asked again from its page: what is moved is what is asked, and what comes back is what is shown."""

import sys
from pathlib import Path

import made_runs
import pytest
from page_driver import opened, texts
from streamlit.testing.v1 import AppTest
from test_start_page import button

from dashboard.work import asking
from dashboard.work.places import READ_ONLY_VARIABLE, DashboardError

SIMULATE = "app_pages/simulate.py"
PRETEND = Path(__file__).with_name("pretend_what_if.py")


@pytest.fixture(autouse=True)
def pretend(monkeypatch):
    """The process is a small program; all are ended after the test."""
    monkeypatch.setattr(asking, "command", lambda arguments: [sys.executable, str(PRETEND), *arguments])
    yield
    while asking._held:
        asking._held.popitem()[1].close()


@pytest.fixture
def asked(folder, monkeypatch) -> AppTest:
    """The page with its run held."""
    monkeypatch.setattr(made_runs, "EXPERIMENT", "[traffic]\nload = 0.5\n[arms.treatment]\nscorers = 2\n")
    made_runs.write_run(folder / "demo", requests=200)
    asking.hold(folder / "demo")
    return opened(SIMULATE, run="demo")


def test_a_run_is_held_only_when_asked_for(folder):
    made_runs.write_run(folder / "demo", requests=200)
    app = opened(SIMULATE, run="demo")
    assert not asking.is_held(folder / "demo")
    button(app, "Hold this run").click().run()
    assert asking.is_held(folder / "demo")
    assert app.metric[0].delta == "+25.0% true, vs control"


def test_unmoved_it_is_the_run_itself(asked):
    assert asked.code[0].value.endswith("/demo")
    assert "As it was run, simulated again in 0.50 s" in texts(asked)


def test_what_is_moved_is_asked_and_the_answer_is_shown(asked):
    asked.select_slider(key="experiment.budget_ms").set_value("11.3").run()
    asked.number_input(key="arms.treatment.scorers").set_value(3).run()
    asked.selectbox(key="arms.control.policy").set_value("fifo").run()
    sets = "--set experiment.budget_ms=11.3 --set arms.control.policy=fifo --set arms.treatment.scorers=3"
    assert asked.code[0].value.endswith(sets)
    assert asked.metric[0].delta == "+11.3% true, vs control"
    beside = asked.table[0].value.set_index("Metric")
    assert list(beside.loc["ADVV per request, true lift"]) == ["+3.8%", "+11.3%"]
    assert not asked.exception


def test_a_setting_that_cannot_be_asked_says_why_and_the_next_one_is_answered(asked):
    asked.number_input(key="arms.treatment.scorers").set_value(10).run()
    assert "found 10, expected at most 9" in asked.error[0].value
    assert not asked.metric
    assert asked.number_input(key="arms.treatment.scorers").set_value(4).run().metric


def test_an_answer_becomes_a_run(asked):
    asked.select_slider(key="experiment.budget_ms").set_value("11.3").run()
    button(asked, "Make this a run").click().run()
    assert asked.title[0].value == "Start an experiment"
    assert "experiment.budget_ms=11.3" in [area.value for area in asked.text_area]
    assert "--set experiment.budget_ms=11.3" in asked.code[0].value


def test_a_run_that_cannot_be_held_says_why(folder):
    with pytest.raises(DashboardError, match="no such folder"):
        asking.hold(folder / "gone")


def test_a_process_that_was_killed_is_said_and_started_again(folder):
    run = made_runs.write_run(folder / "demo", requests=200)
    held = asking.hold(run)
    held._process.kill()
    held._process.wait()
    with pytest.raises(DashboardError):
        held.ask({})
    assert asking.hold(run).ask({})["seconds"] == 0.5


def test_few_runs_are_held_at_a_time(folder):
    runs = [made_runs.write_run(folder / name, requests=200) for name in ("a", "b", "c")]
    first = asking.hold(runs[0])
    for run in runs[1:]:
        asking.hold(run)
    assert [asking.is_held(run) for run in runs] == [False, True, True]
    assert not first.alive


def test_a_read_only_dashboard_simulates_nothing(folder, monkeypatch):
    run = made_runs.write_run(folder / "demo", requests=200)
    monkeypatch.setenv(READ_ONLY_VARIABLE, "1")
    assert "read-only" in texts(opened(SIMULATE, run="demo"))
    with pytest.raises(DashboardError, match="read-only"):
        asking.hold(run)


def test_an_unfinished_run_is_not_asked(folder):
    with made_runs.running_run(folder / "run"):
        pass
    assert "Only a finished run" in texts(opened(SIMULATE, run="run"))
