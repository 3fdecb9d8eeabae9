"""Staged rows as arrays: stray days and unknown items left out, ids numbered, rows sorted, repeats counted.

Start at `collect`. Letters: N impressions, B behaviours, A ads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.logs.table.catalogue import AdColumns, make_catalogue, read_items
from simulator.logs.table.ids import Names, id_of, make_items, number_ids, same, unlike_by_zeros
from simulator.logs.table.rows import MERGED, REPEATED, Columns, Totals, shown_rows
from simulator.logs.table.staging.damage import ALWAYS_BORNE, PLACES_SHOWN
from simulator.logs.table.staging.sql import arrays, one, streamed
from simulator.logs.table.staging.stage import Stage
from simulator.logs.table.strays import stray_bounds
from simulator.scratch import gathered
from simulator.traffic.behaviours import COLUMNS
from simulator.traffic.trace import TraceError

#: Reasons that are no damage.
_UNASKED = {"where": "not chosen by `where`", "dates": "outside of `from` and `to`"}
_HARMLESS = (
    *(REPEATED, *MERGED.values(), "behaviours of users never shown an ad"),
    *(words + said for words in ("", "behaviours ") for said in _UNASKED.values()),
)
_SHOWN = "(select item_n as n, item_t as t from shown)"
_AT_ONCE = 1 << 18  # behaviours in memory together
_LOOKED_AT = 200_000  # impressions, about: enough to see how clicks are recorded
_FEW = 20  # clicks


@dataclass
class Collected:
    """A log's rows, columns in files, and what is known of them.

    Attributes:
        shown: (N,) the impressions; see `rows.shown_rows`.
        totals: what was counted of them.
        users: (U,) those who were shown something, ascending.
        done: (B,) by (user_id, time_ms): user_id, time_ms, item_id, category, action, scene, dwell_s; empty
            where impressions are the behaviours.
        ads: what items are.
        names: what was numbered, by kind.
        dropped: rows left out, by reason.
        remarks: what else a reader should know.
    """

    shown: Columns
    totals: Totals
    users: NDArray[np.uint64]
    done: Columns
    ads: AdColumns
    names: dict[str, Names] = field(default_factory=dict)
    dropped: dict[str, dict[str, Any]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def collect(stage: Stage) -> Collected:
    """Bring the staged rows together.

    Raises:
        TraceError: too many rows are damaged, all reasons together; or too many categories or advertisers.
    """
    mapping, db = stage.loaded.mapping, stage.db
    dropped: dict[str, dict[str, Any]] = {}
    for read in [*stage.reads["shown"], *stage.reads["done"]]:
        for reason, entry in read.dropped.items():
            _drop(dropped, reason, entry["rows"], entry["first"])
    for kind, words in (("shown", ""), ("done", "behaviours ")):
        for what, said in _UNASKED.items():
            rows = sum(read.unasked.get(what, 0) for read in stage.reads[kind])
            _drop(dropped, words + said, rows, [])
    remarks: list[str] = []
    _leave_out_strays(stage, dropped)
    if mapping.items is not None:
        read_items(stage, remarks)
        unknown = f"not exists (select 1 from items where {same('shown', 'item', 'items', 'item')})"
        listed = "(select item_n as n, item_t as t from items)"
        _remark_on_zeros(remarks, "items", unlike_by_zeros(db, _SHOWN, listed), "a row in [items]")
        _drop(dropped, "an item without a row in [items]", *stage.leave_out("shown", unknown))
    if not one(db, "select count(*) from shown"):
        why = max(dropped, key=lambda reason: int(dropped[reason]["rows"]), default=None)
        most = "" if why is None else f": {dropped[why]['rows']:,} were left out, {why}"
        raise TraceError(" ".join([f"The log has no usable rows, expected some{most}.", *remarks]))
    _remark_on_clicks(stage, remarks)
    _remark_on_money(stage, remarks)
    names: dict[str, Names | None] = {}
    names["users"] = number_ids(db, "people", [("(select user_n, user_t from shown)", "user")])
    names["items"] = make_items(db, mapping)
    if mapping.impressions.candidates is not None:
        _remark_on_zeros(remarks, "candidates", unlike_by_zeros(db, "ads", _SHOWN), "one that was shown")
    scenes = [("(select scene_n, scene_t from shown)", "scene")]
    if mapping.behaviours is not None:
        scenes.append(("(select scene_n, scene_t from done)", "scene"))
    names["scenes"] = number_ids(db, "scenes", scenes)
    _check_scenes(stage)
    ads = make_catalogue(stage, remarks)
    users = np.asarray(arrays(db, "select id from people order by id")["id"], np.uint64)
    shown, totals = shown_rows(stage, names)
    for reason, (rows, places) in totals.dropped.items():
        _drop(dropped, reason, rows, places)
    done = _done(stage, names, dropped, remarks) if mapping.behaviours is not None else {}
    _check_share(stage, dropped)
    numbered = {kind: found for kind, found in names.items() if found is not None}
    return Collected(shown, totals, users, done, ads, {**numbered, **ads.names}, dropped, remarks)


def _drop(dropped: dict[str, dict[str, Any]], reason: str, rows: int, places: list[str]) -> None:
    if rows:
        entry = dropped.setdefault(reason, {"rows": 0, "first": []})
        entry["rows"] += rows
        entry["first"] = [*entry["first"], *places][:PLACES_SHOWN]


def _leave_out_strays(stage: Stage, dropped: dict[str, dict[str, Any]]) -> None:
    """Rows of days far from all others: a wrong clock, or a test."""
    zone = stage.loaded.mapping.source.time_zone
    # Quarters of an hour first: to find the local day of each row would cost more than all else here.
    day = f"datediff('day', date '1970-01-01', (to_timestamp(quarter * 900) at time zone '{zone}')::date)"
    found = arrays(
        stage.db,
        f"select {day} as day, sum(rows)::bigint as rows from "
        "(select time_ms // 900000 as quarter, count(*) as rows from shown group by 1) group by 1 order by 1",
    )
    low, high = stray_bounds(found["day"], found["rows"], stage.loaded.mapping.limits.stray_days)
    if low is None or high is None:
        return
    begin, end = (
        f"epoch_ms((date '1970-01-01' + {d})::timestamp at time zone '{zone}')" for d in (low, high + 1)
    )
    rows, places = stage.leave_out("shown", f"time_ms < {begin} or time_ms >= {end}")
    _drop(dropped, "a stray time, empty days away from the rest of the log", rows, places)


def _remark_on_clicks(stage: Stage, remarks: list[str]) -> None:
    """Say so where clicks look like rows of their own: then each counts as an impression that was clicked."""
    mapped = stage.loaded.mapping.impressions
    if (mapped.click.equals is None and mapped.click.sql is None) or mapped.repeats != "first":
        return
    every = max(one(stage.db, "select count(*) from shown") // _LOOKED_AT, 1)
    # Users drawn by their hashes, with all their rows.
    clicks, after = stage.db.execute(
        "select count(*), count(*) filter (earlier_click = 0 and time_ms - earlier_ms < 3600000) from "
        "(select click, time_ms, lag(click) over earlier as earlier_click, lag(time_ms) over earlier "
        f"as earlier_ms from shown where hash(user_n, user_t) % {every} = 0 window earlier as "
        "(partition by user_n, user_t, item_n, item_t order by time_ms, click)) where click = 1"
    ).fetchall()[0]
    if after >= _FEW and 2 * after > clicks:
        remarks.append(
            f"{after / clicks:.0%} of clicks follow within an hour on a row of the same user and item "
            "without one. Are clicks rows of their own? Say what belongs together by impressions.request, "
            'and set impressions.repeats = "request".'
        )


def _remark_on_money(stage: Stage, remarks: list[str]) -> None:
    """Impressions whose bid or price is none are kept, and counted."""
    mapped = stage.loaded.mapping.impressions
    for name, column in (("bid", mapped.bid), ("price", mapped.price)):
        if column is not None:
            bare, rows = stage.db.execute(
                f"select count(*) filter ({name} is null), count(*) from shown"
            ).fetchall()[0]
            if bare:
                remarks.append(
                    f"{bare:,} of {rows:,} impressions have no {name} ({column.name}): missing, no number or "
                    "negative. They are kept without."
                )


def _check_scenes(stage: Stage) -> None:
    most = one(stage.db, "select max(id) from scenes")
    if most is not None and most > 255:
        raise TraceError(
            f"The log has {most + 1:,} scenes, expected at most 256. Map them: scene = {{column = ..., "
            "values = {...}}, or leave scene out."
        )


def _remark_on_zeros(remarks: list[str], what: str, count: int, known: str) -> None:
    if count:
        remarks.append(
            f"{count:,} {what} differ from {known} by zeros in front only. If they are the same, pad or "
            "strip one side's, as in {sql = \"ltrim(uid, '0')\"}."
        )


def _done(
    stage: Stage, names: dict[str, Names | None], dropped: dict[str, dict[str, Any]], remarks: list[str]
) -> Columns:
    item, things = id_of(names["items"], "d", "item", "things", "i")
    scene, scenes = id_of(names["scenes"], "d", "scene", "scenes", "c")
    tables = streamed(
        stage.db,
        f"select u.id as user_id, d.time_ms, coalesce({item}, 0) as item_id, "
        "coalesce(k.number, 0)::usmallint as category, d.action::utinyint as action, "
        f"coalesce({scene}, 0)::utinyint as scene, coalesce(d.dwell_s, 0)::usmallint as dwell_s "
        f"from did d join people u on {same('d', 'user', 'u')}{things}{scenes} left join kinds k on "
        f"{same('d', 'kind', 'k')} order by u.id, d.time_ms, d.file, d.row",
        _AT_ONCE,
    )
    found = gathered(({n: table[n].to_numpy() for n in table.column_names} for table in tables), stage.folder)
    kinds = {"user_id": "i8", "time_ms": "i8", **COLUMNS}
    found = found or {name: np.empty(0, kind) for name, kind in kinds.items()}
    lost = one(stage.db, "select count(*) from done") - len(found["time_ms"])
    if lost:
        done = "(select user_n as n, user_t as t from done)"
        count = unlike_by_zeros(stage.db, done, "people")
        _remark_on_zeros(remarks, "users of the behaviours", count, "one who was shown something")
        if not len(found["time_ms"]):
            raise TraceError(
                f"None of {lost:,} behaviours is of a user who was shown something, expected some. Map the "
                "column that holds the ids of the impressions. " + " ".join(remarks[-1:] * bool(count))
            )
    _drop(dropped, "behaviours of users never shown an ad", lost, [])
    return found


def _check_share(stage: Stage, dropped: dict[str, dict[str, Any]]) -> None:
    """All reasons together, over all files."""
    rows = sum(read.rows for reads in stage.reads.values() for read in reads)
    damage = {reason: entry for reason, entry in dropped.items() if reason not in _HARMLESS}
    lost, allowed = sum(entry["rows"] for entry in damage.values()), stage.loaded.mapping.limits.damaged
    if lost > max(ALWAYS_BORNE, allowed * rows):
        why = "; ".join(
            f"{entry['rows']:,} {reason}" + (f", first {entry['first'][0]}" if entry["first"] else "")
            for reason, entry in damage.items()
        )
        raise TraceError(
            f"{lost:,} of {rows:,} rows are damaged ({why}), expected at most {allowed:.2%}. Correct the "
            "files or the mapping, or raise limits.damaged."
        )
