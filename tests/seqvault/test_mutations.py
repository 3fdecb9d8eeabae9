"""The mutations that `make mutate` tries still fit the code, and name tests that are there."""

import ast
from pathlib import Path

import pytest
from mutate import MUTATIONS, ROOT, Mutation, mutated, run


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_mutation_changes_one_place_into_valid_source(mutation: Mutation) -> None:
    ast.parse(mutated(mutation, ROOT))
    assert all((ROOT / test).exists() for test in mutation.tests)


def test_tests_that_run_past_their_time_have_noticed_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "test_waits.py").write_text("import time\n\ndef test_waits():\n    time.sleep(30)\n")
    monkeypatch.setattr("mutate.LIMIT_S", 0.5)
    status, what = run(tmp_path, ("test_waits.py",), plain=False)
    assert status is None
    assert "is the machine busy?" in what
