"""The list of runs and the comparison: what they show, and what deleting, noting and --read-only do."""

import json
import os
from pathlib import Path

import made_runs
import pytest
from page_driver import COMPARE, LATENCY, RUNS, SCORECARD, opened, specs, texts
from streamlit.testing.v1 import AppTest

from dashboard import folders
from dashboard.work import notes, trash
from dashboard.work.places import READ_ONLY_VARIABLE, DashboardError, within
from simulator.results import index, small
from simulator.results.read import read_run


def button(app: AppTest, label: str):
    (found,) = [one for one in app.button if one.label == label]
    return found


def listed(app: AppTest) -> list[str]:
    return list(app.dataframe[0].value["Folder"])


@pytest.fixture
def three(folder):
    few = made_runs.scorecard(made_runs.two_arms(40, 45))
    made_runs.write_run(folder / "demo", requests=200)
    made_runs.write_run(folder / "small", requests=200, card=few, name="a small one", seed=8)
    made_runs.write_sweep(folder / "budgets", (5, 25), answer="worth it at 1 of 2 settings")
    return folder


def test_every_run_and_sweep_is_a_line(three):
    with made_runs.running_run(three / "busy"):
        table = opened(RUNS).dataframe[0].value.set_index("Folder")
    assert set(table.index) == {"demo", "small", "budgets", "busy"}
    demo = table.loc["demo"]
    assert demo["Primary lift"] == "ADVV per request: +2.6% (−1.0% to +6.2%)"
    assert (demo["True lift"], demo["Verdict"], demo["Requests"], demo["Users"]) == (
        "+3.8%",
        "inconclusive",
        "50,000",
        "10,000",
    )
    assert table.loc["small"]["Primary lift"] == "ADVV per request: not enough data"
    assert table.loc["small"]["Seed"] == "8"
    assert table.loc["budgets"]["Kind"] == "sweep over budget ms (2 values)"
    assert table.loc["budgets"]["Verdict"] == "worth it at 1 of 2 settings"
    assert (table.loc["busy"]["Status"], table.loc["busy"]["Verdict"]) == ("running", "—")


def test_a_long_verdict_ends_at_a_whole_word_and_stands_in_full_below(folder):
    answer = "worth it at 5 of 6 settings, most at history 500, load 0.3"
    made_runs.write_sweep(folder / "budgets", (5, 25), answer=answer)
    app = opened(RUNS)
    assert list(app.dataframe[0].value["Verdict"]) == ["worth it at 5 of 6 settings …"]
    assert f"By the truth: {answer}." in texts(app)


@pytest.mark.parametrize(
    ("query", "found"),
    [({"search": "small"}, ["small"]), ({"search": "seed 8"}, ["small"]), ({"search": "sweep"}, ["budgets"])],
)
def test_search_keeps_what_has_all_its_words(three, query, found):
    assert listed(opened(RUNS, **query)) == found


def test_search_without_a_match_says_so(three):
    assert "None matches" in texts(opened(RUNS, search="nowhere"))


def test_the_chosen_sweep_says_in_full_what_it_answers(three):
    app = opened(RUNS)
    app.selectbox(key="chosen_result").set_value("budgets").run()
    assert "By the truth: worth it at 1 of 2 settings." in texts(app)
    app.selectbox(key="chosen_result").set_value("demo").run()
    assert "By the truth" not in texts(app)


def test_the_chosen_run_opens_on_its_page(three):
    app = opened(RUNS)
    app.selectbox(key="chosen_result").set_value("small").run()
    button(app, "Open scorecard").click().run()
    assert app.title[0].value == "Scorecard"
    assert "**a small one** · folder small" in texts(app)


def test_a_note_is_kept_beside_the_runs_and_found_by_search(three):
    before = {path: path.read_bytes() for path in (three / "small").iterdir() if path.is_file()}
    app = opened(RUNS)
    app.selectbox(key="chosen_result").set_value("small").run()
    app.text_input[1].set_value("baseline, old")
    app.text_area[0].set_value("For the review.")
    button(app, "Save").click().run()
    assert notes.read_notes(three)["small"] == notes.Note(("baseline", "old"), "For the review.")
    assert listed(opened(RUNS, search="review old")) == ["small"]
    assert {path: path.read_bytes() for path in before} == before


def test_a_damaged_file_of_notes_is_no_note(three):
    (three / ".laser-ab").mkdir(exist_ok=True)
    for text in ("{", "[]", '{"demo": 3}'):
        (three / ".laser-ab/notes.json").write_text(text)
        assert notes.read_notes(three) == {}


def test_deletion_can_be_undone(three):
    app = opened(RUNS)
    app.selectbox(key="chosen_result").set_value("small").run()
    button(app, "Delete small").click().run()
    assert "small" not in listed(app)
    assert not (three / "small").exists()
    button(app, "Undo").click().run()
    assert "small" in listed(app)
    assert read_run(three / "small").status == "finished"
    assert not trash.trashed(three)


def test_what_is_undone_does_not_replace_a_new_run_of_that_name(three):
    deleted = trash.delete(three, "small")
    made_runs.write_run(three / "small", requests=200)
    with pytest.raises(DashboardError, match="another folder of that name"):
        trash.restore(three, deleted.key)
    assert trash.empty(three) == 1
    assert trash.trashed(three) == []


def test_a_run_at_work_is_not_deleted(three):
    with made_runs.running_run(three / "busy"), pytest.raises(DashboardError, match="Stop it first"):
        trash.delete(three, "busy")


