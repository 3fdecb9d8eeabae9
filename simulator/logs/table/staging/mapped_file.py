"""One raw file, mapped: its batches become staged rows, those that cannot be used left out and counted.

Start at `MappedFile.stage`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from simulator.logs.table.staging.damage import PLACES_SHOWN, Damage, Read, note_damage
from simulator.logs.table.staging.expressions import Expression, refuse_unusable
from simulator.logs.table.staging.fields import Reason, columns_read, constants, derived, row_of
from simulator.logs.table.staging.load import Loaded
from simulator.logs.table.staging.mapping import Behaviours, Column, Impressions, Source, Time
from simulator.logs.table.staging.sources import RawFile, file_digest, numbered
from simulator.logs.table.staging.sql import one
from simulator.logs.table.staging.unfold import EACH, PLACE, unfolded
from simulator.traffic.trace import TraceError

_IDS = ("user", "item", "request", "category", "advertiser", "scene")  # fields that tell 007 from 7
_LISTS_AT_ONCE = 1 << 14  # rows that hold lists
_TYPES = {
    "row": pa.int64(),
    "user_n": pa.int64(), "user_t": pa.string(), "item_n": pa.int64(), "item_t": pa.string(),
    "time_ms": pa.int64(), "category_n": pa.int64(), "category_t": pa.string(),
    "scene_n": pa.int64(), "scene_t": pa.string(), "dwell_s": pa.int64(), "action": pa.uint8(),
    "click": pa.uint8(), "conversion": pa.uint8(), "request": pa.uint64(), "position": pa.int64(),
    "propensity": pa.float64(), "bid": pa.float64(), "price": pa.float64(),
    "candidates": pa.list_(pa.string()), "advertiser_n": pa.int64(), "advertiser_t": pa.string(),
}  # fmt: skip
#: Whole numbers of neighbouring rows, packed by their differences: a third of the bytes, and faster to write.
_PACKED = (pa.uint8(), pa.uint16(), pa.int64())
_SQL_TYPES = {
    pa.uint8(): "utinyint", pa.uint16(): "usmallint", pa.int64(): "bigint", pa.uint64(): "ubigint",
    pa.float64(): "double", pa.string(): "varchar", pa.list_(pa.string()): "varchar[]",
}  # fmt: skip


def sql_type(column: str) -> str:
    """DuckDB's type of a staged column."""
    return _SQL_TYPES[_TYPES[column]]


