"""Answers kept beside runs: found again, of this run alone, and no part of it."""

import made_runs
import pytest

from simulator.results.beside import asked
from simulator.results.index import list_results
from simulator.results.read import read_run


@pytest.fixture
def run(tmp_path):
    return read_run(made_runs.write_run(tmp_path / "run", requests=100))


def test_what_was_kept_is_found_again_and_leaves_the_run_as_it_is(run, tmp_path):
    before = sorted(path.name for path in run.path.iterdir())
    assert asked.kept(run, "channels") is None
    asked.keep(run, "channels", {"treatments": [1]})
    asked.keep(run, "channels", {"treatments": [2, float("nan")]})
    assert asked.kept(run, "channels") == {"treatments": [2, None]}
    assert asked.kept(run, "designs") is None
    assert sorted(path.name for path in run.path.iterdir()) == before
    assert [line.path for line in list_results(tmp_path)] == ["run"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"created": "2020", "answer": {}}', "{"])
def test_what_is_damaged_or_of_another_run_counts_as_not_kept(run, text):
    asked.keep(run, "truth", {})
    asked.place_of(run.path, "truth").write_text(text)
    assert asked.kept(run, "truth") is None