@pytest.mark.parametrize("name", ["../outside", "/etc", ".", "", ".laser-ab", "a/../../b", "link"])
def test_no_path_leads_outside(tmp_path, name):
    root, outside = tmp_path / "root", tmp_path / "outside"
    made_runs.write_run(outside, requests=200)
    root.mkdir()
    (root / "link").symlink_to(outside)
    with pytest.raises(DashboardError, match="expected a folder below"):
        within(root, name)
    with pytest.raises(DashboardError):
        trash.delete(root, name)
    assert read_run(outside).status == "finished"


def test_a_read_only_dashboard_offers_and_does_nothing(three, monkeypatch):
    monkeypatch.setenv(READ_ONLY_VARIABLE, "1")
    app = opened(RUNS)
    assert {one.label for one in app.button} <= {"Open scorecard", "Open latency", "Open what-if"}
    with pytest.raises(DashboardError, match="read-only"):
        trash.delete(three, "demo")
    with pytest.raises(DashboardError, match="read-only"):
        notes.write_note(three, "demo", "a", "b")
    assert not (three / ".laser-ab").exists()


def test_nothing_is_written_into_a_result(three):
    with pytest.raises(DashboardError, match="is a result itself"):
        notes.write_note(three / "demo", ".", "a", "b")


def test_compare_shows_runs_and_arms_with_truth_and_what_serving_cost(three):
    other = {"control": made_runs.control(), "laser": made_runs.treatment(), "twin": made_runs.treatment()}
    made_runs.write_run(three / "three", requests=200, card=made_runs.scorecard(other), budget_ms=12.5)
    app = opened(COMPARE, runs=["demo", "three"])
    table = app.table[0].value
    assert list(zip(table["Run"], table["Treatment"], strict=True)) == [
        ("demo", "treatment"),
        ("three", "laser"),
        ("three", "twin"),
    ]
    assert set(table["Lift (95% CI)"]) == {"+2.6% (−1.0% to +6.2%)"}
    assert set(table["True lift"]) == {"+3.8%"}
    assert set(table["Degraded"]) == {"7.0%"}
    differing = app.table[1].value.set_index("Setting")
    assert list(differing.loc["Latency budget, as it was resolved (ms)"]) == ["25", "12.5"]
    layers = specs(app)[0]["layer"]
    assert layers[1]["encoding"]["y"]["sort"] == ["demo: treatment", "three: laser", "three: twin"]


def test_compare_says_which_runs_are_gone(three):
    words = texts(opened(COMPARE, runs=["demo", "gone"]))
    assert "Not in this folder: gone" in words


def test_what_has_not_changed_is_not_read_again(tmp_path, monkeypatch):
    for name in ("a", "b"):
        made_runs.write_run(tmp_path / name, requests=200)
    first = index.list_results(tmp_path)
    os.utime(tmp_path / "b" / "manifest.json")
    read: list[Path] = []
    original = index.read_folder
    monkeypatch.setattr(index, "read_folder", lambda path: (read.append(path), original(path))[1])
    assert index.list_results(tmp_path) == first
    assert read == [tmp_path / "b"]


@pytest.mark.parametrize("page", [RUNS, SCORECARD, COMPARE])
def test_a_page_lists_the_folder_once(three, monkeypatch, page):
    asked: list[Path] = []
    original = index.list_results
    monkeypatch.setattr(
        folders, "list_results", lambda root, **more: (asked.append(root), original(root, **more))[1]
    )
    app = opened(page)
    asked.clear()
    app.run()
    assert asked == [three]


@pytest.mark.parametrize("text", ["{", '{"version": 2, "lines": {"a": 3}}', '{"version": 0, "lines": {}}'])
def test_a_damaged_index_is_made_anew(tmp_path, text):
    made_runs.write_run(tmp_path / "a", requests=200)
    wanted = index.list_results(tmp_path)
    (tmp_path / ".laser-ab/index.json").write_text(text)
    assert index.list_results(tmp_path) == wanted
    assert json.loads((tmp_path / ".laser-ab/index.json").read_text())["version"] == 2


def test_an_interrupted_run_that_is_taken_up_lists_as_running(tmp_path):
    with made_runs.running_run(tmp_path / "run"):
        assert index.list_results(tmp_path)[0].status == "running"
    assert index.list_results(tmp_path)[0].status == "interrupted"


def test_a_result_itself_is_listed_and_nothing_is_written_into_it(tmp_path):
    run = made_runs.write_run(tmp_path / "run", requests=200)
    before = sorted(run.iterdir())
    assert [line.path for line in index.list_results(run)] == ["."]
    assert sorted(run.iterdir()) == before


@pytest.fixture
def came_with_it(folder, monkeypatch):
    """An empty folder of results, and a run that came with the package."""
    about = {"shipped": "run elsewhere", "small": {"served_one_in": 50, "rows": {"served": 300_000}}}
    made_runs.write_run(folder / ".package" / "paper", requests=200, **about)
    monkeypatch.setattr(small, "SHIPPED", folder / ".package")
    return folder


def test_before_anything_was_run_the_pages_show_what_came_with_the_package(came_with_it):
    app = opened(RUNS)
    assert "There are no runs in" in texts(app)
    assert listed(app) == ["paper"]
    assert not [one for one in app.button if one.label.startswith("Delete")]
    assert "Trash" not in texts(app)
    latency = texts(opened(LATENCY))
    assert "came with the package" in latency
    assert "one request in 50 is shown" in latency
    assert "came with the package" in texts(opened(SCORECARD))
    assert {path.name for path in came_with_it.iterdir()} == {".package"}  # nothing was kept beside it


def test_the_first_own_run_takes_its_place(came_with_it):
    made_runs.write_run(came_with_it / "demo", requests=200)
    assert listed(opened(RUNS)) == ["demo"]
    assert "came with the package" not in texts(opened(LATENCY))