class MappedFile:
    """A raw file under a table of the mapping.

    Args:
        db: of the stage.
        loaded: the mapping.
        table: which rows the file holds.
        raw: the file.
    """

    def __init__(
        self,
        db: duckdb.DuckDBPyConnection,
        loaded: Loaded,
        table: Impressions | Behaviours,
        raw: RawFile,
    ) -> None:
        source = loaded.mapping.source
        self._db, self._loaded, self._table, self._raw = db, loaded, table, raw
        self._zone, self._dates = source.time_zone, _dates(source)
        self._where = source.where if isinstance(table, Impressions) else table.where
        fields = [f for _, f in table if isinstance(f, Column) and not f.of_items]
        wanted, mentioned = columns_read([*fields, self._where or ""], raw.names)
        if table.each is not None:
            wanted = [name for name in wanted if name not in (EACH, PLACE)]
        self._wanted = wanted
        self._whole = [
            f.column
            for f in fields
            if f.column in wanted and f.column not in mentioned and f is not table.each and _may_be_whole(f)
        ]
        self._ids = [
            f.column for name, f in table if name in _IDS and f is not None and f.column in self._whole
        ]
        self._relation = raw.relation("batch", wanted)
        columns, _ = row_of(table, self._types(raw.sample(wanted)), self._zone)
        # What is the same in all rows, or follows, is not in the file.
        left_out = constants(columns).keys() | derived(table).keys()
        self._schema = pa.schema([(n, _TYPES[n]) for n in ("row", *columns) if n not in left_out])

    def stage(self, target: Path, moved: Callable[[int], None]) -> Read:
        """Write the usable rows to a Parquet file.

        Args:
            target: that file.
            moved: called with the bytes read so far.

        Raises:
            TraceError: the file is damaged beyond use, or too many of its rows are.
            ConfigError: an expression of the mapping cannot be used.
        """
        path, names = self._raw.path, self._schema.names
        read, damage = Read(path.name, path.stat().st_size, file_digest(path)), list[Damage]()
        with pq.ParquetWriter(
            target,
            self._schema,
            compression="none",
            use_dictionary=[name for name in names if _TYPES[name] == pa.string()],
            write_statistics=False,
            column_encoding={name: "DELTA_BINARY_PACKED" for name in names if _TYPES[name] in _PACKED},
        ) as writer:
            begun = 0
            for batch, position in self._raw.batches(self._wanted, self._whole, self._ids):
                for rows in self._parts(numbered(batch, begun)):
                    mapped, found, count, unasked = self._mapped(rows)
                    writer.write_table(mapped)
                    damage += found
                    read.rows += count
                    for what, left_out in unasked.items():
                        read.unasked[what] = read.unasked.get(what, 0) + left_out
                begun += len(batch)
                moved(position)
        read.cut = list(self._raw.lost)
        read.rows += len(read.cut)
        note_damage(read, self._raw, damage, self._table.time, self._loaded.mapping.limits.damaged)
        return read

    def _parts(self, rows: pa.Table) -> Iterator[pa.Table]:
        """Raw rows that are mapped together: few where each becomes many."""
        size = max(len(rows), 1) if self._table.each is None else _LISTS_AT_ONCE
        yield from (rows.slice(first, size) for first in range(0, max(len(rows), 1), size))

    def _mapped(self, batch: pa.Table) -> tuple[pa.Table, list[Damage], int, dict[str, int]]:
        """A batch's usable rows as they are staged, what is wrong with the others, how many it has, and how
        many of them nobody asked for."""
        try:
            columns, reasons = row_of(self._table, self._types(batch), self._zone)
            relation = self._unfolded()
            rows = self._with_reasons(relation, columns, reasons)
            # Whole numbers that stay as they are go past DuckDB where all rows stay, too.
            every = self._where is None and self._dates == "true"
            every = every and self._relation == "batch" and self._table.each is None
            same = {"row": batch["_row"], **_unchanged(columns, batch)} if every else {}
            # What is the same in every row is not worked out row by row.
            varying = columns.keys() - constants(columns).keys() - same.keys()
            asked = [name for name in self._schema.names if name in varying]
            asked += [*([] if same else ["_row as row"]), "reason"]
            mapped = self._db.sql(f"select {', '.join(asked)} from {rows}").to_arrow_table()
            for name, column in same.items():
                mapped = mapped.append_column(name, column)
            reason = mapped["reason"].to_numpy()
            found: list[Damage] = []
            if reason.any():
                mapped = mapped.filter(pa.array(reason == 0))
                found = self._damage(rows, reasons)
            count = len(batch)
            if self._table.each is not None:
                count = one(self._db, f"select count(*) from {relation}")
            unasked = self._unasked(relation, count - len(reason))
        except duckdb.Error as error:
            self._explain(error)
        finally:
            self._db.unregister("batch")
        return _completed(mapped, self._schema), found, count, unasked

    def _unasked(self, relation: str, rows: int) -> dict[str, int]:
        """Rows that were left out, by what leaves them out."""
        if not rows:
            return {}
        if self._where is None or self._dates == "true":
            return {"dates" if self._where is None else "where": rows}
        where = one(self._db, f"select count(*) from {relation} where ({self._where}) is not true")
        return {"where": where, "dates": rows - where}

    def _types(self, batch: pa.Table | None) -> dict[str, str]:
        """DuckDB's types of a batch's columns; none where there is no batch."""
        if batch is None:
            return {}
        self._db.register("batch", batch)
        try:
            return self._described(self._unfolded())
        except duckdb.Error as error:
            self._explain(error)

    def _described(self, relation: str) -> dict[str, str]:
        found = self._db.execute(f"describe from {relation}").fetchall()
        return {name: str(kind) for name, kind, *_ in found}

    def _unfolded(self) -> str:
        """The rows of the batch, or the elements of its lists."""
        types = {} if self._table.each is None else self._described(self._relation)
        return unfolded(self._relation, self._table.each, types, self._zone)

    def _with_reasons(self, relation: str, columns: dict[str, str], reasons: list[Reason]) -> str:
        """SQL of the rows to read: their columns, what their reasons are about, and `reason`, 0 for none."""
        inner = [f"({sql})::{sql_type(name)} as {name}" for name, sql in columns.items()]
        inner += [f"{sql} as found_{field}" for field, sql in {r.field: r.found for r in reasons}.items()]
        cases = " ".join(f"when {r.condition} then {i + 1}" for i, r in enumerate(reasons))
        return (
            f"(select *, (case {cases} else 0 end)::utinyint as reason from (select _row, {', '.join(inner)} "
            f"from {relation} where {self._where or 'true'})) where {self._dates}"
        )

    def _damage(self, rows: str, reasons: list[Reason]) -> list[Damage]:
        each = (f"when {i + 1} then found_{r.field}::varchar" for i, r in enumerate(reasons))
        damaged = self._db.execute(
            f"select reason, count(*), min(_row, {PLACES_SHOWN}), arg_min(found, _row) from "
            f"(select _row, reason, case reason {' '.join(each)} end as found from {rows}) "
            "where reason > 0 group by reason order by reason"
        ).fetchall()
        return [Damage(number, reasons[number - 1], *rest) for number, *rest in damaged]

    def _explain(self, error: duckdb.Error) -> NoReturn:
        """Which expression of the mapping it was."""
        of = "impressions" if isinstance(self._table, Impressions) else "behaviours"

        def rows(each: Expression) -> str:
            return self._relation if each.path[-1] == "each" else self._unfolded()

        refuse_unusable(self._db, self._loaded, of, rows, self._raw.names)
        raise TraceError(f"The rows cannot be mapped: {error}. Correct the mapping.") from error


