"""The ads of a log: what the items' table and the rows say of each item, numbered.

Start at `make_catalogue`. Letters: A ads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from simulator.logs.table.ids import Names, number_advertisers, number_categories, same
from simulator.logs.table.staging.damage import Read
from simulator.logs.table.staging.expressions import refuse_unusable
from simulator.logs.table.staging.fields import Fields, columns_read
from simulator.logs.table.staging.mapping import Column
from simulator.logs.table.staging.sources import file_digest, find_files, numbered, open_file
from simulator.logs.table.staging.sql import arrays, one
from simulator.logs.table.staging.stage import Stage

ADVERTISERS = 200  #: where the log names none


@dataclass(frozen=True)
class AdColumns:
    """Ads by number, (A,) each, how many advertisers there are, the department of each category where items
    name it, and what numbers were named."""

    item_id: NDArray[np.uint64]
    author: NDArray[np.int64]
    category: NDArray[np.uint16]
    advertiser: NDArray[np.uint16]
    advertisers: int
    departments: tuple[int, ...]
    names: dict[str, Names]


def read_items(stage: Stage, remarks: list[str]) -> None:
    """Make the table `items` of the mapping's files, of which each item's first row counts."""
    mapping, db = stage.loaded.mapping, stage.db
    form = mapping.items
    assert form is not None
    category, department = mapping.category_of_items, form.department
    advertiser = mapping.impressions.advertiser
    advertiser = advertiser if advertiser and advertiser.of_items else None
    key = Column(column=form.key)
    arrays(
        db,
        "create or replace temp table raw_items (place bigint, item_n bigint, item_t varchar, "
        "category_n bigint, category_t varchar, advertiser_n bigint, advertiser_t varchar, "
        "department_n bigint, department_t varchar)",
    )
    read = 0
    for path in find_files(form, stage.loaded.folder, "items"):
        raw = open_file(path, form)
        wanted, _ = columns_read([key, category, advertiser, department], raw.names)
        for batch, _ in raw.batches(wanted, [form.key], [form.key]):
            db.register("batch", numbered(batch, read))
            relation = raw.relation("batch", wanted)
            types = {name: str(t) for name, t, *_ in db.execute(f"describe from {relation}").fetchall()}
            sql = Fields(types, mapping.source.time_zone)
            owners = *sql.pair(advertiser), *sql.pair(department)
            columns = [*sql.pair(key), *sql.category(category), *owners]
            try:
                db.execute(f"insert into raw_items select _row, {', '.join(columns)} from {relation}")
            except duckdb.Error:
                refuse_unusable(db, stage.loaded, "items", relation, raw.names)
                raise
            db.unregister("batch")
            read += len(batch)
        size = path.stat().st_size
        stage.item_reads.append(Read(path.name, size, file_digest(path), read, list(raw.lost)))
    names = [f"{name}_{kind}" for name in ("category", "advertiser", "department") for kind in ("n", "t")]
    firsts = ", ".join(f"arg_min_null({name}, place) as {name}" for name in names)
    mapped = {"category": category, "advertiser": advertiser, "department": department}
    contrary = "".join(
        f", count(distinct hash({name}_n, {name}_t)) > 1 as contrary_{name}"
        for name, column in mapped.items()
        if column is not None
    )
    db.execute(
        f"create or replace temp table items as select item_n, item_t, {firsts}{contrary} from raw_items "
        "where item_n is not null or item_t is not null group by item_n, item_t"
    )
    for name, column in mapped.items():
        items = 0 if column is None else one(db, f"select count(*) from items where contrary_{name}")
        if column is not None and items:
            remarks.append(
                f"{items:,} items have rows of more than one {name} ({column.name.removeprefix('items.')}); "
                "the first of each counts."
            )


def make_catalogue(stage: Stage, remarks: list[str]) -> AdColumns:
    """The ads, once the table `things` is made; makes the view `did` and the table `kinds` for behaviours.

    Raises:
        TraceError: too many categories or advertisers.
    """
    mapping, db = stage.loaded.mapping, stage.db
    shown, did = mapping.impressions, mapping.behaviours
    _of_items(stage, "category", shown.category, remarks)
    _of_items(stage, "advertiser", shown.advertiser, remarks)
    of_ads = "select c.n, c.t from things left join item_{} c on {} where ad is not null"
    kinds = of_ads.format("category", same("c", "item", "things"))
    if did is not None:
        own = did.category is not None and not did.category.of_items
        db.execute(
            "create or replace temp view did as select done.*, "
            + ("category_n as kind_n, category_t as kind_t from done" if own else
               "c.n as kind_n, c.t as kind_t from done left join item_category c "
               f"on {same('done', 'item', 'c', 'item')}")
        )  # fmt: skip
        kinds += " union all select kind_n, kind_t from did"
    raw_kinds, rows = _number(db, "kinds", kinds)
    number, kind_names = number_categories(raw_kinds, rows, shown.category.most if shown.category else None)
    db.register("small", pa.table({"own": np.arange(len(number)), "shared": number}))
    db.execute("update kinds set number = shared from small where number = own")
    db.unregister("small")
    owner_names, _ = _number(db, "owners", of_ads.format("advertiser", same("c", "item", "things")))
    hashed = shown.advertiser.hashed if shown.advertiser else ADVERTISERS
    advertiser, advertisers = number_advertisers(owner_names, hashed)
    ads = arrays(
        db,
        "select things.id as item_id, coalesce(k.number, 0) as category, o.number as author from things "
        f"left join item_category c on {same('c', 'item', 'things')} "
        f"left join kinds k on {same('c', '', 'k')} "
        f"left join item_advertiser a on {same('a', 'item', 'things')} "
        f"left join owners o on {same('a', '', 'o')} "
        "where ad is not null order by ad",
    )
    if shown.category is not None and kind_names[0] is None:
        bare = int((ads["category"] == 0).sum())
        remarks.append(f"{bare:,} of {len(ads['category']):,} items have no category; they share one.")
    author = ads["author"].astype(np.int64)
    named = {"categories": Names(np.arange(len(kind_names)), kind_names)} if shown.category else {}
    departments: tuple[int, ...] = ()
    if mapping.items is not None and mapping.items.department is not None:
        departments, named["departments"] = _departments(stage, len(kind_names), remarks)
    if shown.advertiser:
        named["advertisers"] = Names(advertiser.astype(np.int64), owner_names)
    return AdColumns(
        ads["item_id"].astype(np.uint64),
        author,
        ads["category"].astype(np.uint16),
        advertiser[author],
        advertisers,
        departments,
        named,
    )


def _departments(stage: Stage, categories: int, remarks: list[str]) -> tuple[tuple[int, ...], Names]:
    """The department of each category, that of most of its items, and the departments' names."""
    found = stage.db.execute(
        "select k.number, coalesce(department_t, department_n::varchar, '') as name from items "
        f"join kinds k on {same('items', 'category', 'k')} group by all order by count(*) desc, name"
    ).fetchall()
    of = dict(reversed(found))  # the first of each category, which is that of most
    divided = sum(name != of[category] for category, name in dict(found).items())
    if divided:
        remarks.append(f"{divided:,} categories have items of another department than most of theirs.")
    names, number = np.unique([of.get(category, "") for category in range(categories)], return_inverse=True)
    return tuple(number.tolist()), Names(np.arange(len(names)), names.tolist())


