"""Damage: each kind is left out and named, or refuses the log with its place."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tables import DAY_S, MAP, MIDNIGHT_S, shown, write
from threadpoolctl import threadpool_limits

from simulator.config.errors import ConfigError
from simulator.logs.folder import read_log
from simulator.logs.real_log import split_days
from simulator.logs.table.fit import Design, fit_logit
from simulator.logs.table.importer import import_table
from simulator.logs.table.staging.load import load_mapping
from simulator.logs.table.strays import fragments, last_whole, stray_bounds
from simulator.logs.world import load_log_world
from simulator.traffic.trace import TraceError

ROWS = shown()


def imported(folder: Path, rows: list[dict[str, Any]], form: str = "csv", text: str = MAP) -> dict[str, Any]:
    write(folder / f"shown.{form}", rows)
    (folder / "map.toml").write_text(text)
    return import_table(load_mapping(folder / "map.toml"), folder / "log")


def refused(folder: Path, rows: list[dict[str, Any]], form: str = "csv", text: str = MAP) -> str:
    with pytest.raises(TraceError) as error:
        imported(folder, rows, form, text)
    assert {path.name for path in folder.iterdir()} == {"map.toml", f"shown.{form}"}
    return str(error.value)


def changed(at: int, **values: Any) -> list[dict[str, Any]]:
    return [*ROWS[:at], {**ROWS[at], **values}, *ROWS[at + 1 :]]


@pytest.mark.parametrize("days", [60, -200])
def test_a_stray_time_is_left_out_by_name_and_the_days_stay(days: int, tmp_path: Path) -> None:
    manifest = imported(tmp_path, changed(40, ts=ROWS[40]["ts"] + days * DAY_S))
    ((reason, entry),) = manifest["rows"]["dropped"].items()
    assert "stray time" in reason
    assert entry == {"rows": 1, "first": ["shown.csv:42"]}
    assert manifest["days"] == 6


def test_a_log_in_two_halves_keeps_both_and_lists_the_days_between(tmp_path: Path) -> None:
    rows = [{**row, "ts": row["ts"] + (10 * DAY_S if i > 450 else 0)} for i, row in enumerate(ROWS)]
    manifest = imported(tmp_path, rows)
    assert manifest["rows"]["kept"] == len(ROWS)
    assert manifest["days"] == 16
    assert 9 <= len(manifest["empty_days"]) <= 10


def test_all_reasons_count_together(tmp_path: Path) -> None:
    limited = MAP + "[limits]\ndamaged = 0.005\n"  # four of 900 rows
    one, two = {"clicked": 7}, {"creative": ""}
    rows = [{**row, **(one if i in (3, 4) else two if i in (5, 6, 7) else {})} for i, row in enumerate(ROWS)]
    told = refused(tmp_path, rows, text=limited)
    assert "shown.csv, line 5: 5 of 900 rows are damaged" in told
    assert "2 click (clicked)" in told
    assert "3 item (creative)" in told


def test_repeats_that_contradict_are_damage_and_plain_ones_are_not(tmp_path: Path) -> None:
    manifest = imported(tmp_path, [*ROWS, *ROWS, {**ROWS[9], "clicked": 1 - ROWS[9]["clicked"]}])
    dropped = manifest["rows"]["dropped"]
    assert dropped["repeats (user, item, time)"]["rows"] == len(ROWS)
    (entry,) = [entry for reason, entry in dropped.items() if "contradict" in reason]
    assert entry == {"rows": 1, "first": [f"shown.csv:{2 * len(ROWS) + 2}"]}


def test_a_log_of_contradictions_is_refused_unless_they_are_merged(tmp_path: Path) -> None:
    twice = [*ROWS, *({**row, "clicked": 1 - row["clicked"]} for row in ROWS)]
    assert f"{len(ROWS)} repeats (user, item, time) that contradict" in refused(tmp_path, twice)
    half = [*ROWS, *({**row, "clicked": 1} for row in ROWS[::3])]
    imported(tmp_path, half, text=MAP + 'repeats = "merge"\n')
    log, _ = read_log(tmp_path / "log")
    assert len(log.impressions) == len(ROWS)
    assert log.impressions.click.sum() == sum(r["clicked"] or i % 3 == 0 for i, r in enumerate(ROWS))


def test_damage_in_parquet_is_named_by_row_group_and_row(tmp_path: Path) -> None:
    manifest = imported(tmp_path, changed(340, clicked=5), "parquet")
    ((_, entry),) = manifest["rows"]["dropped"].items()
    assert entry["first"] == ["shown.parquet:row group 3, row 40"]


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "shown.jsonl", ROWS)
    lines = path.read_text().split("\n")
    path.write_text("\n".join([*lines[:20], lines[20][:15], *lines[21:]]))
    (tmp_path / "map.toml").write_text(MAP)
    manifest = import_table(load_mapping(tmp_path / "map.toml"), tmp_path / "log")
    ((_, entry),) = manifest["rows"]["dropped"].items()
    assert entry == {"rows": 1, "first": ["shown.jsonl:21"]}


def test_more_categories_than_models_take_are_refused_or_kept_to_the_frequent(tmp_path: Path) -> None:
    rows = [{**row, "creative": i, "vertical": f"v{i}"} for i, row in enumerate(ROWS * 73)]
    rows = [{**row, "ts": row["ts"], "uid": i % 50} for i, row in enumerate(rows)]
    told = refused(tmp_path, rows, text=MAP + 'category = "vertical"\n')
    assert "65,700 categories, expected at most 65,535" in told
    assert "most = " in told
    with pytest.raises(ConfigError, match="found 65535, expected less than or equal to 65534"):
        imported(tmp_path, ROWS, text=MAP + 'category = {column = "vertical", most = 65535}\n')


def test_frequent_categories_keep_their_own_number(tmp_path: Path) -> None:
    imported(tmp_path, ROWS, text=MAP + 'category = {column = "vertical", most = 2}\n')
    log, _ = read_log(tmp_path / "log")
    assert set(np.unique(log.ads.category).tolist()) == {0, 1, 2}


def test_strays_are_few_and_far_and_fragments_are_at_the_ends() -> None:
    days = np.array([0, 1, 2, 3, 60])
    assert stray_bounds(days, np.array([500, 500, 500, 500, 1]), 0.001) == (0, 3)
    assert stray_bounds(days, np.array([500, 500, 500, 500, 50]), 0.001) == (None, None)
    assert stray_bounds(np.array([0, 1, 2, 4]), np.array([500, 500, 500, 1]), 0.001) == (None, None)
    assert fragments(np.array([3, 100, 100, 90])) == [0]
    assert last_whole(np.array([3, 100, 100, 90])) == 3
    assert last_whole(np.array([3, 100, 100, 90, 0, 4])) == 3
    assert last_whole(np.array([100, 4])) == 1  # nothing comes before the first


def test_the_first_moment_is_the_logs_midnight(tmp_path: Path) -> None:
    assert imported(tmp_path, ROWS)["epoch_ms"] == MIDNIGHT_S * 1000


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    write(tmp_path / os.fsdecode(b"shown.\xff\xfe.csv"), ROWS)
    (tmp_path / "map.toml").write_text(MAP)
    with pytest.raises(TraceError, match="the name is not UTF-8"):
        import_table(load_mapping(tmp_path / "map.toml"), tmp_path / "log")


def test_words_for_nothing_are_missing_ids_and_no_users(tmp_path: Path) -> None:
    text = MAP + 'scene = "slot"\ncategory = "vertical"\n[limits]\ndamaged = 0.02\n'
    words = ("NA", "N/A", "NaN", "nan", "null", "NULL", "None", "\\N", "")
    rows = changed(3, vertical="NA")
    rows = [{**row, "uid": words[i - 10]} if 10 <= i < 19 else row for i, row in enumerate(rows)]
    rows = [{**row, "slot": "NA"} if i in (30, 31) else row for i, row in enumerate(rows)]
    manifest = imported(tmp_path, rows, text=text)
    assert manifest["rows"]["dropped"] == {
        "user (uid) missing or negative": {"rows": 9, "first": [f"shown.csv:{i}" for i in range(12, 17)]},
        "scene (slot) missing, or none of the values": {"rows": 2, "first": ["shown.csv:32", "shown.csv:33"]},
    }
    assert manifest["sizes"]["users"] == 30
    assert np.unique(read_log(tmp_path / "log")[0].impressions.scene).tolist() == [1, 2, 3]


def test_items_without_a_category_are_counted(tmp_path: Path) -> None:
    rows = [{**row, "vertical": "" if row["creative"] < 103 else row["vertical"]} for row in ROWS]
    manifest = imported(tmp_path, rows, text=MAP + 'category = "vertical"\n')
    assert manifest["remarks"] == ["3 of 40 items have no category; they share one."]


def test_a_day_on_which_nothing_was_clicked_is_named(tmp_path: Path) -> None:
    rows = [{**row, "clicked": row["clicked"] * (row["ts"] < MIDNIGHT_S + 5 * DAY_S)} for row in ROWS]
    (remark,) = imported(tmp_path, rows)["remarks"]
    assert remark.startswith("2026-01-06 has ")
    assert remark.endswith("rows and not one click; was clicking recorded?")


def test_a_log_of_a_single_click_is_imported_without_a_warning(tmp_path: Path) -> None:
    rows = [{**row, "clicked": int(i == 850), "bought": int(i == 850)} for i, row in enumerate(ROWS)]
    manifest = imported(tmp_path, rows, text=MAP + 'conversion = "bought"\n')
    assert manifest["rates"]["click"] == 1 / len(ROWS)


def test_too_few_clicks_to_draw_conversions_from_are_named_so(tmp_path: Path) -> None:
    first = next(i for i, row in enumerate(ROWS) if row["clicked"])
    told = refused(tmp_path, [{**row, "clicked": int(i == first)} for i, row in enumerate(ROWS)])
    assert "1 clicks, of which none is a conversion (10% are drawn)" in told
    assert "leave conversion out" not in told


def test_an_impression_without_a_price_is_kept_and_counted(tmp_path: Path) -> None:
    bad = {3: "", 4: "-1", 5: "free"}
    rows = [{**row, "paid": bad.get(i, 0.5 + i)} for i, row in enumerate(ROWS)]
    manifest = imported(tmp_path, rows, text=MAP + 'price = "paid"\nbid = "paid"\n')
    told = "3 of 900 impressions have no {} (paid): missing, no number or negative. They are kept without."
    assert manifest["remarks"] == [told.format("bid"), told.format("price")]
    assert manifest["rows"]["dropped"] == {}
    log, _ = read_log(tmp_path / "log")
    assert log.impressions.price is not None
    assert np.flatnonzero(np.isnan(log.impressions.price)).tolist() == [3, 4, 5]
    assert np.isfinite(load_log_world(tmp_path / "log", 1, split_days(6)).catalogue.advertiser_tcpa).all()


def test_a_fitted_response_does_not_depend_on_the_number_of_threads() -> None:
    rng = np.random.default_rng(1)
    # Vectors of this length are added in parts by several threads.
    sizes = {"video": 30_000, "author": 200, "category": 9, "scene": 3, "hour": 24}
    ids = {name: rng.integers(0, size, 20_000) for name, size in sizes.items()}
    design, label = Design(ids, sizes, rng.normal(size=(20_000, 4))), rng.random(20_000) < 0.3
    effects = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            effects.append(fit_logit(design, label).tables["video"])
    np.testing.assert_array_equal(*effects)