def _dates(source: Source) -> str:
    """SQL that keeps the local dates asked for; a row without a time is damaged, not another day's."""
    bounds = [
        f"time_ms {sign} epoch_ms(timestamp '{date}' at time zone '{source.time_zone}')"
        for sign, date in ((">=", source.first), ("<", source.last))
        if date is not None
    ]
    return f"time_ms is null or ({' and '.join(bounds)})" if bounds else "true"


def _may_be_whole(field: Column) -> bool:
    """Whether a field's raw text is read as numbers where it can be."""
    plain = getattr(field, "equals", None) is None and not getattr(field, "values", None)
    listed = getattr(field, "split", None) or getattr(field, "first_of", None)
    worded = any(getattr(field, name, None) for name in ("short", "click", "deep"))
    iso = isinstance(field, Time) and (field.unit == "iso" or field.format is not None)
    return plain and not listed and not worded and not iso


def _unchanged(columns: dict[str, str], batch: pa.Table) -> dict[str, pa.ChunkedArray]:
    """The columns that are staged as they are read."""
    found = {}
    for name, sql in columns.items():
        raw = re.fullmatch(r'"((?:[^"]|"")+)"::bigint', sql)
        place = batch.schema.get_field_index(raw[1].replace('""', '"')) if raw else -1
        if place >= 0 and batch.schema.types[place] == _TYPES[name] == pa.int64():
            found[name] = batch.column(place)
    return found


def _completed(mapped: pa.Table, schema: pa.Schema) -> pa.Table:
    """Mapped columns with those that are missing in this batch: nulls."""
    columns = dict(zip(mapped.column_names, mapped.columns, strict=True))
    columns |= {f.name: pa.nulls(len(mapped), f.type) for f in schema if f.name not in columns}
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)
