"""Staged rows, those of each raw file in a Parquet file beside the log folder to be, while an import works.

Memory holds one batch of them. An import that was cut off goes on after the last file that it had read whole.

    shown-N.parquet    usable impressions of raw file N: row, and the columns of `fields.row_of`
    done-N.parquet     behaviours likewise
    shown-N.json       what was read of the file and what was wrong with it, once it was read whole
    spill              what DuckDB does not hold in memory, while it is open

In SQL `shown` and `done` are the usable rows of all files.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from simulator.logs.table.staging.damage import PLACES_SHOWN, Read
from simulator.logs.table.staging.expressions import check_expressions
from simulator.logs.table.staging.fields import YES, constants, derived, row_of
from simulator.logs.table.staging.load import Loaded
from simulator.logs.table.staging.mapped_file import MappedFile, sql_type
from simulator.logs.table.staging.mapping import Behaviours, Files, Impressions
from simulator.logs.table.staging.sources import RawFile, find_files, open_file
from simulator.logs.table.staging.sql import literal, one, path_literal
from simulator.results.files import LOCK_NAME

OnProgress = Callable[[str, int, int], None]

MEMORY = "1GB"  #: what DuckDB may hold; beyond it, it spills
_VERSION = 6  # of the staged form: another one is read anew


class Stage:
    """Staged rows of one mapping.

    Args:
        loaded: the mapping.
        folder: where the rows stand, locked by the caller; taken up where it is of the same mapping and
            files, emptied where it is not.
    """

    def __init__(self, loaded: Loaded, folder: Path) -> None:
        self.loaded, self.folder = loaded, folder
        self._raw: dict[tuple[str, int], RawFile] = {}
        self._views = 0  # so many conditions left rows out
        self.reads: dict[str, list[Read]] = {"shown": [], "done": []}
        self.item_reads: list[Read] = []
        mapping = loaded.mapping
        self.paths = {"shown": find_files(mapping.source, loaded.folder, "exposure log")}
        self.paths["done"] = (
            find_files(mapping.behaviours, loaded.folder, "behaviours") if mapping.behaviours else []
        )
        key = self._key()
        marker = folder / "key"
        folder.mkdir(parents=True, exist_ok=True)
        self.spill = folder / "spill"
        shutil.rmtree(self.spill, ignore_errors=True)  # of an import that was killed
        if not (marker.is_file() and marker.read_text(encoding="utf-8") == key):
            for left in folder.iterdir():
                if left.name != LOCK_NAME:
                    left.unlink()
        self.db = duckdb.connect()
        self.db.execute(f"set memory_limit = '{MEMORY}'")
        self.db.execute(f"set temp_directory = {literal(self.spill)}")
        self.db.execute(f"set TimeZone = '{mapping.source.time_zone}'")
        # For expressions: a flag there reads as one of `Fields.flag` does.
        self.db.execute(f"create temp macro yes(flag) as lower(trim(flag::varchar)) in {YES}")
        check_expressions(self.db, loaded)
        marker.write_text(key, encoding="utf-8")

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
        tables: list[tuple[str, Files, Impressions | Behaviours]]
        tables = [("shown", mapping.source, mapping.impressions)]
        if mapping.behaviours is not None:
            tables.append(("done", mapping.behaviours, mapping.behaviours))
        for kind, form, table in tables:
            for number, path in enumerate(self.paths[kind]):
                known = self._staged(kind, number).with_suffix(".json")
                if known.is_file():
                    read = Read(**json.loads(known.read_text(encoding="utf-8")))
                else:
                    raw = self._raw[kind, number] = open_file(path, form)
                    told = partial(_told, on_progress, before, total)
                    mapped = MappedFile(self.db, self.loaded, table, raw)
                    read = mapped.stage(self._staged(kind, number), told)
                    whole = known.with_suffix(".part")
                    whole.write_text(json.dumps(asdict(read)), encoding="utf-8")
                    whole.replace(known)
                self.reads[kind].append(read)
                before += path.stat().st_size
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
            missing = {n: open_.get(n, f"null::{sql_type(n)}") for n in columns if n not in there}
            selected = [f"{missing[n]} as {n}" if n in missing else n for n in columns]
            files.append(
                f"select {number}::usmallint as file, row, {', '.join(selected)} "
                f"from read_parquet({path_literal(path)})"
            )
        self.db.execute(f"create or replace temp view {kind} as {' union all '.join(files)}")


def _told(on_progress: OnProgress, before: int, total: int, position: int) -> None:
    on_progress("read", before + position, total)
