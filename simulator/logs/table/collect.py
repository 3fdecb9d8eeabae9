"""Staged rows as arrays: stray days and unknown items left out, ids numbered, rows sorted, repeats counted.

Start at `collect`. Letters: N impressions, B behaviours, A ads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.logs.table.catalogue import AdColumns, make_catalogue, read_items
from simulator.logs.table.fields import WHOLE
from simulator.logs.table.ids import Names, arrays, id_of, make_items, number_ids, one, same, streamed
from simulator.logs.table.stage import ALWAYS_BORNE, PLACES_SHOWN, Stage
from simulator.logs.table.strays import stray_bounds
from simulator.traffic.trace import TraceError

_SHOWN_COLUMNS = {
    "click": "utinyint",
    "conversion": "utinyint",
    "action": "utinyint",
    "dwell_s": "usmallint",
    "request": "ubigint",
    "position": "bigint",
    "propensity": "double",
    "bid": "double",
    "price": "double",
}
#: Of these, what the mapping may leave out.
_OPTIONAL = ("request", "position", "propensity", "bid", "price")


@dataclass
class Collected:
    """A log's rows. `shown` (N,) sorted by (time_ms, user_id, ad), `done` (B,) by (user_id, time_ms).

    Attributes:
        shown: user_id, time_ms, ad, scene, and what is mapped of click, conversion, action, ...
        done: user_id, time_ms, item_id, category, action, scene, dwell_s; empty where impressions are the
            behaviours.
        given: the "row" of `shown` and the "ad" of each listed candidate; empty where there are none.
        ads: what items are.
        names: what was numbered, by kind.
        dropped: rows left out, by reason.
        remarks: what else a reader should know.
    """

    shown: dict[str, NDArray[Any]]
    done: dict[str, NDArray[Any]]
    given: dict[str, NDArray[Any]]
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
    remarks: list[str] = []
    _leave_out_strays(stage, dropped)
    if mapping.items is not None:
        read_items(stage, remarks)
        unknown = f"not exists (select 1 from items where {same('shown', 'item', 'items', 'item')})"
        _drop(dropped, "an item without a row in [items]", *stage.leave_out("shown", unknown))
    if not one(db, "select count(*) from shown"):
        raise TraceError("The log has no usable rows, expected some. Check what was left out, and why.")
    names: dict[str, Names | None] = {}
    names["users"] = number_ids(db, "people", [("(select user_n, user_t from shown)", "user")])
    names["items"] = make_items(db, mapping)
    scenes = [("(select scene_n, scene_t from shown)", "scene")]
    if mapping.behaviours is not None:
        scenes.append(("(select scene_n, scene_t from done)", "scene"))
    names["scenes"] = number_ids(db, "scenes", scenes)
    _check_scenes(stage)
    ads = make_catalogue(stage, remarks)
    shown = _shown(stage, names)
    given = _given(stage, names) if mapping.impressions.candidates is not None else {}
    shown, given = _distinct(stage, shown, given, dropped)
    done = _done(stage, names, dropped) if mapping.behaviours is not None else {}
    _check_share(stage, dropped)
    numbered = {kind: found for kind, found in names.items() if found is not None}
    return Collected(shown, done, given, ads, {**numbered, **ads.names}, dropped, remarks)


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


def _check_scenes(stage: Stage) -> None:
    most = one(stage.db, "select max(id) from scenes")
    if most is not None and most > 255:
        raise TraceError(
            f"The log has {most + 1:,} scenes, expected at most 256. Map them: scene = {{column = ..., "
            "values = {...}}, or leave scene out."
        )


def _shown(stage: Stage, names: dict[str, Names | None]) -> dict[str, NDArray[Any]]:
    mapped = stage.loaded.mapping.impressions
    absent = {"propensity": mapped.logging_propensity}
    columns = [
        name
        for name in _SHOWN_COLUMNS
        if name not in _OPTIONAL or absent.get(name, getattr(mapped, name, None)) is not None
    ]
    fields = ", ".join(f"coalesce(s.{name}, 0)::{_SHOWN_COLUMNS[name]} as {name}" for name in columns)
    user, rows, order = _numbered(names)
    scene, scenes = id_of(names["scenes"], "s", "scene", "scenes", "c")
    return streamed(
        stage.db,
        f"select {user} as user_id, s.time_ms, i.ad::integer as ad, coalesce({scene}, 0)::utinyint as scene, "
        f"{fields}, s.file, s.row from {rows}{scenes} order by {order}",
    )


def _numbered(names: dict[str, Names | None]) -> tuple[str, str, str]:
    """SQL of a row's user, of the rows `s` with their items `i`, and of their order."""
    user, people = id_of(names["users"], "s", "user", "people", "u")
    item = "s.item_n = i.n" if names["items"] is None else same("s", "item", "i")
    return user, f"shown s{people} join things i on {item}", f"s.time_ms, {user}, i.ad, s.file, s.row"


