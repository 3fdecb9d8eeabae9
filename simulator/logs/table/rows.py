"""A log's impressions in their order, as they come sorted from the staged rows: repeats, labels, requests.

Start at `shown_rows`. Rows pass through in tables, of which memory holds one, and end in files
(`simulator.scratch`).
Letters: N impressions, G listed candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from simulator.draws import uniform
from simulator.logs.table.ids import Names, id_of, same
from simulator.logs.table.staging.damage import PLACES_SHOWN
from simulator.logs.table.staging.sql import path_literal, streamed, whole_id
from simulator.logs.table.staging.stage import Stage
from simulator.scratch import gathered

Columns = dict[str, NDArray[Any]]

#: Clicks of a log without conversions become some, drawn: this share of them.
DRAWN_CONVERSIONS = 0.1
_DRAW_SEED = 0  # fixed: what is drawn into a log belongs to it, not to a run
_AT_ONCE = 1 << 18  # rows in memory together
_LISTS = 1 << 14  # the same, of rows with listed candidates
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
_MONEY = ("bid", "price")  # not a number where it is missing
_OPTIONAL = ("request", "position", "propensity", "bid", "price")
MERGED = {"merge": "repeats (user, item, time), merged", "request": "rows of one request and item, merged"}
REPEATED = "repeats (user, item, time)"
CONTRADICTING = "repeats (user, item, time) that contradict the first: another click or conversion"


@dataclass
class Totals:
    """What was counted of the rows while they passed.

    Attributes:
        rows, clicks, conversions: of all impressions.
        last_ms: the time of the last.
        dropped: repeats by reason, each with the number and the places of the first.
    """

    rows: int = 0
    clicks: int = 0
    conversions: int = 0
    last_ms: int = 0
    dropped: dict[str, tuple[int, list[str]]] = field(default_factory=dict)


def shown_rows(stage: Stage, names: dict[str, Names | None]) -> tuple[Columns, Totals]:
    """The impressions, (N,) each, in files, sorted by (time_ms, user_id, ad), and what was counted.

    Where the log names its requests, the rows of one lie together at the time of its first, and are sorted by
    (that time, user_id, request, ad).

    Returns:
        user_id, time_ms, ad, scene, click, conversion, action, dwell_s, and of request, position, propensity,
        bid and price what is mapped. Where candidates are listed: "given" (G,) the ads, row by row, and
        "given_end" (N,) where those of each row end; with named requests also "came", which sorts a
        request's rows as they came.
    """
    mapped, totals = stage.loaded.mapping.impressions, Totals()
    by_request = ("user_id", "ad", "request")
    keys = by_request if mapped.repeats == "request" else ("time_ms", "user_id", "ad")
    rows = _whole_groups(_sorted(stage, names, keys), keys)
    rows = _counted(_distinct(stage, rows, keys, totals), stage, totals)
    if mapped.request is not None:
        rows = _by_request(stage, rows)
    return gathered(_columns(rows), stage.folder), totals


def _sorted(stage: Stage, names: dict[str, Names | None], keys: tuple[str, ...]) -> Iterator[pa.Table]:
    """The usable rows with their items, sorted by keys, and where these are the same as they came."""
    mapped, db = stage.loaded.mapping.impressions, stage.db
    absent = {"propensity": mapped.logging_propensity}
    columns = [
        name
        for name in _SHOWN_COLUMNS
        if name not in _OPTIONAL or absent.get(name, getattr(mapped, name, None)) is not None
    ]
    empty = dict.fromkeys(_MONEY, "'nan'")
    fields = ", ".join(
        f"coalesce(s.{name}, {empty.get(name, '0')})::{_SHOWN_COLUMNS[name]} as {name}" for name in columns
    )
    user, people = id_of(names["users"], "s", "user", "people", "u")
    scene, scenes = id_of(names["scenes"], "s", "scene", "scenes", "c")
    item = "s.item_n = i.n" if names["items"] is None else same("s", "item", "i")
    listed = mapped.candidates is not None
    query = (
        f"select {user} as user_id, s.time_ms, i.ad::integer as ad, coalesce({scene}, 0)::utinyint as scene, "
        f"{fields}, s.file, s.row{', s.candidates' if listed else ''} "
        f"from shown s{people} join things i on {item}{scenes} "
        f"order by {', '.join(dict.fromkeys([*keys, 'time_ms', 'file', 'row']))}"
    )
    if not listed:
        return streamed(db, query, _AT_ONCE)
    return _with_ads(stage, streamed(db, query, _LISTS))


def _with_ads(stage: Stage, rows: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Rows with the ads of their listed candidates, "given", in place of the raw "candidates"."""
    whole = whole_id("c")
    known = stage.db.sql(
        f"select raw, i.ad::integer as ad from (select raw, {whole} as c_n, "
        f"case when {whole} is null then c end as c_t "
        "from (select raw, trim(raw) as c from (select distinct unnest(candidates) as raw from shown))) p "
        f"join things i on {same('p', 'c', 'i')} order by raw"
    ).to_arrow_table()
    raw, ad = known["raw"].combine_chunks(), known["ad"].to_numpy()
    for table in rows:
        lists = table["candidates"].combine_chunks()
        count = pc.fill_null(lists.value_lengths(), 0).to_numpy()
        found = pc.index_in(lists.flatten(), value_set=raw)
        there = found.is_valid().to_numpy(zero_copy_only=False)
        owner = np.repeat(np.arange(len(table)), count)[there]
        ends = np.cumsum(np.bincount(owner, minlength=len(table)), dtype=np.int32)
        ads = pa.array(ad[found.drop_null().to_numpy()])
        given = pa.ListArray.from_arrays(pa.array(np.concatenate([[0], ends]).astype(np.int32)), ads)
        yield table.drop_columns("candidates").append_column("given", given)


