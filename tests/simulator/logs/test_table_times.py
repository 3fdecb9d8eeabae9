"""Times that are coarse, in another form, or on other days than was meant are remarked on or explained."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tables import DAY_S, MAP, shown, write

from simulator.logs.folder import read_log
from simulator.logs.table.importer import import_table
from simulator.logs.table.staging.load import load_mapping

ROWS = shown()
#: What a user does with an item twice in a day is one row of that day.
MERGED = MAP + 'repeats = "merge"\n'
BY_DAY = MERGED.replace('{column = "ts", unit = "s"}', '{column = "day", format = "%m/%d/%Y"}')
#: As docs/logs.md has it.
DRAWN = "try_strptime(day, '%m/%d/%Y') + to_seconds((md5_number_lower(uid || '/' || day) % 86400)::bigint)"


def imported(folder: Path, rows: list[dict[str, Any]], text: str = MERGED) -> dict[str, Any]:
    write(folder / "shown.csv", rows)
    (folder / "map.toml").write_text(text)
    return import_table(load_mapping(folder / "map.toml"), folder / "log")


def dated(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "day": datetime.fromtimestamp(row["ts"], UTC).strftime("%m/%d/%Y")}


@pytest.mark.parametrize("zone", ["UTC", "Asia/Taipei"])
def test_a_log_that_knows_days_only_says_so(zone: str, tmp_path: Path) -> None:
    rows = [dated(row) for row in ROWS]
    (remark,) = imported(tmp_path / "local", rows, BY_DAY.replace('"UTC"', f'"{zone}"'))["remarks"]
    assert remark.startswith("All times are midnight: the log knows days only")
    # Numbers of UTC's midnights, in whatever zone.
    seconds = [{**row, "ts": row["ts"] // DAY_S * DAY_S} for row in ROWS]
    (remark,) = imported(tmp_path / "utc", seconds, MERGED.replace('"UTC"', f'"{zone}"'))["remarks"]
    assert remark.startswith("All times are midnight")


def test_a_second_drawn_by_user_and_day_keeps_a_basket_one_request(tmp_path: Path) -> None:
    rows = [dated(row) for row in ROWS]
    text = MERGED.replace('{column = "ts", unit = "s"}', f'{{sql = "{DRAWN}", unit = "iso"}}')
    manifest = imported(tmp_path, rows, text)
    log, _ = read_log(tmp_path / "log")
    assert manifest["remarks"] == []
    assert manifest["sizes"]["requests"] == len({(row["uid"], row["day"]) for row in rows})
    assert len(set(log.impressions.time_s.tolist())) == manifest["sizes"]["requests"]


def test_a_log_of_whole_hours_says_that_and_no_more(tmp_path: Path) -> None:
    rows = [{**row, "ts": row["ts"] // 3600 * 3600} for row in ROWS]
    (remark,) = imported(tmp_path, rows)["remarks"]
    assert remark.startswith("All times are whole hours: the log knows hours only")


def test_a_log_whose_times_are_times_is_not_remarked_on(tmp_path: Path) -> None:
    early = [{**row, "ts": row["ts"] // DAY_S * DAY_S} if i % 3 else row for i, row in enumerate(ROWS)]
    assert imported(tmp_path / "some", early)["remarks"] == []  # two of three at midnight
    assert imported(tmp_path / "none", ROWS)["remarks"] == []
