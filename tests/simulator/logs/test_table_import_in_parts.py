"""A table's import is worked out in parts, goes on where it was cut off, and leaves nothing behind."""

from pathlib import Path

import pytest
from tables import MAP, shown, write

from simulator import scratch
from simulator.logs.table import candidates, collect, convert, fit, importer, shows
from simulator.logs.table import rows as table_rows
from simulator.logs.table.importer import Interrupted, import_table
from simulator.logs.table.preview import preview
from simulator.logs.table.staging import sources
from simulator.logs.table.staging.load import load_mapping
from simulator.logs.table.staging.stage import Stage
from simulator.results.errors import ResultsError
from simulator.traffic import behaviours

ROWS = shown()
#: A page of three, with what else it could have shown; some rows come twice, and some of these contradict.
PAGES = [
    {
        **row,
        "page": f"p{i // 3}",
        "uid": 1 + (i // 3) % 29,
        "lost": [row["creative"] + k for k in range(i % 4)],
    }
    for i, row in enumerate(ROWS)
]
PAGES += [
    {**row, "clicked": row["clicked"] ^ (i % 9 == 0), "lost": [100 + i % 50]}
    for i, row in enumerate(PAGES[::9])
]
LENIENT = "[limits]\ndamaged = 0.2\n"


@pytest.mark.parametrize(
    "more",
    [
        "",
        'position = "slot"\nconversion = "bought"\ncategory = "vertical"\nrepeats = "merge"\n',
        'candidates = "lost"\n',
        'request = "page"\n',
        'request = "page"\ncandidates = "lost"\nwidth = 8\n',
        'request = "page"\ncandidates = "lost"\nrepeats = "request"\n',
    ],
)
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_log_is_the_same_however_many_rows_are_held_together(
    more: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / f"shown.{form}", PAGES)
    (tmp_path / "map.toml").write_text(MAP + more + LENIENT)
    import_table(load_mapping(tmp_path / "map.toml"), tmp_path / "log")
    for module in (candidates, collect, convert, fit, scratch, shows, table_rows):
        monkeypatch.setattr(module, "_AT_ONCE", 7)
    for module in (sources, table_rows):
        monkeypatch.setattr(module, "_LISTS", 7)
    monkeypatch.setattr(convert, "_SORTED", 60)
    monkeypatch.setattr(behaviours, "_GROUP", 50)
    import_table(load_mapping(tmp_path / "map.toml"), tmp_path / "again")
    for path in (tmp_path / "log").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_a_cut_off_import_goes_on_after_whole_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "WORTH_KEEPING", 1)
    write(tmp_path / "shown.1.csv", ROWS[:400])
    write(tmp_path / "shown.2.csv", ROWS[400:])
    (tmp_path / "map.toml").write_text(MAP)
    loaded = load_mapping(tmp_path / "map.toml")
    first = (tmp_path / "shown.1.csv").stat().st_size

    def cut_off(stage: str, done: int, total: int) -> None:
        if done > first:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        import_table(loaded, tmp_path / "log", cut_off)
    told: list[int] = []
    import_table(
        loaded, tmp_path / "log", lambda stage, done, total: told.append(done) if stage == "read" else None
    )
    assert told[0] > first  # the first file was not read again
    assert not list(tmp_path.glob(".log*"))
    import_table(loaded, tmp_path / "again")
    for path in (tmp_path / "log").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_two_imports_at_once_do_not_write_into_each_others_rows(tmp_path: Path) -> None:
    write(tmp_path / "shown.csv", ROWS)
    for name, more in (("map", ""), ("other", "notes = ['another']")):
        (tmp_path / f"{name}.toml").write_text(f"{more}\n{MAP}")
    met: list[str] = []

    def another(stage: str, done: int, total: int) -> None:
        if stage == "convert" and not met:
            before = {path.name: path.stat().st_ino for path in (tmp_path / ".log.stage").iterdir()}
            for name in ("map", "other"):
                with pytest.raises(ResultsError, match="locked by a running process") as error:
                    import_table(load_mapping(tmp_path / f"{name}.toml"), tmp_path / "log")
                met.append(str(error.value))
            assert {p.name: p.stat().st_ino for p in (tmp_path / ".log.stage").iterdir()} == before

    import_table(load_mapping(tmp_path / "map.toml"), tmp_path / "log", another)
    assert len(met) == 2
    assert (tmp_path / "log" / "manifest.json").exists()
    assert not list(tmp_path.glob(".log*"))


@pytest.mark.parametrize("ctrl_c", [KeyboardInterrupt(), RuntimeError("Query interrupted")])
def test_what_was_spilled_goes_when_an_import_is_cut_off(
    ctrl_c: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "WORTH_KEEPING", 1)
    write(tmp_path / "shown.csv", ROWS)
    (tmp_path / "map.toml").write_text(MAP)
    loaded, staged = load_mapping(tmp_path / "map.toml"), tmp_path / ".log.stage"

    def cut_off(stage: Stage) -> None:
        stage.spill.mkdir(exist_ok=True)
        (stage.spill / "sorted").write_bytes(b"rows")
        raise ctrl_c  # DuckDB makes the second of the first, within a query

    with monkeypatch.context() as patched:
        patched.setattr(importer, "collect", cut_off)
        with pytest.raises(Interrupted):
            import_table(loaded, tmp_path / "log")
    assert {path.name for path in staged.iterdir()} == {"key", "run.lock", "shown-0.parquet", "shown-0.json"}
    # A process that is killed cannot clear up after itself: the next import does.
    (staged / "spill").mkdir()
    (staged / "spill" / "sorted").write_bytes(b"rows")
    stage = Stage(loaded, staged)
    assert not (staged / "spill").exists()
    stage.close()
    import_table(loaded, tmp_path / "log")
    assert {path.name for path in tmp_path.iterdir()} == {"log", "map.toml", "shown.csv"}


def test_the_first_rows_have_the_names_of_the_log(tmp_path: Path) -> None:
    rows = [{**row, "uid": f"{row['uid']:04d}", "slot": f"s{row['slot']}"} for row in ROWS]
    write(tmp_path / "shown.csv", rows)
    fields = 'scene = "slot"\ncategory = "vertical"\nadvertiser = {column = "account", hashed = 2}\n'
    (tmp_path / "map.toml").write_text(MAP + fields)
    found = preview(load_mapping(tmp_path / "map.toml"), tmp_path / "log", lambda *_: None)["first_rows"]
    first = next(row for row in found if (row["user_id"], row["time_s"]) == (rows[0]["uid"], 0))
    assert (first["item"], first["scene"]) == (rows[0]["creative"], rows[0]["slot"])
    assert first["category"] == rows[0]["vertical"]
    assert found[0]["advertiser"] in (0, 1)


def test_a_dry_run_converts_all_and_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path / "shown.csv", ROWS)
    (tmp_path / "map.toml").write_text(MAP)
    found = preview(load_mapping(tmp_path / "map.toml"), tmp_path / "log", lambda *_: None)
    assert found["first_rows"][0]["item"] == ROWS[0]["creative"]
    assert sum(found["rows_by_date"].values()) == len(ROWS)
    assert found["shows"]["history_can_move_ctr"] >= 0
    assert {path.name for path in tmp_path.iterdir()} == {"shown.csv", "map.toml"}
