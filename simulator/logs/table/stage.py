"""Raw files become staged rows: mapped, those that cannot be used left out and counted by reason.

The rows of each raw file stand in a Parquet file beside the log folder to be while an import works, so memory
holds one batch of them. An import that was cut off goes on after the last file that it had read whole.

    shown-N.parquet    usable impressions of raw file N: row, and the columns of `fields.row_of`
    done-N.parquet     behaviours likewise
    shown-N.json       what was read of the file and what was wrong with it, once it was read whole
    spill              what DuckDB does not hold in memory, while it is open

In SQL `shown` and `done` are the usable rows of all files.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from simulator.logs.table.fields import (
    EARLIEST_MS,
    LATEST_MS,
    PER_MS,
    YES,
    Reason,
    columns_read,
    constants,
    derived,
    literal,
    row_of,
)
from simulator.logs.table.ids import one
from simulator.logs.table.load import Loaded
from simulator.logs.table.mapping import Behaviours, Column, Files, Impressions, Time
from simulator.logs.table.sources import RawFile, file_digest, find_files, numbered, open_file
from simulator.logs.table.unfold import EACH, PLACE, unfolded
from simulator.traffic.trace import TraceError

OnProgress = Callable[[str, int, int], None]

ALWAYS_BORNE = 3  #: damaged rows, however few there are
PLACES_SHOWN = 5
MEMORY = "1GB"  #: what DuckDB may hold; beyond it, it spills
_LISTS_AT_ONCE = 1 << 14  # rows that hold lists
_VERSION = 4  # of the staged form: another one is read anew
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


@dataclass
class Read:
    """What was read of a file.

    Attributes:
        file, bytes, sha256: its name, size and checksum.
        rows: read; cut ones too.
        cut: lines of too few or too many fields.
        dropped: by reason: "rows", and the "first" places.
        first: the place, the reason and the raw value of its first damaged row.
    """

    file: str
    bytes: int
    sha256: str
    rows: int = 0
    cut: list[int] = field(default_factory=list)
    dropped: dict[str, dict[str, Any]] = field(default_factory=dict)
    first: tuple[str, str, str | None] | None = None

    @property
    def damaged(self) -> int:
        """Rows left out."""
        return sum(entry["rows"] for entry in self.dropped.values())


@dataclass(frozen=True)
class _Damage:
    """Rows that cannot be used for one reason: how many, the first ones, and the first raw value."""

    number: int  # of the reason
    reason: Reason
    count: int
    rows: list[int]
    value: str | None


class Stage:
    """Staged rows of one mapping.

    Args:
        loaded: the mapping.
        folder: where the rows stand; made where there is none, and taken up where it is of the same mapping
            and files.
    """

    def __init__(self, loaded: Loaded, folder: Path) -> None:
        self.loaded, self.folder = loaded, folder
        self._raw: dict[tuple[str, int], RawFile] = {}
        self._views = 0  # so many conditions left rows out
        self.reads: dict[str, list[Read]] = {"shown": [], "done": []}
        self.item_reads: list[dict[str, Any]] = []
        mapping = loaded.mapping
        self.paths = {"shown": find_files(mapping.source, loaded.folder, "exposure log")}
        self.paths["done"] = (
            find_files(mapping.behaviours, loaded.folder, "behaviours") if mapping.behaviours else []
        )
        key = self._key()
        marker = folder / "key"
        if folder.exists() and not (marker.is_file() and marker.read_text() == key):
            shutil.rmtree(folder)
        self.spill = folder / "spill"
        shutil.rmtree(self.spill, ignore_errors=True)  # of an import that was killed
        folder.mkdir(parents=True, exist_ok=True)
        self.db = duckdb.connect()
        self.db.execute(f"set memory_limit = '{MEMORY}'")
        self.db.execute(f"set temp_directory = {literal(self.spill)}")
        self.db.execute(f"set TimeZone = '{mapping.source.time_zone}'")
        # For expressions: a flag there reads as one of `Fields.flag` does.
        self.db.execute(f"create temp macro yes(flag) as lower(trim(flag::varchar)) in {YES}")
        marker.write_text(key)

    def close(self) -> None:
        """Let go of the rows; their files stay, and what was spilled goes."""
        self.db.close()
        shutil.rmtree(self.spill, ignore_errors=True)

    def read(self, on_progress: OnProgress) -> None:
        """Read all files that were not read yet.

        Raises:
            TraceError: a file is damaged beyond use, or too many of its rows are.
            ConfigError: an expression of the mapping cannot be used.
        """
        self.db.execute("set threads = 1")  # a batch is one thread's work; more only cost
        mapping = self.loaded.mapping
        total = sum(path.stat().st_size for paths in self.paths.values() for path in paths)
        before = 0
        tables: tuple[tuple[str, Files | None, Impressions | Behaviours | None], ...] = (
            ("shown", mapping.source, mapping.impressions),
            ("done", mapping.behaviours, mapping.behaviours),
        )
        for kind, form, table in tables:
            for number, path in enumerate(self.paths[kind]):
                known = self._staged(kind, number).with_suffix(".json")
                if known.is_file():
                    read = Read(**json.loads(known.read_text()))
                else:
                    assert form is not None
                    assert table is not None
                    told = partial(_told, on_progress, before, total)
                    read = self._read_file(kind, number, open_file(path, form), table, told)
                    whole = known.with_suffix(".part")
                    whole.write_text(json.dumps(asdict(read)))
                    whole.replace(known)
                self.reads[kind].append(read)
                before += path.stat().st_size
            if table is not None:
                self._show(kind, table)
        self.db.execute("reset threads")
        on_progress("read", total, total)

    def leave_out(self, kind: str, condition: str) -> tuple[int, list[str]]:
        """Take usable rows for unusable from now on; how many they are, and where the first ones stand."""
        rows = one(self.db, f"select count(*) from {kind} where {condition}")
        if not rows:
            return 0, []
        query = (
            f"select distinct file, row from {kind} where {condition} order by file, row limit {PLACES_SHOWN}"
        )
        places = [self.place(kind, file, row) for file, row in self.db.execute(query).fetchall()]
        kept = f"{kind}_{self._views}"
        self._views += 1
        self.db.execute(f"alter view {kind} rename to {kept}")
        self.db.execute(f"create temp view {kind} as from {kept} as {kind} where not ({condition})")
        return rows, places

    def place(self, kind: str, number: int, row: int) -> str:
        """Where a staged row came from."""
        raw = self._raw.get((kind, number))
        return raw.place(row) if raw else f"{self.paths[kind][number].name}:row {row + 1}"

    def _key(self) -> str:
        paths = [path for paths in self.paths.values() for path in paths]
        stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
        return hashlib.sha256(repr((_VERSION, self.loaded.text, stats)).encode()).hexdigest()

    def _read_file(
        self,
        kind: str,
        number: int,
        raw: RawFile,
        table: Impressions | Behaviours,
        moved: Callable[[int], None],
    ) -> Read:
        fields = [f for _, f in table if isinstance(f, Column) and not f.of_items]
        where = self.loaded.mapping.source.where if kind == "shown" else getattr(table, "where", None)
        wanted, mentioned = columns_read([*fields, where or ""], raw.names)
        if table.each is not None:
            wanted = [name for name in wanted if name not in (EACH, PLACE)]
        whole = [
            f.column
            for f in fields
            if f.column in wanted and f.column not in mentioned and f is not table.each and _may_be_whole(f)
        ]
        size = raw.path.stat().st_size
        read = Read(raw.path.name, size, file_digest(raw.path))
        self._raw[kind, number] = raw
        relation, damage = raw.relation("batch", wanted), list[_Damage]()
        schema = self._schema(table, self._types(relation, raw.sample(wanted), table, where))
        with pq.ParquetWriter(
            self._staged(kind, number),
            schema,
            compression="none",
            use_dictionary=[name for name in schema.names if _TYPES[name] == pa.string()],
            write_statistics=False,
            column_encoding={n: "DELTA_BINARY_PACKED" for n in schema.names if _TYPES[n] in _PACKED},
        ) as writer:
            begun = 0
            for batch, position in raw.batches(wanted, whole):
                for rows in _parts(numbered(batch, begun), table):
                    mapped, found, count = self._mapped(relation, rows, schema, table, where)
                    writer.write_table(mapped)
                    damage += found
                    read.rows += count
                begun += len(batch)
                moved(position)
        read.cut = list(raw.lost)
        read.rows += len(read.cut)
        self._note_damage(kind, raw, read, damage)
        return read

    def _types(
        self, raw: str, batch: pa.Table | None, table: Impressions | Behaviours, where: str | None
    ) -> dict[str, str]:
        """DuckDB's types of a batch's columns; none where there is no batch."""
        if batch is None:
            return {}
        self.db.register("batch", batch)
        try:
            return self._described(self._unfolded(raw, table))
        except duckdb.Error as error:
            self._explain(raw, table, where, error)

    def _described(self, relation: str) -> dict[str, str]:
        return {name: str(kind) for name, kind, *_ in self.db.execute(f"describe from {relation}").fetchall()}

    def _unfolded(self, raw: str, table: Impressions | Behaviours) -> str:
        """The rows of the batch, or the elements of its lists."""
        types = {} if table.each is None else self._described(raw)
        return unfolded(raw, table.each, types, self.loaded.mapping.source.time_zone)

    def _mapped(
        self,
        raw: str,
        batch: pa.Table,
        schema: pa.Schema,
        table: Impressions | Behaviours,
        where: str | None,
    ) -> tuple[pa.Table, list[_Damage], int]:
        """A batch's usable rows as they are staged, what is wrong with the others, and how many it has."""
        source, count = self.loaded.mapping.source, len(batch)
        try:
            types = self._types(raw, batch, table, where)
            relation = self._unfolded(raw, table)
            columns, reasons = row_of(table, types, source.time_zone)
            # What is the same in every row is not worked out row by row.
            stored = [name for name in schema.names if name in columns.keys() - constants(columns).keys()]
            inner = [f"({sql})::{_SQL_TYPES[_TYPES[name]]} as {name}" for name, sql in columns.items()]
            inner += [f"{sql} as found_{field}" for field, sql in {r.field: r.found for r in reasons}.items()]
            cases = " ".join(f"when {r.condition} then {i + 1}" for i, r in enumerate(reasons))
            rows = (
                f"(select *, (case {cases} else 0 end)::utinyint as reason from (select _row, "
                f"{', '.join(inner)} from {relation} where {where or 'true'})) where {self._dates()}"
            )
            # Whole numbers that stay as they are go past DuckDB where all rows stay, too.
            every = raw == "batch" and table.each is None and where is None and self._dates() == "true"
            same = {"row": batch["_row"], **_unchanged(columns, batch)} if every else {}
            asked = [name for name in stored if name not in same] + ([] if same else ["_row as row"])
            mapped = self.db.sql(f"select {', '.join([*asked, 'reason'])} from {rows}").to_arrow_table()
            for name, column in same.items():
                mapped = mapped.append_column(name, column)
            reason = mapped["reason"].to_numpy()
            found: list[_Damage] = []
            if reason.any():
                mapped = mapped.filter(pa.array(reason == 0))
                each = (f"when {i + 1} then found_{r.field}::varchar" for i, r in enumerate(reasons))
                damaged = self.db.execute(
                    f"select reason, count(*), min(_row, {PLACES_SHOWN}), arg_min(found, _row) from "
                    f"(select _row, reason, case reason {' '.join(each)} end as found from {rows}) "
                    "where reason > 0 group by reason order by reason"
                ).fetchall()
                found = [_Damage(number, reasons[number - 1], *rest) for number, *rest in damaged]
            if table.each is not None:
                ((count,),) = self.db.execute(f"select count(*) from {relation}").fetchall()
        except duckdb.Error as error:
            self._explain(raw, table, where, error)
        finally:
            self.db.unregister("batch")
        return _whole(mapped, schema), found, count

    def _schema(self, table: Impressions | Behaviours, types: dict[str, str]) -> pa.Schema:
        """Of the rows as they stand in a file: without what is the same in all of them, or follows."""
        columns, _ = row_of(table, types, self.loaded.mapping.source.time_zone)
        left_out = constants(columns).keys() | derived(table).keys()
        return pa.schema([(name, _TYPES[name]) for name in ("row", *columns) if name not in left_out])

    def _staged(self, kind: str, number: int) -> Path:
        return self.folder / f"{kind}-{number}.parquet"

    def _show(self, kind: str, table: Impressions | Behaviours) -> None:
        """Make the view of the usable rows of all files."""
        columns, _ = row_of(table, {}, self.loaded.mapping.source.time_zone)
        open_ = constants(columns) | derived(table)
        files = []
        for number in range(len(self.paths[kind])):
            path = self._staged(kind, number)
            there = pq.read_schema(path).names
            missing = {n: open_.get(n, f"null::{_SQL_TYPES[_TYPES[n]]}") for n in columns if n not in there}
            selected = [f"{missing[n]} as {n}" if n in missing else n for n in columns]
            files.append(
                f"select {number}::usmallint as file, row, {', '.join(selected)} "
                f"from read_parquet({path_literal(path)})"
            )
        self.db.execute(f"create or replace temp view {kind} as {' union all '.join(files)}")

    def _dates(self) -> str:
        """SQL that keeps the local dates asked for; a row without a time is damaged, not another day's."""
        source = self.loaded.mapping.source
        zone = source.time_zone
        bounds = [
            f"time_ms {sign} epoch_ms(timestamp '{date}' at time zone '{zone}')"
            for sign, date in ((">=", source.first), ("<", source.last))
            if date is not None
        ]
        return f"time_ms is null or ({' and '.join(bounds)})" if bounds else "true"

    def _explain(
        self, raw: str, table: Impressions | Behaviours, where: str | None, error: duckdb.Error
    ) -> NoReturn:
        """Which expression of the mapping it was."""
        name = "impressions" if isinstance(table, Impressions) else "behaviours"
        texts = {(name, key): f.sql for key, f in table if isinstance(f, Column) and f.sql}
        if where:
            texts["source" if name == "impressions" else name, "where"] = where
        for path, text in texts.items():
            try:
                rows = raw if path[-1] == "each" else self._unfolded(raw, table)
                self.db.execute(f"select count({text}) from {rows}").fetchall()
            except duckdb.Error as problem:
                said = str(problem).split("\n")[0]
                help = (
                    "a name that SQL reserves stands in double quotes, as in sql = '\"at\"'"
                    if isinstance(problem, duckdb.ParserException)
                    else "raw columns of text are text: compare with '1', or use try_cast"
                )
                self.loaded.refuse(path, f"`{'.'.join(path)}`: {said}", help)
        raise TraceError(f"The rows cannot be mapped: {error}. Correct the mapping.") from error

    def _note_damage(self, kind: str, raw: RawFile, read: Read, damage: list[_Damage]) -> None:
        if read.rows == 0:
            raise TraceError(
                f"{raw.path}, line 2: found no rows after the header, expected some. Get it anew."
            )
        together = _by_reason(damage)
        for each in together:
            places = list(
                dict.fromkeys(raw.place(row) for row in each.rows)
            )  # elements of a row have its place
            read.dropped[each.reason.text] = {"rows": each.count, "first": places}
        if read.cut:
            places = [f"{raw.path.name}:{line}" for line in read.cut[:PLACES_SHOWN]]
            read.dropped["too few or too many fields (a cut row)"] = {"rows": len(read.cut), "first": places}
        if together:
            first = min(together, key=lambda each: each.rows[0])
            read.first = (raw.place(first.rows[0]), first.reason.text, first.value)
        times = next((each for each in together if each.reason.field == "time"), None)
        if times is not None and 2 * times.count > read.rows:
            self._refuse_unit(kind, raw, times)
        self._check_share(raw, read)

    def _refuse_unit(self, kind: str, raw: RawFile, times: _Damage) -> None:
        """Refuse a file in another unit of time: every row of it would be dropped one by one otherwise."""
        mapping = self.loaded.mapping
        table = mapping.impressions if kind == "shown" else mapping.behaviours
        assert table is not None
        unit = looks_like(times.value, table.time)
        if unit is not None:
            expected = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
            raise TraceError(
                f"{_where(raw, raw.place(times.rows[0]))}: {table.time.name} is {times.value}, which looks "
                f"like {expected[unit]}, expected {expected.get(table.time.unit, 'a date and time')}. State "
                "the unit in the mapping, or convert the column."
            )

    def _check_share(self, raw: RawFile, read: Read) -> None:
        allowed = self.loaded.mapping.limits.damaged
        if read.damaged > max(ALWAYS_BORNE, allowed * read.rows):
            cut = f"{raw.path.name}:{read.cut[0]}" if read.cut else None
            first = cut or (read.first[0] if read.first else raw.path.name)
            why = "; ".join(f"{entry['rows']:,} {text}" for text, entry in read.dropped.items())
            value = f", such as {read.first[2]!r}" if read.first and read.first[2] is not None else ""
            raise TraceError(
                f"{_where(raw, first)}: {read.damaged:,} of {read.rows:,} rows are damaged "
                f"({why}{value}), expected at most {allowed:.2%}. Get the file again, correct the "
                "mapping, or raise limits.damaged."
            )


