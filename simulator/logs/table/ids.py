"""Ids of any type as the numbers that a log carries. Whole numbers stay; text is numbered in its order.

Digits with zeros in front are text, since they tell 007 from 7.

A raw id stands in two columns, `_n` and `_t`: a whole number, or text.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import duckdb
import numpy as np
from numpy.typing import NDArray

from simulator.draws import bits
from simulator.logs.table.staging.mapping import Mapping
from simulator.logs.table.staging.sql import arrays, one, whole_id
from simulator.traffic.trace import TraceError

#: Categories are u2 in behaviours and where models are trained.
MOST_CATEGORIES = 65_535
MOST_ADVERTISERS = 65_535
_NONE = -(2**63) + 1  # no id
_ADVERTISER_SEED = 0  # fixed: who advertises what belongs to the log, not to a run


@dataclass(frozen=True)
class Names:
    """What became a number: the raw ids, as text, and the number of each."""

    number: NDArray[np.int64]
    name: list[str | None]


def number_ids(db: duckdb.DuckDBPyConnection, table: str, parts: list[tuple[str, str]]) -> Names | None:
    """Make a table (n, t, id) of all ids of some columns.

    Args:
        db: holds the staged rows.
        table: the table to make.
        parts: what to take ids from, and the columns' name before `_n` and `_t`.

    Returns:
        The names of the ids, where some are text and so all were numbered; None where numbers stay.
    """
    union = " union ".join(f"select {name}_n as n, {name}_t as t from {source}" for source, name in parts)
    raw = f"raw_{table}"
    db.execute(
        f"create or replace temp table {raw} as select distinct n, t from ({union}) "
        "where n is not null or t is not null"
    )
    text = one(db, f"select count(t) from {raw}")
    number = "row_number() over (order by n nulls last, t) - 1" if text else "n"
    db.execute(f"create or replace temp table {table} as select n, t, {number} as id from {raw}")
    if not text:
        return None
    found = arrays(db, f"select id, coalesce(t, n::varchar) as name from {table} order by id")
    return Names(found["id"], found["name"].tolist())


def id_of(names: Names | None, left: str, name: str, table: str, alias: str) -> tuple[str, str]:
    """SQL of a raw id's number, and of the join that finds it in a table of `number_ids`; none where numbers
    stay."""
    if names is None:
        return f"{left}.{name}_n", ""
    return f"{alias}.id", f" left join {table} {alias} on {same(left, name, alias)}"


def same(left: str, name: str, right: str, other: str = "") -> str:
    """SQL: the columns `name_n`, `name_t` of a table are the `n`, `t` (`other_n`, `other_t`) of another.

    Two equalities, because DuckDB joins by `is not distinct from` row by row.
    """
    n, t = (f"{other}_n", f"{other}_t") if other else ("n", "t")
    own = f"{left}.{name}_" if name else f"{left}."
    return (
        f"coalesce({own}n, {_NONE}) = coalesce({right}.{n}, {_NONE}) "
        f"and coalesce({own}t, '') = coalesce({right}.{t}, '')"
    )


def unlike_by_zeros(db: duckdb.DuckDBPyConnection, ids: str, known: str) -> int:
    """How many ids are not known, and would be without the zeros in front of theirs or of the known ones.

    Args:
        ids, known: SQL of relations with columns n and t.
    """
    padded = " union all ".join(f"(select 1 from {each} where t like '0%' limit 1)" for each in (ids, known))
    if not one(db, f"select count(*) from ({padded})"):
        return 0
    bare = "select distinct ltrim(coalesce(n::varchar, t), '0') as bare from"
    others = f"(select n, t from {ids} except select n, t from {known})"
    return int(one(db, f"select count(*) from ({bare} {others}) semi join ({bare} {known}) using (bare)"))


def make_items(db: duckdb.DuckDBPyConnection, mapping: Mapping) -> Names | None:
    """Make the table `things` (n, t, id, ad): every item; `ad` numbers those that were or could be shown."""
    shown = "(select item_n, item_t from shown)"
    parts = [(shown, "item")]
    if mapping.impressions.candidates is not None:
        text = whole_id("c")
        parts.append(
            (
                f"(select {text} as item_n, case when {text} is null then nullif(c, '') end as item_t from "
                "(select trim(unnest(candidates)) as c from shown))",
                "item",
            )
        )
    number_ids(db, "ads", parts)
    if mapping.behaviours is not None and mapping.behaviours.item is not None:
        parts.append(("(select item_n, item_t from done)", "item"))
    names = number_ids(db, "every", parts)
    db.execute(
        "create or replace temp table things as select every.n, every.t, every.id, "
        "case when ads.id is null then null else row_number() over "
        "(partition by ads.id is null order by every.id) - 1 end as ad "
        f"from every left join ads on {same('every', '', 'ads')}"
    )
    return names


def number_categories(
    names: list[str | None], rows: NDArray[np.int64], most: int | None
) -> tuple[NDArray[np.int64], list[str | None]]:
    """Categories as numbers from 0 in their order; of so many frequent ones, with one more for all others.

    Args:
        names: of the K distinct raw categories.
        rows: (K,) how many rows have each.
        most: so many frequent ones keep a number of their own; None for all.

    Returns:
        (K,) numbers, and the names by number.

    Raises:
        TraceError: more than models can take.
    """
    if most is not None and len(names) > most:
        kept = np.zeros(len(names), np.bool_)
        kept[np.lexsort((np.arange(len(names)), -rows))[:most]] = True
        number = np.where(kept, np.cumsum(kept) - 1, most)
        return number, [*(n for n, k in zip(names, kept, strict=True) if k), "(others)"]
    if len(names) > MOST_CATEGORIES:
        raise TraceError(
            f"The log has {len(names):,} categories, expected at most {MOST_CATEGORIES:,}. Keep the "
            "frequent ones: category = {column = ..., most = 60000}."
        )
    return np.arange(len(names)), names


def number_advertisers(names: list[str | None], hashed: int | None) -> tuple[NDArray[np.uint16], int]:
    """The advertiser of each distinct raw one, and how many there are.

    Raises:
        TraceError: more than fit.
    """
    if hashed is None:
        if len(names) > MOST_ADVERTISERS:
            raise TraceError(
                f"The log has {len(names):,} advertisers, expected at most {MOST_ADVERTISERS:,}. Hash them "
                "into fewer: advertiser = {column = ..., hashed = 200}."
            )
        return np.arange(len(names), dtype=np.uint16), len(names)
    keys = np.array([_key(name) for name in names], np.int64)
    return (bits(_ADVERTISER_SEED, "author", keys) % np.uint64(hashed)).astype(np.uint16), hashed


def _key(name: str | None) -> int:
    """A whole number is its own key; text is digested to one."""
    if not name:
        return -1
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,18})", name, re.ASCII) and -(1 << 63) <= int(name) < 1 << 63:
        return int(name)
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
