"""One CSV file, plain or gzip, column by column; damage is refused or reported with file and line.

Rows with too few or too many fields are left out and their lines kept. What makes the whole file doubtful
is a `TraceError`: a truncated gzip, another delimiter, a missing column, text where numbers belong, bytes
that are no text.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from simulator.traffic.trace import TraceError

OnProgress = Callable[[int], None]
_BLOCK_BYTES = 1 << 22
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True)
class CsvColumns:
    """The columns of one file, and the lines (from 1, the header) that were left out."""

    path: Path
    table: pa.Table
    cut_lines: tuple[int, ...]

    def line(self, row: int) -> int:
        """The line that row `row` of the table came from."""
        line = row + 2
        for cut in self.cut_lines:
            if cut > line:
                break
            line += 1
        return line


def read_csv(
    path: Path,
    types: Mapping[str, pa.DataType],
    *,
    quoted: bool,
    optional: tuple[str, ...] = (),
    on_progress: OnProgress | None = None,
) -> CsvColumns:
    """Read some columns of a CSV file with a header.

    Args:
        path: a `.gz` name means gzip.
        types: the columns to read, by name; a value of another kind refuses the file.
        quoted: whether fields may be quoted though the header is not.
        optional: columns of `types` that may be missing.
        on_progress: called with the bytes of the file read so far.

    Raises:
        TraceError: the file cannot be used; the message names its line where there is one.
    """
    header = _header(path)
    names = [name.strip().strip('"') for name in header.split(",")]
    twice = next((name for name in types if names.count(name) > 1), None)
    if twice is not None:
        raise TraceError(
            f"{path}, line 1: column {twice} comes twice, expected it once. Use the published file."
        )
    missing = [name for name in types if name not in names and name not in optional]
    if missing:
        raise TraceError(_no_columns(path, names, missing))
    wanted = {name: kind for name, kind in types.items() if name in names}
    cut: list[int] = []

    def leave_out(row: pa.csv.InvalidRow) -> str:
        cut.append(row.number)
        return "skip"

    try:
        with path.open("rb") as raw:
            reader = pa.csv.open_csv(
                pa.PythonFile(_Text(path, raw), mode="r"),
                # One thread: only then does pyarrow know the number of a line.
                read_options=pa.csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
                parse_options=pa.csv.ParseOptions(
                    invalid_row_handler=leave_out,
                    ignore_empty_lines=False,
                    # Programs that write the log anew may quote its header, and then maybe more.
                    quote_char='"' if quoted or '"' in header else False,
                ),
                convert_options=pa.csv.ConvertOptions(column_types=wanted, include_columns=list(wanted)),
            )
            batches = []
            for batch in reader:
                batches.append(batch)
                if on_progress is not None:
                    on_progress(raw.tell())
            table = pa.Table.from_batches(batches, schema=reader.schema)
    except (pa.ArrowException, OSError) as problem:
        raise TraceError(_explain(path, names, problem)) from problem
    return CsvColumns(path, table, tuple(sorted(cut)))


class _Text:
    """A file's bytes as pyarrow asks for them: unpacked, and refused where they are no text.

    pyarrow itself would leave out a row of foreign bytes, or end with neither a line nor a file.
    """

    def __init__(self, path: Path, raw: IO[bytes]) -> None:
        self.closed = False
        self._path = path
        self._file = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._lines = 0  # whole ones so far

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; none at the end.

        Raises:
            TraceError: damaged gzip data, or bytes that are no UTF-8 text.
        """
        try:
            data = self._file.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
            raise TraceError(
                f"{self._path}: gzip data ends or breaks after line {_whole_lines(self._path)} ({problem}), "
                "expected a whole file. Download the file again."
            ) from problem
        wrong = [(data.index(b"\0"), 0)] if b"\0" in data else []
        try:
            self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as problem:
            kept = len(problem.object) - len(data)  # of the read before: a character that was cut
            wrong.append((problem.start - kept, problem.object[problem.start]))
        if wrong:
            self._refuse(data, *min(wrong))
        self._lines += data.count(b"\n")
        return data

    def _refuse(self, data: bytes, at: int, byte: int) -> None:
        line = self._lines + data[: max(at, 0)].count(b"\n") + 1
        raise TraceError(
            f"{self._path}, line {line}: byte {byte:#04x}, which is no text, expected CSV in UTF-8. "
            "Download the file again."
        )

    def close(self) -> None:
        """Nothing: whoever opened the file closes it."""
        self.closed = True


def sha256(path: Path) -> str:
    """The file's SHA-256, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def numbers(column: pa.ChunkedArray, missing: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """An integer column as int64, `missing` where it is empty."""
    found: np.ndarray[tuple[int], np.dtype[np.int64]] = (
        column.cast(pa.int64()).fill_null(missing).to_numpy().astype(np.int64)
    )
    return found


def _header(path: Path) -> str:
    """The first line; refuses what is empty, no text, or separated by something else."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            line = file.readline(1 << 20)
    except (OSError, EOFError, zlib.error) as problem:
        if isinstance(problem, OSError) and problem.errno is not None:
            raise TraceError(f"{path} cannot be read: {problem.strerror}. Check the file.") from problem
        raise TraceError(
            f"{path}, line 1: damaged gzip data ({problem}). Download the file again."
        ) from problem
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise TraceError(
            f"{path}, line 1: not UTF-8 text, expected a CSV header. Unpack archives other than .gz."
        )
    if not text:
        raise TraceError(f"{path} is empty, expected a CSV file with a header. Download the file again.")
    if "\r" in text:
        raise TraceError(
            f"{path}, line 1: found a carriage return, expected line feeds between lines. "
            "Use the published file, or write it anew with line feeds."
        )
    if "," not in text:
        found = next((word for mark, word in _DELIMITERS.items() if mark in text), None)
        if found is not None:
            raise TraceError(
                f"{path}, line 1: fields are separated by {found}, expected commas. "
                "Use the published file, or write it anew with commas."
            )
    return text


def _no_columns(path: Path, names: list[str], missing: list[str]) -> str:
    return (
        f"{path}, line 1: no column {', '.join(missing)}; found {', '.join(names)[:300]}. "
        "Use the file as it was published, header included."
    )


def _explain(path: Path, names: list[str], problem: Exception) -> str:
    """pyarrow's finding in this project's words, with the line."""
    text = str(problem)
    place = re.search(r"In CSV column #(\d+): (?:Row #(\d+): )?(.*)", text)
    if place is None:
        return f"{path} cannot be read as CSV ({text}). Use the published file."
    line = f", line {place[2]}" if place[2] else ""
    column = names[int(place[1])] if int(place[1]) < len(names) else f"number {int(place[1]) + 1}"
    value = re.search(r"invalid value ('.*')", place[3])
    found = f"found {value[1]}, expected a whole number" if value else place[3]
    return f"{path}{line}: column {column}: {found}. Correct the line or download the file again."


def _whole_lines(path: Path) -> int:
    """Complete lines that can still be unpacked."""
    lines, unpack = 0, zlib.decompressobj(wbits=31)
    with path.open("rb") as file:
        while piece := file.read(1 << 16):
            try:
                lines += unpack.decompress(piece).count(b"\n")
            except zlib.error:
                break
    return lines