def _by_reason(damage: list[_Damage]) -> list[_Damage]:
    """What is wrong with a file's rows, from what is wrong in its batches, in the order of reasons."""
    found: dict[int, _Damage] = {}
    for each in damage:
        before = found.get(each.number)
        if before is not None:
            rows = [*before.rows, *each.rows][:PLACES_SHOWN]
            value = each.value if before.value is None else before.value
            each = _Damage(each.number, each.reason, before.count + each.count, rows, value)
        found[each.number] = each
    return [found[number] for number in sorted(found)]


def _parts(rows: pa.Table, table: Impressions | Behaviours) -> Iterator[pa.Table]:
    """Raw rows that are mapped together: few where each becomes many."""
    size = max(len(rows), 1) if table.each is None else _LISTS_AT_ONCE
    yield from (rows.slice(first, size) for first in range(0, max(len(rows), 1), size))


def _unchanged(columns: dict[str, str], batch: pa.Table) -> dict[str, pa.ChunkedArray]:
    """The columns that are staged as they are read."""
    found = {}
    for name, sql in columns.items():
        raw = re.fullmatch(r'"((?:[^"]|"")+)"::bigint', sql)
        place = batch.schema.get_field_index(raw[1].replace('""', '"')) if raw else -1
        if place >= 0 and batch.schema.types[place] == _TYPES[name] == pa.int64():
            found[name] = batch.column(place)
    return found


