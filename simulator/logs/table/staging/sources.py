"""The raw files of a mapping, in batches of Arrow tables: delimited text, JSON lines, Parquet."""

from __future__ import annotations

import glob
import hashlib
import itertools
import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simulator.logs.table.staging.mapping import Files
from simulator.logs.table.staging.sql import quoted
from simulator.logs.table.staging.text_file import LINE, TextFile
from simulator.traffic.trace import TraceError

_PARQUET = (".parquet", ".pq")
_JSON = (".jsonl", ".ndjson", ".json")
_ROWS = 1 << 20
_LISTS = 1 << 14  # rows of lists: a batch counts their bytes in 32 bits
_KEYS_READ = 1000  # lines of JSON whose keys are taken for the columns


class RawFile(Protocol):
    """A file of rows. Columns of text are read as whole numbers where a batch holds nothing else."""

    path: Path
    names: list[str]

    def batches(
        self, wanted: Sequence[str], whole: Sequence[str], ids: Sequence[str] = ()
    ) -> Iterator[tuple[pa.Table, int]]:
        """Batches of the wanted columns, and how many bytes of the file they end at.

        Args:
            wanted: columns.
            whole: those that may be whole numbers.
            ids: of these, in which 007 is no 7.
        """

    def relation(self, batch: str, wanted: Sequence[str]) -> str:
        """SQL that gives the columns of a batch registered under a name."""

    def sample(self, wanted: Sequence[str]) -> pa.Table | None:
        """A batch of no rows, where columns have the same types in all batches; else None."""

    @property
    def lost(self) -> list[int]:
        """After reading: lines that were left out."""

    def place(self, row: int) -> str:
        """Where a row stands, such as "data.csv:17"."""


def find_files(form: Files, folder: Path, what: str) -> list[Path]:
    """The files that patterns name, plain or .gz, in the order of the patterns and then of their names.

    Raises:
        TraceError: there is none, or a file comes twice, plain and packed.
    """
    found: list[Path] = []
    for pattern in form.files:
        whole = str(folder / Path(pattern).expanduser())
        paths = sorted({Path(p) for end in ("", ".gz") for p in glob.glob(whole + end, recursive=True)})  # noqa: PTH207
        found += [p for p in paths if p not in found and p.is_file() and not p.name.startswith(".")]
    if not found:
        patterns = " or ".join(f"{pattern}, {pattern}.gz" for pattern in form.files)
        raise TraceError(
            f"{folder} has no {what} ({patterns}), expected at least one. Check the mapping, and "
            "the folder: its own, or that of --files."
        )
    foreign = next((path for path in found if not _is_text(str(path))), None)
    if foreign is not None:
        raise TraceError(f"{str(foreign)!a}: the name is not UTF-8, expected one that is. Rename the file.")
    stems = [str(path).removesuffix(".gz") for path in found]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise TraceError(f"{twice} is there more than once, expected it once. Keep one of them.")
    return found


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes of a name that Python could not read
        return False
    return True


def open_file(path: Path, form: Files) -> RawFile:
    """A file by the form its name tells.

    Raises:
        TraceError: it cannot be read, or is empty.
    """
    stem = path.name.lower().removesuffix(".gz")
    if stem.endswith(_PARQUET):
        return ParquetRows(path)
    if stem.endswith(_JSON):
        return JsonLines(path, form)
    return TextRows(path, form)


