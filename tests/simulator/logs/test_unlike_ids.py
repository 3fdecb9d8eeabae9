"""Ids that are padded in one file alone are named, expressions see one row, and money is a number."""

import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tables import MAP, shown, write

from simulator.commands.logs.import_log import next_command
from simulator.config.errors import ConfigError
from simulator.config.load import load_config
from simulator.logs.table.importer import import_table
from simulator.logs.table.staging.load import load_mapping
from simulator.traffic.trace import TraceError

ROWS = shown()
BEHAVIOURS = """
[behaviours]
files = ["did.csv"]
user = "uid"
time = {column = "ts", unit = "s"}
item = "creative"
action = {sql = "'click'"}
"""


def imported(folder: Path, rows: list[dict[str, Any]], text: str = MAP) -> dict[str, Any]:
    write(folder / "shown.csv", rows)
    (folder / "map.toml").write_text(text)
    return import_table(load_mapping(folder / "map.toml"), folder / "log")


def test_behaviours_of_users_that_nobody_was_shown_something_as_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "did.csv", [{**row, "uid": f"{row['uid']:04d}"} for row in ROWS])
    with pytest.raises(TraceError, match=r"None of 900 behaviours .* zeros in front only.*ltrim"):
        imported(tmp_path, ROWS, MAP + BEHAVIOURS)
    write(tmp_path / "did.csv", [{**row, "uid": f"x{row['uid']}"} for row in ROWS])
    with pytest.raises(TraceError, match=r"None of 900 behaviours [^0]*$"):
        imported(tmp_path, ROWS, MAP + BEHAVIOURS)
    # Stripped, as is said, they meet.
    write(tmp_path / "did.csv", [{**row, "uid": f"{row['uid']:04d}"} for row in ROWS])
    stripped = BEHAVIOURS.replace('"uid"', "{sql = \"ltrim(uid, '0')\"}")
    assert imported(tmp_path, ROWS, MAP + stripped)["sizes"]["behaviours"] == 900


def test_some_behaviours_and_candidates_of_other_ids_are_remarked_on(tmp_path: Path) -> None:
    write(tmp_path / "did.csv", [{**r, "uid": f"{r['uid']:0{2 + r['uid'] % 2}d}"} for r in ROWS])
    rows = [{**row, "uid": f"{row['uid']:02d}", "cands": f"{row['creative']:05d} 100"} for row in ROWS]
    text = MAP + 'candidates = {column = "cands", split = " "}\nwidth = 8\n' + BEHAVIOURS
    remarks = imported(tmp_path, rows, text)["remarks"]
    (users,) = [remark for remark in remarks if "users of the behaviours" in remark]
    (ads,) = [remark for remark in remarks if "candidates" in remark]
    assert users.startswith(f"{len({r['uid'] for r in ROWS if r['uid'] % 2})} users of the behaviours differ")
    assert ads.startswith(f"{len({r['creative'] for r in ROWS})} candidates differ from one that was shown")
    # Where all ids are padded alike nothing is remarked on.
    rows = [{**row, "cands": f"{row['creative']} 100"} for row in rows]
    write(tmp_path / "even" / "did.csv", [{**r, "uid": f"{r['uid']:02d}"} for r in ROWS])
    assert imported(tmp_path / "even", rows, text)["remarks"] == []


def test_items_of_other_ids_are_refused_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path / "items.csv", [{"id": n, "kind": f"k{n % 3}"} for n in range(100, 140)])
    rows = [{**row, "creative": f"{row['creative']:05d}"} for row in ROWS]
    text = MAP + 'category = "items.kind"\n[items]\nfiles = ["items.csv"]\nkey = "id"\n'
    with pytest.raises(TraceError, match=r"900 were left out, an item without a row.*zeros in front only"):
        imported(tmp_path, rows, text)


@pytest.mark.parametrize(
    "allowed",
    [
        "\"now\" = '1'",
        "batch.now = '1'",
        "\"current_date\" = '1'",
        "list_sum(list_transform([1, 2], lambda now: now + 1)) > 0 and clicked = '1'",
        "(select max(x) from (select unnest([clicked, '0']) as x)) = '1'",
        "(with t as (select clicked as x) select max(x) from t) = '1'",
        "age(timestamp '2026-01-02', timestamp '2026-01-01') > interval 1 hour and clicked = '1'",
        "greatest(clicked, '0') = '1'",
    ],
)
def test_an_expression_of_one_row_is_taken(allowed: str, tmp_path: Path) -> None:
    rows = [{**row, "now": row["clicked"], "current_date": row["clicked"]} for row in ROWS]
    text = MAP.replace('click = "clicked"', f"click = {{sql = '''{allowed}'''}}")
    assert imported(tmp_path, rows, text)["sizes"]["requests"] == len(ROWS)


@pytest.mark.parametrize(
    ("refused", "what"),
    [
        ("(hash(uid || (select now())::varchar) % 3 = 0)::int", "now gives something else"),
        ("(select random()) < 0.5", "random gives something else"),
        ("age(to_timestamp(ts::bigint)::timestamp) > interval 1 day", "age gives something else"),
        ("to_timestamp(ts::bigint) < ago(interval 1 day)", "ago gives something else"),
        ("current_date > date '2026-01-01'", "current_date gives something else"),
        ("clicked = (select max(clicked) from batch)", "reads the table batch"),
        ("max(clicked) over () = '1'", "max is a window"),
        ("max(clicked, uid) = '1'", r"greatest\(a, b\)"),
    ],
)
def test_an_expression_of_more_than_its_row_is_refused(refused: str, what: str, tmp_path: Path) -> None:
    text = MAP.replace('click = "clicked"', f"click = {{sql = '''{refused}'''}}")
    with pytest.raises(ConfigError, match=what):
        imported(tmp_path, ROWS, text)


def test_a_bid_that_is_no_number_is_counted(tmp_path: Path) -> None:
    bids = ["1.5", "nan", "inf", "-1", ""]
    rows = [{**row, "b": bids[i % 5]} for i, row in enumerate(ROWS)]
    (remark,) = imported(tmp_path, rows, MAP + 'bid = "b"\n')["remarks"]
    assert remark.startswith("720 of 900 impressions have no bid")


def test_advertisers_beyond_int64_are_hashed_too(tmp_path: Path) -> None:
    rows = [{**row, "account": 9_999_999_999_999_999_990 + row["account"]} for row in ROWS]
    found = imported(tmp_path, rows, MAP + 'advertiser = {column = "account", hashed = 5}\n')
    assert found["sizes"]["advertisers"] == 5


@pytest.mark.parametrize("name", ["2026", "true", "1e5", "plain", "two words", '"x"'])
def test_the_next_command_takes_a_folder_of_any_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "shown.csv", ROWS)
    (tmp_path / "map.toml").write_text(MAP)
    manifest = import_table(load_mapping(tmp_path / "map.toml"), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(next_command(manifest, Path(name)))
    settings = [word for before, word in pairwise(words) if before == "--set"]
    config = load_config(Path(words[2]), settings, environment={})
    assert Path(config.traffic.log or "").name == name
    assert config.experiment.name == name