def _of_items(stage: Stage, name: str, mapped: Column | None, remarks: list[str]) -> None:
    """Make item_NAME (item_n, item_t, n, t): from the items' table, or the first row that says it."""
    view, db = f"item_{name}", stage.db
    if mapped is not None and mapped.of_items:
        db.execute(
            f"create or replace temp view {view} as "
            f"select item_n, item_t, {name}_n as n, {name}_t as t from items"
        )
        return
    if mapped is None and name == "advertiser":
        # Every item is its own advertiser, and they are hashed into a few.
        db.execute(
            f"create or replace temp table {view} as select n as item_n, t as item_t, n, t from things "
            "where ad is not null"
        )
        return
    # Where a row stands, as one number: its file, then its row. Behaviours come after all impressions.
    place = "((file::bigint << 45) | row)"
    sources = [f"select item_n, item_t, {name}_n, {name}_t, {place} as place from shown"]
    did = stage.loaded.mapping.behaviours
    if name == "category" and did is not None and did.item is not None and did.category is not None:
        sources.append(f"select item_n, item_t, category_n, category_t, 1::bigint << 62 | {place} from done")
    union, both = " union all ".join(sources), f"hash({name}_n, {name}_t)"
    db.execute(
        f"create or replace temp table {view} as select item_n, item_t, "
        f"arg_min_null({name}_n, place) as n, arg_min_null({name}_t, place) as t, "
        f"min({both}) <> max({both}) as contrary from ({union}) group by item_n, item_t"
    )
    contrary = one(db, f"select count(*) from {view} where contrary")
    if contrary and mapped is not None:
        remarks.append(f"{contrary:,} items have more than one {name}; the first of each counts.")


def _number(db: Any, table: str, found: str) -> tuple[list[str | None], NDArray[np.int64]]:
    """Make a table (n, t, number) of a query's raw ids: none at all first, then whole numbers, then text.

    Returns:
        Their names by number, and how many rows have each.
    """
    db.execute(
        f"create or replace temp table {table} as select n, t, count(*) as rows, "
        "row_number() over (order by t is not null, n nulls first, t) - 1 as number "
        f"from ({found}) group by n, t"
    )
    ids = db.execute(f"select coalesce(t, n::varchar) as name, rows from {table} order by number").fetchall()
    return [name for name, _ in ids], np.array([count for _, count in ids], np.int64)