def _given(stage: Stage, names: dict[str, Names | None]) -> dict[str, NDArray[Any]]:
    """The listed candidates, by the rows of `_shown`'s order."""
    text = f"case when regexp_full_match(c, '{WHOLE}') then try_cast(c as bigint) end"
    _, rows, order = _numbered(names)
    return streamed(
        stage.db,
        f"with ordered as (select s.candidates, row_number() over (order by {order}) - 1 as number "
        f"from {rows}), listed as (select number, trim(unnest(candidates)) as c, "
        "generate_subscripts(candidates, 1) as place from ordered), "
        f"pairs as (select number, place, {text} as c_n, case when {text} is null then c end as c_t "
        "from listed) "
        f"select number as row, i.ad from pairs p join things i on {same('p', 'c', 'i')} "
        "order by number, place",
    )


def _distinct(
    stage: Stage,
    shown: dict[str, NDArray[Any]],
    given: dict[str, NDArray[Any]],
    dropped: dict[str, dict[str, Any]],
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Of rows that share (user, item, time) the first in the files' order, or all of them together.

    Or of those that share (user, item, request), wherever clicks are rows of their own.
    """
    repeats = stage.loaded.mapping.impressions.repeats
    if repeats == "request":
        keys = [shown["user_id"], shown["ad"], shown["request"]]
        first = _firsts(keys, np.lexsort(keys))  # stable: the earliest of a request comes first
    else:
        # Sorted by these already.
        keys = [shown["user_id"], shown["ad"], shown["time_ms"]]
        first = _firsts(keys, np.arange(len(shown["ad"])))
    again = first != np.arange(len(first))
    file, row = shown.pop("file"), shown.pop("row")
    labels = ("click", "conversion")
    if again.any():
        if repeats != "first":
            for name in (*labels, "action"):
                np.maximum.at(shown[name], first[again], shown[name][again])
            _drop(dropped, MERGED[repeats], int(again.sum()), [])
        else:
            contrary = again & np.logical_or.reduce([shown[n] != shown[n][first] for n in labels])
            at = np.flatnonzero(contrary)[:PLACES_SHOWN]
            places = [stage.place("shown", int(file[i]), int(row[i])) for i in at]
            _drop(dropped, "repeats (user, item, time)", int((again & ~contrary).sum()), [])
            _drop(dropped, CONTRADICTING, int(contrary.sum()), places)
        if given:
            number = np.cumsum(~again) - 1
            kept = ~again[given["row"]]
            given = {"row": number[given["row"]][kept], "ad": given["ad"][kept]}
        shown = {name: column[~again] for name, column in shown.items()}
    return shown, given


def _firsts(keys: list[NDArray[Any]], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) the first row that has the same keys as each row, in an order that puts them together."""
    new = np.ones(len(order), np.bool_)
    new[1:] = np.logical_or.reduce([key[order[1:]] != key[order[:-1]] for key in keys])
    first = np.empty(len(order), np.int64)
    first[order] = order[np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))]
    return first


MERGED = {"merge": "repeats (user, item, time), merged", "request": "rows of one request and item, merged"}
CONTRADICTING = "repeats (user, item, time) that contradict the first: another click or conversion"
#: Reasons that are no damage.
_HARMLESS = (
    "repeats (user, item, time)",
    *MERGED.values(),
    "behaviours of users never shown an ad",
)


def _done(
    stage: Stage, names: dict[str, Names | None], dropped: dict[str, dict[str, Any]]
) -> dict[str, NDArray[Any]]:
    item, things = id_of(names["items"], "d", "item", "things", "i")
    scene, scenes = id_of(names["scenes"], "d", "scene", "scenes", "c")
    found = streamed(
        stage.db,
        f"select u.id as user_id, d.time_ms, coalesce({item}, 0) as item_id, "
        "coalesce(k.number, 0)::usmallint as category, d.action::utinyint as action, "
        f"coalesce({scene}, 0)::utinyint as scene, coalesce(d.dwell_s, 0)::usmallint as dwell_s "
        f"from did d join people u on {same('d', 'user', 'u')}{things}{scenes} left join kinds k on "
        f"{same('d', 'kind', 'k')} order by u.id, d.time_ms, d.file, d.row",
    )
    all_rows = one(stage.db, "select count(*) from done")
    _drop(dropped, "behaviours of users never shown an ad", all_rows - len(found["time_ms"]), [])
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
