"""What every page shows in each state a folder can be in."""

import subprocess
import sys

import made_runs
import pytest
from page_driver import (
    APP,
    COMPARE,
    LATENCY,
    PAGES,
    RUNS,
    SCORECARD,
    WHAT_IF,
    make,
    opened,
    specs,
    texts,
    unopened,
)

from dashboard.work.places import RESULTS_VARIABLE, TOKEN_VARIABLE


@pytest.mark.parametrize("page", [*PAGES, RUNS, COMPARE])
def test_without_runs_each_page_shows_the_command_that_makes_one(folder, page):
    app = opened(page)
    assert any("laser-ab " in code.value and str(folder) in code.value for code in app.code)
    assert not app.metric


def test_without_sweeps_the_command_has_axes_to_ask_for(folder):
    (code,) = opened(WHAT_IF).code
    assert "--over arms.treatment.history=200,500,1000 --over traffic.load=0.3,0.6" in code.value


@pytest.mark.parametrize("page", PAGES)
def test_damaged_folder_names_file_reason_and_remedy(folder, page):
    make("damaged", folder)
    words = texts(opened(page))
    assert ".parquet" in words
    assert "found 100 bytes" in words
    # A run's folder keeps the file that it was made from; this made-up sweep's has none.
    again = "sweep CONFIG" if page.endswith("what_if.py") else f"run {folder / 'run' / 'experiment.toml'}"
    assert f"Run the experiment again: laser-ab {again}" in words


@pytest.mark.parametrize("page", PAGES)
def test_interrupted_folder_says_where_and_how_to_continue(folder, page):
    make("interrupted", folder)
    words = texts(opened(page))
    assert "interrupted at stage" in words
    assert f"laser-ab {'sweep' if page == WHAT_IF else 'run'} --resume {folder}" in words


@pytest.mark.parametrize("page", PAGES)
def test_failed_folder_shows_the_error_and_what_is_there(folder, page):
    make("failed", folder)
    app = opened(page)
    assert "laser.pt is damaged" in texts(app)
    assert app.get("vega_lite_chart")


@pytest.mark.parametrize("page", [SCORECARD, LATENCY])
def test_running_run_shows_progress(folder, page):
    with made_runs.running_run(folder / "run"):
        app = opened(page)
        assert "under way" in texts(app)
        labels = [bar.proto.text for bar in app.get("progress")]
        assert "train: 300 of 1,200" in labels
        # It was not started from here, and cannot be stopped from here.
        assert "Ctrl-C where it was started ends it at its next checkpoint" in texts(app)
        assert "What was computed until then is kept" in texts(app)
        assert not [one for one in app.button if one.label == "Stop"]


def test_running_sweep_shows_progress(folder):
    with made_runs.SweepWriter.create(folder / "sweep", made_runs.manifest()) as writer:
        writer.stage("cells", 2, 9)
        app = opened(WHAT_IF)
        assert [bar.proto.text for bar in app.get("progress")] == ["cells: 2 of 9"]


def test_every_mark_names_its_colour(folder):
    make("finished", folder)
    for page in PAGES:
        for spec in specs(opened(page)):
            inner = spec.get("spec", spec)
            for layer in inner.get("layer", [inner]):
                assert "color" in layer["encoding"] or "color" in layer["mark"], layer["mark"]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_names_its_results_seed_and_machine(folder, page):
    make("finished", folder)
    words = texts(opened(page))
    name, where = ("budget sweep", "sweep") if page == WHAT_IF else ("lifelong histories", "run")
    assert (
        f"**{name}** · folder {where} · seed 7 · finished · computed on 8-core test machine, 8 cores" in words
    )


@pytest.mark.parametrize("page", PAGES)
def test_a_link_to_results_that_are_gone_says_so_and_shows_no_others(folder, page):
    make("finished", folder)
    kind = "sweep" if page == WHAT_IF else "run"
    app = unopened().run()
    app.switch_page(page)
    app.query_params[kind] = "deleted"
    app.run()
    assert f"There is no {kind} “deleted”" in app.error[0].value
    assert not app.metric
    assert not app.get("vega_lite_chart")
    assert app.query_params[kind] in ("deleted", ["deleted"])
    # Choosing another one in the sidebar leads on.
    assert app.sidebar.selectbox[0].set_value(kind).run().get("vega_lite_chart")


def test_without_its_token_a_page_shows_nothing(folder, monkeypatch):
    make("finished", folder)
    monkeypatch.setenv(TOKEN_VARIABLE, "secret")
    app = unopened().run()
    assert "needs its token" in app.error[0].value
    assert not app.title
    app.query_params["token"] = "secret"
    assert app.run().title[0].value == "Runs"
    del app.query_params["token"]
    assert app.switch_page(SCORECARD).run().metric


def test_a_failing_page_shows_no_traceback(folder, monkeypatch):
    make("finished", folder)
    monkeypatch.setattr("dashboard.tiles.rows", lambda tiles: 1 / 0)
    app = unopened().run()
    app.switch_page(SCORECARD).run()
    words = texts(app)
    assert not app.exception
    assert "could not be drawn" in words
    assert "ZeroDivisionError" not in words


def test_dashboard_never_imports_torch(tmp_path):
    made_runs.write_run(tmp_path / "run", requests=200)
    code = f"""
import os, sys
os.environ[{RESULTS_VARIABLE!r}] = {str(tmp_path)!r}
from streamlit.testing.v1 import AppTest
import dashboard.launch
app = AppTest.from_file({str(APP)!r}, default_timeout=600).run()
app.switch_page("app_pages/scorecard.py").run()
assert app.metric and not app.exception
print([name for name in ("torch", "simpy", "seqvault", "laser") if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