def _whole_groups(tables: Iterable[pa.Table], keys: tuple[str, ...]) -> Iterator[pa.Table]:
    """The same rows, cut so that those with the same keys, which lie together, are in one table."""
    waiting: list[pa.Table] = []
    for table in tables:
        together = pa.concat_tables([*waiting, table]) if waiting else table
        other = np.logical_or.reduce([(c := together[key].to_numpy()) != c[-1] for key in keys])
        cut = int(np.flatnonzero(other)[-1]) + 1 if other.any() else 0
        if cut:
            yield together.slice(0, cut)
        waiting = [together.slice(cut)]
    yield from waiting


def _distinct(
    stage: Stage, tables: Iterable[pa.Table], keys: tuple[str, ...], totals: Totals
) -> Iterator[pa.Table]:
    """Of rows with the same keys the first in the files' order, or all of them together."""
    repeats = stage.loaded.mapping.impressions.repeats
    plain = contrary = 0
    places: list[str] = []
    for table in tables:
        new = np.ones(len(table), np.bool_)
        new[1:] = np.logical_or.reduce([(c := table[key].to_numpy())[1:] != c[:-1] for key in keys])
        if new.all():
            yield table
            continue
        start = np.flatnonzero(new)
        if repeats == "first":
            first = start[np.cumsum(new) - 1]
            labels = [table[name].to_numpy() for name in ("click", "conversion")]
            other = np.logical_or.reduce([label != label[first] for label in labels])
            at = np.flatnonzero(other)[: PLACES_SHOWN - len(places)].tolist()
            places += [stage.place("shown", table["file"][i].as_py(), table["row"][i].as_py()) for i in at]
            contrary += int(other.sum())
        plain += int((~new).sum())
        table_of_firsts = table.filter(pa.array(new))
        if repeats != "first":
            for name in ("click", "conversion", "action"):
                most = pa.array(np.maximum.reduceat(table[name].to_numpy(), start))
                table_of_firsts = table_of_firsts.set_column(table.column_names.index(name), name, most)
        yield table_of_firsts
    reason = REPEATED if repeats == "first" else MERGED[repeats]
    totals.dropped = {reason: (plain - contrary, []), CONTRADICTING: (contrary, places)}


def _counted(tables: Iterable[pa.Table], stage: Stage, totals: Totals) -> Iterator[pa.Table]:
    """The same rows, with drawn conversions where the log has none, and counted; only a click converts."""
    drawn = stage.loaded.mapping.impressions.conversion is None
    for table in tables:
        click, conversion = table["click"].to_numpy(), table["conversion"].to_numpy()
        if drawn:
            ids = (table[name].to_numpy() for name in ("user_id", "ad", "time_ms"))
            conversion = (uniform(_DRAW_SEED, "conversion", *ids) < DRAWN_CONVERSIONS).astype(np.uint8)
        conversion = conversion & click
        totals.rows += len(table)
        totals.clicks += int(click.sum())
        totals.conversions += int(conversion.sum())
        totals.last_ms = max(totals.last_ms, int(table["time_ms"].to_numpy().max()))
        yield table.set_column(table.column_names.index("conversion"), "conversion", pa.array(conversion))


def _by_request(stage: Stage, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Rows of one request together, at the time of its first."""
    stage.spill.mkdir(exist_ok=True)
    path = stage.spill / "ordered.parquet"
    table = next(tables)
    with pq.ParquetWriter(path, table.schema, compression="none", write_statistics=False) as writer:
        for each in chain([table], tables):
            writer.write_table(each)
    rows = f"read_parquet({path_literal(path)})"
    yield from streamed(
        stage.db,
        f"select o.* replace (began as time_ms), o.time_ms as came_ms from {rows} o join "
        f"(select request, min(time_ms) as began from {rows} group by request) using (request) "
        "order by began, user_id, request, ad, came_ms, file, row",
        _LISTS if "given" in table.column_names else _AT_ONCE,
    )


def _columns(tables: Iterable[pa.Table]) -> Iterator[Columns]:
    """What stays of the rows, as numpy has it."""
    listed = 0
    for table in tables:
        names = [name for name in table.column_names if name not in ("given", "came_ms", "file", "row")]
        columns = {name: table[name].to_numpy() for name in names}
        if "given" in table.column_names:
            lists = table["given"].combine_chunks()
            columns["given"] = lists.flatten().to_numpy()
            columns["given_end"] = listed + np.cumsum(np.diff(lists.offsets.to_numpy()), dtype=np.int64)
            listed += len(columns["given"])
            if "came_ms" in table.column_names:
                came = [table[name].to_numpy().astype(np.int64) for name in ("came_ms", "ad", "file", "row")]
                columns["came"] = np.stack(came, axis=1)
        yield columns
