"""Times that are coarse, in another form, or on other days than was meant are remarked on or explained."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tables import DAY_S, MAP, shown, write

from simulator.logs.folder import read_log
from simulator.logs.table.importer import import_table
from simulator.logs.table.staging.damage import form_of
from simulator.logs.table.staging.load import load_mapping
from simulator.traffic.trace import TraceError

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


SLASHES = [
    ('unit = "iso"', "expected ISO 8601, such as 2000-11-30"),
    ('format = "%m/%d/%y"', 'expected format = "%m/%d/%y"'),
    ('unit = "s"', "expected seconds"),
]


@pytest.mark.parametrize(("stated", "tried"), SLASHES)
def test_times_of_another_form_are_named_with_the_format_that_fits(
    stated: str, tried: str, tmp_path: Path
) -> None:
    text = BY_DAY.replace('format = "%m/%d/%Y"', stated)
    with pytest.raises(TraceError) as error:
        imported(tmp_path, [dated(row) for row in ROWS], text)
    told = str(error.value)
    assert f"shown.csv, line 2: the time (day) is '01/01/2026', {tried}" in told
    assert f"{len(ROWS)} of {len(ROWS)} rows have none of that form" in told
    assert 'State format = "%m/%d/%Y", or "%d/%m/%Y" where the day comes first' in told


def test_days_taken_for_months_are_named_by_the_first_that_is_none(tmp_path: Path) -> None:
    rows = [dated({**row, "ts": row["ts"] + 9 * DAY_S}) for row in ROWS]  # 10 to 15 January
    with pytest.raises(TraceError, match="is '01/13/2026', expected format") as error:
        imported(tmp_path, rows, BY_DAY.replace("%m/%d", "%d/%m"))
    assert 'State format = "%m/%d/%Y" in' in str(error.value)


def test_times_that_are_merely_missing_are_damage(tmp_path: Path) -> None:
    for value, time in (("", '{column = "day", unit = "iso"}'), ("2150-01-01", '"day"'), ("0", '"day"')):
        text = MERGED.replace('{column = "ts", unit = "s"}', time)
        with pytest.raises(TraceError, match="rows are damaged"):
            imported(tmp_path / value / "log", [{**row, "day": value} for row in ROWS], text)


def test_days_that_were_taken_for_months_are_asked_about(tmp_path: Path) -> None:
    rows = [dated(row) for row in ROWS]  # 1 to 6 January, or else the 1st of six months
    remarks = imported(tmp_path / "swapped", rows, BY_DAY.replace("%m/%d", "%d/%m"))["remarks"]
    (remark,) = [remark for remark in remarks if "swapped" in remark]
    assert remark.startswith("Rows on 6 of 152 days, all on the 1st: are day and month swapped in `format`?")
    remarks = imported(tmp_path / "right", rows, BY_DAY)["remarks"]
    assert not any("swapped" in remark for remark in remarks)


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("11/1/2000", "%m/%d/%Y"),
        ("13/1/2000", "%d/%m/%Y"),
        ("30.11.2000 18:05", "%d.%m.%Y %H:%M"),
        ("1.2.00", "%d.%m.%y"),
        ("11/30/2000 6:05:09 PM", "%m/%d/%Y %I:%M:%S %p"),
        ("2000/11/30 18:05:09.25", "%Y/%m/%d %H:%M:%S.%f"),
        ("2000-11-30T18:05", "%Y-%m-%dT%H:%M"),
        ("20001130", "%Y%m%d"),
        ("20001130180509", "%Y%m%d%H%M%S"),
        ("30 Nov 2000", None),
        ("975607509", None),
    ],
)
def test_forms_of_dates_are_told_and_read_them(value: str, form: str | None) -> None:
    assert form_of(value) == form
    if form is not None:
        (read,) = duckdb.execute("select strptime(?, ?)", [value, form]).fetchone() or ()
        assert read.month in (1, 2, 11)
