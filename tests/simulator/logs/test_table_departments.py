"""Items say what their category is part of: a category's department is that of most of its items."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tables import MAP, shown, write

from simulator.config.errors import ConfigError
from simulator.logs.real_log import split_days
from simulator.logs.table.importer import import_table
from simulator.logs.table.staging.load import load_mapping
from simulator.logs.world import load_log_world
from simulator.traffic.trace import TraceError

ROWS = shown()  # items 100 to 139
ITEMS = '\n[items]\nfiles = ["items.csv"]\nkey = "id"\ndepartment = "part"\n'
MAPPED = MAP.replace("item =", 'category = "items.kind"\nitem =') + ITEMS


def items(part_of: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Forty items of as many kinds as are given, by turns, each kind's parts by turns too."""
    kinds = sorted(part_of)
    found = []
    for number in range(40):
        kind, turn = kinds[number % len(kinds)], number // len(kinds)
        parts = part_of[kind]
        found.append({"id": number + 100, "kind": kind, "part": parts[turn % len(parts)]})
    return found


def imported(folder: Path, rows: list[dict[str, Any]], text: str = MAPPED) -> dict[str, Any]:
    write(folder / "shown.csv", ROWS)
    write(folder / "items.csv", rows)
    (folder / "map.toml").write_text(text)
    return import_table(load_mapping(folder / "map.toml"), folder / "log")


def test_categories_are_numbered_as_without_and_have_the_department_of_most_of_their_items(
    tmp_path: Path,
) -> None:
    of = {"apple": ["fruit"], "beet": ["root", "fruit", "root"], "carrot": ["root"], "date": ["fruit"]}
    rows = items(of)
    said = imported(tmp_path / "with", rows)
    names = {c["id"]: c["name"] for c in pq.read_table(tmp_path / "with/log/departments.parquet").to_pylist()}
    assert [names[number] for number in said["departments"]] == ["fruit", "root", "root", "fruit"]
    assert "1 categories have items of another department than most of theirs." in " ".join(said["remarks"])
    imported(tmp_path / "without", rows, MAPPED.replace('department = "part"\n', ""))
    for name in ("catalogue.parquet", "impressions.parquet", "behaviours.parquet", "response.parquet"):
        assert (tmp_path / "with/log" / name).read_bytes() == (tmp_path / "without/log" / name).read_bytes()
    without = json.loads((tmp_path / "without/log/manifest.json").read_text())
    assert "departments" not in without
    world = load_log_world(tmp_path / "with/log", 1, split_days(6))
    assert world.sizes.departments == (0, 1, 1, 0)
    assert load_log_world(tmp_path / "without/log", 1, split_days(6)).sizes.departments == ()


def test_items_that_contradict_themselves_are_named_by_their_columns(tmp_path: Path) -> None:
    rows = items({"apple": ["fruit"], "beet": ["root"]})
    again = [{**row, "part": "other"} for row in rows[:5]] + [{**row, "kind": "carrot"} for row in rows[5:8]]
    said = " ".join(imported(tmp_path, [*rows, *again])["remarks"])
    assert "3 items have rows of more than one category (kind); the first of each counts." in said
    assert "5 items have rows of more than one department (part); the first of each counts." in said


def test_items_that_name_no_department_share_one_and_numbers_may_be_names(tmp_path: Path) -> None:
    said = imported(tmp_path, items({"apple": ["7"], "beet": [""], "carrot": ["11"], "date": [""]}))
    names = {c["id"]: c["name"] for c in pq.read_table(tmp_path / "log/departments.parquet").to_pylist()}
    assert [names[number] for number in said["departments"]] == ["7", "", "11", ""]


def test_a_department_without_a_category_of_the_items_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "shown.csv", ROWS)
    (tmp_path / "map.toml").write_text(MAP + ITEMS)
    with pytest.raises(ConfigError) as error:
        load_mapping(tmp_path / "map.toml")
    assert "`items.department`: is of categories that are read from the items" in str(error.value)
    assert "map.toml:16:1" in str(error.value)
    assert 'write category = "items.COLUMN"' in str(error.value)


def test_an_expression_over_the_items_is_refused_where_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        imported(tmp_path, items({"a": ["b"]}), MAPPED.replace('"part"', '{sql = "left(pat, 2)"}'))
    assert "`items.department`" in str(error.value)
    assert "map.toml:17:1" in str(error.value)
    assert "did you mean part? the columns are id, kind, part" in str(error.value)


def test_a_department_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no column part; found id, kind"):
        imported(tmp_path, [{"id": n, "kind": "a"} for n in range(100, 140)])