def file_digest(path: Path) -> str:
    """A file's SHA-256, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Lines:
    """What files of lines have in common: a column may have another type in the next batch."""

    def __init__(self, file: TextFile) -> None:
        self._file, self.path = file, file.path

    def sample(self, wanted: Sequence[str]) -> pa.Table | None:
        """See RawFile."""
        return None

    @property
    def lost(self) -> list[int]:
        """See RawFile."""
        return self._file.cut_lines

    def place(self, row: int) -> str:
        """See RawFile."""
        return f"{self.path.name}:{self._file.line(row)}"


class TextRows(_Lines):
    """Delimited text."""

    def __init__(self, path: Path, form: Files) -> None:
        super().__init__(TextFile(path, form))
        self.names = self._file.names

    def batches(
        self, wanted: Sequence[str], whole: Sequence[str], ids: Sequence[str] = ()
    ) -> Iterator[tuple[pa.Table, int]]:
        """See RawFile."""
        for table, position in self._file.batches(wanted):
            yield _whole_numbers(table, whole, ids), position

    def relation(self, batch: str, wanted: Sequence[str]) -> str:
        """See RawFile."""
        return batch


class JsonLines(_Lines):
    """An object a line; its values are text in SQL, and a line that is no object has none."""

    def __init__(self, path: Path, form: Files) -> None:
        super().__init__(TextFile(path, form, lines=True))
        self.names = self._keys()

    def _keys(self) -> list[str]:
        keys: dict[str, None] = {}
        table, _ = next(self._file.batches([LINE]))
        for line in table[LINE].slice(0, _KEYS_READ).to_pylist():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            keys |= dict.fromkeys(row if isinstance(row, dict) else ())
        return list(keys)

    def batches(
        self, wanted: Sequence[str], whole: Sequence[str], ids: Sequence[str] = ()
    ) -> Iterator[tuple[pa.Table, int]]:
        """See RawFile."""
        yield from self._file.batches([LINE])

    def relation(self, batch: str, wanted: Sequence[str]) -> str:
        """See RawFile."""
        path = {name: "$." + json.dumps(name).replace("'", "''") for name in wanted}
        columns = [f"json_extract_string(_line, '{path[name]}') as {quoted(name)}" for name in wanted]
        valid = f"case when json_valid({LINE}) then {LINE} end as _line"
        return f"(select _row, {', '.join(columns)} from (select _row, {valid} from {batch}))"


class ParquetRows:
    """Parquet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost: list[int] = []
        try:
            # Not read ahead: what is would be kept until the end.
            self._file = pq.ParquetFile(path, pre_buffer=False)
        except (pa.ArrowException, OSError) as problem:
            raise TraceError(f"{path} is damaged or no Parquet file ({problem}). Write it anew.") from problem
        self.names = self._file.schema_arrow.names
        metadata = self._file.metadata
        groups = range(metadata.num_row_groups)
        self._ends = list(itertools.accumulate(metadata.row_group(g).num_rows for g in groups))

    def batches(
        self, wanted: Sequence[str], whole: Sequence[str], ids: Sequence[str] = ()
    ) -> Iterator[tuple[pa.Table, int]]:
        """See RawFile."""
        self._check(wanted)
        rows, size = self._file.metadata.num_rows, self.path.stat().st_size
        nested = any(pa.types.is_nested(self._file.schema_arrow.field(name).type) for name in wanted)
        done = 0
        try:
            for batch in self._file.iter_batches(
                _LISTS if nested else _ROWS, columns=list(wanted), use_threads=False
            ):
                done += len(batch)
                yield pa.Table.from_batches([batch]), size * done // max(rows, 1)
        except (pa.ArrowException, OSError) as problem:
            raise TraceError(
                f"{self.path}, {self._group(done)}: damaged ({problem}). Write it anew."
            ) from problem

    def sample(self, wanted: Sequence[str]) -> pa.Table | None:
        """See RawFile."""
        self._check(wanted)
        return self._file.schema_arrow.empty_table().select(list(wanted))

    def _check(self, wanted: Sequence[str]) -> None:
        missing = [name for name in wanted if name not in self.names]
        if missing:
            raise TraceError(
                f"{self.path}: no column {', '.join(missing)}; found {', '.join(self.names)[:300]}. "
                "Correct the mapping."
            )

    def relation(self, batch: str, wanted: Sequence[str]) -> str:
        """See RawFile."""
        return batch

    def place(self, row: int) -> str:
        """See RawFile."""
        return f"{self.path.name}:{self._group(row)}"

    def _group(self, row: int) -> str:
        group = bisect_right(self._ends, row)
        return f"row group {group}, row {row - ([0, *self._ends][group])}"


def numbered(batch: pa.Table, first: int) -> pa.Table:
    """With the column `_row`, which counts the rows of all batches."""
    return batch.append_column("_row", pa.array(np.arange(first, first + len(batch), dtype=np.int64)))


def _whole_numbers(table: pa.Table, names: Sequence[str], ids: Sequence[str]) -> pa.Table:
    """Columns as whole numbers where every value is one: they are cheaper to map than text."""
    for name in dict.fromkeys(names):  # a column may be several fields
        column: Any = table[name]
        try:
            number = pc.cast(column, pa.int64())
        except pa.ArrowInvalid:
            continue
        if name in ids and _padded(column):
            continue
        table = table.set_column(table.schema.get_field_index(name), name, number)
    return table


def _padded(column: Any) -> bool:
    """Whether some whole number has zeros in front, or is in base 16: int64 would forget it."""
    return any(
        pc.any(pc.and_(pc.starts_with(column, sign), pc.greater(pc.binary_length(column), len(sign)))).as_py()
        for sign in ("0", "-0")
    )
