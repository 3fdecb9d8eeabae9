"""Ids of any type as the numbers that a log carries. Whole numbers stay; text is numbered in its order.

A raw id stands in two columns, `_n` and `_t`: a whole number, or text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from simulator.draws import bits
from simulator.logs.table.fields import WHOLE
from simulator.logs.table.mapping import Mapping
from simulator.traffic.trace import TraceError

#: Categories of ads are i2 where models are trained.
MOST_CATEGORIES = 32_767
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


def make_items(db: duckdb.DuckDBPyConnection, mapping: Mapping) -> Names | None:
    """Make the table `things` (n, t, id, ad): every item; `ad` numbers those that were or could be shown."""
    shown = "(select item_n, item_t from shown)"
    parts = [(shown, "item")]
    if mapping.impressions.candidates is not None:
        text = f"case when regexp_full_match(c, '{WHOLE}') then try_cast(c as bigint) end"
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
    found: dict[str, NDArray[Any]], rows: NDArray[np.int64], most: int | None
) -> tuple[NDArray[np.int64], list[str | None]]:
    """Categories as numbers from 0: what has none first, then whole numbers, then text.

    Args:
        found: "n", "t": the distinct raw categories (K,), masked where missing.
        rows: (K,) how many rows have each.
        most: so many frequent ones keep a number of their own; None for all.

    Returns:
        (K,) numbers, and the names by number.

    Raises:
        TraceError: more than models can take.
    """
    name: list[str | None] = [
        None if n is None and t is None else str(t if t is not None else n)
        for n, t in zip(plain(found["n"]), plain(found["t"]), strict=True)
    ]
    if most is not None and len(name) > most:
        kept = np.zeros(len(name), np.bool_)
        kept[np.lexsort((np.arange(len(name)), -rows))[:most]] = True
        number = np.where(kept, np.cumsum(kept) - 1, most)
        return number, [*(n for n, k in zip(name, kept, strict=True) if k), "(others)"]
    if len(name) > MOST_CATEGORIES:
        raise TraceError(
            f"The log has {len(name):,} categories, expected at most {MOST_CATEGORIES:,}. Keep the "
            "frequent ones: category = {column = ..., most = 30000}."
        )
    return np.arange(len(name)), name


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
    try:
        return int(name or -1)
    except ValueError:
        digest = hashlib.blake2b((name or "").encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") >> 1


def plain(column: NDArray[Any]) -> list[Any]:
    """A column as Python values, None where missing; numpy has neither for masked text."""
    if not isinstance(column, np.ma.MaskedArray):
        return list(column.tolist())
    missing = np.ma.getmaskarray(column)
    return [None if gone else value for value, gone in zip(column.data.tolist(), missing, strict=True)]


def arrays(db: duckdb.DuckDBPyConnection, query: str) -> dict[str, NDArray[Any]]:
    """A query's columns; masked where there are nulls."""
    found: Any = db.execute(query).fetchnumpy()
    columns: dict[str, NDArray[Any]] = found
    return columns


def streamed(db: duckdb.DuckDBPyConnection, query: str, rows: int) -> Iterator[pa.Table]:
    """The rows of a query, at most `rows` of them together; no other query may come in between."""
    for batch in db.sql(query).to_arrow_reader(rows):
        if len(batch):
            yield pa.Table.from_batches([batch])


def one(db: duckdb.DuckDBPyConnection, query: str) -> Any:
    """A query's only value."""
    row = db.execute(query).fetchone()
    return row[0] if row else None