def _whole(mapped: pa.Table, schema: pa.Schema) -> pa.Table:
    """Mapped columns with those that are missing in this batch: nulls."""
    columns = dict(zip(mapped.column_names, mapped.columns, strict=True))
    columns |= {f.name: pa.nulls(len(mapped), f.type) for f in schema if f.name not in columns}
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def path_literal(path: Path) -> str:
    """A path as SQL takes it for a file and for no pattern."""
    return literal(re.sub(r"([*?[])", r"[\1]", str(path)))


def _told(on_progress: OnProgress, before: int, total: int, position: int) -> None:
    on_progress("read", before + position, total)


def looks_like(value: str | None, time: Time) -> str | None:
    """The unit in which a number would be a time of these years, where it is another than the mapping's."""
    try:
        number = float(value or "")
    except ValueError:
        return None
    units = [unit for unit, per in PER_MS.items() if EARLIEST_MS <= number / per < LATEST_MS]
    return units[0] if units and units[0] != time.unit else None


def _may_be_whole(field: Column) -> bool:
    """Whether a field's raw text is read as numbers where it can be."""
    plain = getattr(field, "equals", None) is None and not getattr(field, "values", None)
    listed = getattr(field, "split", None) or getattr(field, "first_of", None)
    worded = any(getattr(field, name, None) for name in ("short", "click", "deep"))
    iso = isinstance(field, Time) and (field.unit == "iso" or field.format is not None)
    return plain and not listed and not worded and not iso


def _where(raw: RawFile, place: str) -> str:
    """A place as messages write it: the file's path, then the line."""
    rest = place.removeprefix(f"{raw.path.name}").removeprefix(":")
    word = "" if not rest or rest.startswith("row") else "line "
    return f"{raw.path}, {word}{rest}" if rest else str(raw.path)
