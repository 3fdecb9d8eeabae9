"""Rows that hold lists: a page's items, a user's history."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import MAP, MIDNIGHT_S, write

from simulator.config.errors import ConfigError
from simulator.logs.folder import read_log
from simulator.logs.table.importer import import_table
from simulator.logs.table.staging import mapped_file
from simulator.logs.table.staging.load import load_mapping
from simulator.traffic.trace import TraceError

#: Three items a page, in an order of its own; some clicked.
PAGES: list[dict[str, Any]] = [
    {
        "uid": 1 + i % 29,
        "ts": MIDNIGHT_S + i * 1700,
        "items": [100 + (7 * i + k) % 40 for k in (2, 0, 1)],
        "clicks": [100 + 7 * i % 40] if i % 3 == 0 else [],
    }
    for i in range(300)
]
PLACED = MAP + 'position = "slot"\n'
ROWS = [
    {
        "uid": page["uid"],
        "ts": page["ts"],
        "creative": item,
        "clicked": int(item in page["clicks"]),
        "slot": place,
    }
    for page in PAGES
    for place, item in enumerate(page["items"], 1)
]


def unfolded(each: str, item: str, click: str, form: str) -> str:
    text = PLACED.replace("shown.*", form).replace('"slot"', '"each_place"')
    text = text.replace('"creative"', item).replace('"clicked"', click)
    return text.replace("[impressions]\n", f"[impressions]\neach = {each}\n")


def imported(folder: Path, text: str) -> dict[str, Any]:
    (folder / "map.toml").write_text(text)
    return import_table(load_mapping(folder / "map.toml"), folder / "log")


def as_text(folder: Path) -> str:
    pairs = [
        {
            "uid": page["uid"],
            "ts": page["ts"],
            "page": " ".join(f"{i}-{int(i in page['clicks'])}" for i in page["items"]),
        }
        for page in PAGES
    ]
    write(folder / "shown.csv", pairs)
    item, click = (f"{{sql = \"split_part(each, '-', {n})\"}}" for n in (1, 2))
    return unfolded('{column = "page", split = " "}', item, click, "shown.csv")


def as_json(folder: Path) -> str:
    write(folder / "shown.jsonl", PAGES)
    click = "{sql = \"list_contains(json_extract_string(clicks, '$[*]'), each)\"}"
    return unfolded('"items"', '"each"', click, "shown.jsonl")


def as_objects(folder: Path) -> str:
    rows = [
        {
            "uid": page["uid"],
            "ts": page["ts"],
            "page": [{"id": f"{i}", "clicked": i in page["clicks"]} for i in page["items"]],
        }
        for page in PAGES
    ]
    write(folder / "shown.jsonl", rows)
    return unfolded('"page"', "{sql = \"each->>'id'\"}", "{sql = \"each->>'clicked'\"}", "shown.jsonl")


def as_lists(folder: Path) -> str:
    write(folder / "shown.parquet", PAGES)
    return unfolded('"items"', '"each"', '{sql = "list_contains(clicks, each)"}', "shown.parquet")


def as_structs(folder: Path) -> str:
    rows = [
        {
            "uid": page["uid"],
            "ts": page["ts"],
            "page": [{"id": i, "clicked": i in page["clicks"]} for i in page["items"]],
        }
        for page in PAGES
    ]
    write(folder / "shown.parquet", rows)
    return unfolded('"page"', '{sql = "each.id"}', '{sql = "each.clicked"}', "shown.parquet")


@pytest.mark.parametrize("form", [as_text, as_json, as_objects, as_lists, as_structs])
def test_pages_of_lists_are_the_log_of_single_rows(
    form: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows").mkdir()
    write(tmp_path / "rows" / "shown.csv", ROWS)
    expected = imported(tmp_path / "rows", PLACED)
    (tmp_path / "pages").mkdir()
    monkeypatch.setattr(mapped_file, "_LISTS_AT_ONCE", 7)
    found = imported(tmp_path / "pages", form(tmp_path / "pages"))
    assert found["rows"] == expected["rows"] == {"read": len(ROWS), "kept": len(ROWS), "dropped": {}}
    for name in ("impressions", "requests", "behaviours", "catalogue", "response"):
        page, single = (tmp_path / each / "log" / f"{name}.parquet" for each in ("pages", "rows"))
        assert page.read_bytes() == single.read_bytes(), name


def test_a_page_without_a_list_is_counted_by_its_line(tmp_path: Path) -> None:
    text = as_text(tmp_path)
    lines = (tmp_path / "shown.csv").read_text().splitlines()
    lines[5] = lines[5].rsplit(",", 1)[0] + ","
    lines[9] = lines[9].replace("-0", "-maybe")
    (tmp_path / "shown.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(TraceError, match=r"shown\.csv, line 6: 4 of 898 rows are damaged"):
        imported(tmp_path, text + "[limits]\ndamaged = 0.0\n")
    dropped = imported(tmp_path, text)["rows"]["dropped"]
    assert [(entry["rows"], entry["first"]) for entry in dropped.values()] == [
        (1, ["shown.csv:6"]),
        (lines[9].count("maybe"), ["shown.csv:10"]),
    ]


def test_a_users_list_is_its_history(tmp_path: Path) -> None:
    write(tmp_path / "shown.csv", ROWS)
    did = {
        "who": list(range(1, 30)),
        "what": [[100 + user % 40, 103, 104][: user % 4] for user in range(1, 30)],
        "times": [[MIDNIGHT_S - 900 * (3 - k) for k in range(user % 4)] for user in range(1, 30)],
        "looked_s": [[2.5] * (user % 4) for user in range(1, 30)],
    }
    (tmp_path / "more").mkdir()
    pq.write_table(pa.table(did), tmp_path / "more" / "did.parquet")
    text = (
        PLACED
        + """
[behaviours]
files = ["more/did.parquet"]
where = "each is not null"
each = "what"
user = "who"
item = "each"
time = {sql = "times[each_place]", unit = "s"}
dwell = {sql = "looked_s[each_place]"}
"""
    )
    imported(tmp_path, text)
    found = read_log(tmp_path / "log")[0].behaviours
    for number, user in enumerate(found.users.tolist()):
        mine = slice(*found.offsets[number : number + 2])
        assert found.item_id[mine].tolist() == did["what"][user - 1]
        assert (found.time_s[mine] + MIDNIGHT_S).tolist() == did["times"][user - 1]
        assert found.dwell_s[mine].tolist() == [2] * (user % 4)


def test_a_list_that_cannot_be_read_is_refused_where_it_is_written(tmp_path: Path) -> None:
    text = as_lists(tmp_path)
    (tmp_path / "map.toml").write_text(text.replace('each = "items"', 'each = {sql = "itmes"}'))
    with pytest.raises(ConfigError, match=r"impressions\.each.*itmes"):
        import_table(load_mapping(tmp_path / "map.toml"), tmp_path / "log")


def test_what_is_no_list_is_damage_and_says_so(tmp_path: Path) -> None:
    write(tmp_path / "shown.jsonl", [{**page, "items": json.dumps(page)[:9]} for page in PAGES])
    (tmp_path / "map.toml").write_text(unfolded('"items"', '"each"', '{sql = "1"}', "shown.jsonl"))
    with pytest.raises(TraceError, match=r"300 of 300 rows are damaged \(300 item \(each\) missing"):
        import_table(load_mapping(tmp_path / "map.toml"), tmp_path / "log")
