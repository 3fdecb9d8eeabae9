"""One text file, plain or gzip, in batches of columns; damage is refused or reported with file and line.

Rows with too few or too many fields are left out and their lines kept. What makes the whole file doubtful
is a `TraceError`: a truncated gzip, another delimiter, a missing column, bytes that are no text.
"""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.csv

from simulator.logs.table.staging.mapping import Files
from simulator.traffic.trace import TraceError

#: pyarrow reads up to 32 blocks ahead.
_BLOCK_BYTES = 1 << 23
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
#: A separator of several characters becomes this one, which text does not hold.
_UNIT_SEPARATOR = "\x1f"
MISSING = ("", "NA", "N/A", "null", "NULL", "None", "nan", "NaN", "\\N")
LINE = "line"  #: the one column of a file that is read in whole lines


class TextFile:
    """A file of delimited text, or of lines.

    Args:
        path: a `.gz` name means gzip.
        form: delimiter, quote, encoding, and the columns' names where there is no header.
        lines: read whole lines, as the one column LINE.

    Attributes:
        names: the columns.
        cut_lines: after reading: the lines that were left out, from 1.

    Raises:
        TraceError: the file is empty, or its header is none.
    """

    def __init__(self, path: Path, form: Files, *, lines: bool = False) -> None:
        self.path, self.form, self.cut_lines = path, form, list[int]()
        self._lines, self._rows, self._all_lines = lines, 0, 0
        self._headed = not lines and form.columns is None
        first = _first_line(path, form.encoding)
        if lines:
            self.names = [LINE]
        elif form.columns is not None:
            self.names = list(form.columns)
        else:
            self.names = self._header(first)
        self._quote = form.quote or ('"' if self._headed and '"' in first else "")

    def line(self, row: int) -> str:
        """Where row `row` of those read stands: its line, or the row where fields hold line feeds."""
        line = row + 1 + self._headed
        for cut in self.cut_lines:
            if cut > line:
                break
            line += 1
        read = self._rows + len(self.cut_lines) + self._headed
        return f"{line}" if self._all_lines <= read else f"row {row + 1}"

    def batches(self, wanted: Sequence[str]) -> Iterator[tuple[pa.Table, int]]:
        """Columns as text, batch by batch, each with the bytes of the file read so far.

        Raises:
            TraceError: a column is missing or comes twice, or the file is damaged.
        """
        self._check_columns(wanted)
        self.cut_lines.clear()
        self._rows = 0

        def leave_out(row: pa.csv.InvalidRow) -> str:
            self.cut_lines.append(row.number)
            return "skip"

        several = len(self.form.delimiter) > 1
        delimiter = "\x01" if self._lines else _UNIT_SEPARATOR if several else self.form.delimiter
        try:
            with self.path.open("rb") as raw:
                text = _Text(self.path, raw, self.form.encoding, self.form.delimiter if several else "")
                reader = pa.csv.open_csv(
                    pa.PythonFile(text, mode="r"),
                    # One thread: only then does pyarrow know the number of a line.
                    read_options=pa.csv.ReadOptions(
                        block_size=_BLOCK_BYTES,
                        use_threads=False,
                        column_names=self.names,
                        skip_rows=int(self._headed),
                    ),
                    parse_options=pa.csv.ParseOptions(
                        delimiter=delimiter,
                        invalid_row_handler=leave_out,
                        ignore_empty_lines=False,
                        quote_char=False if self._lines or not self._quote else self._quote,
                        newlines_in_values=False,
                    ),
                    convert_options=pa.csv.ConvertOptions(
                        column_types=dict.fromkeys(wanted, pa.string()),
                        include_columns=list(wanted),
                        strings_can_be_null=True,
                        null_values=[] if self._lines else list(MISSING),
                    ),
                )
                for batch in reader:
                    self._rows += len(batch)
                    yield pa.Table.from_batches([batch]), raw.tell()
                self._all_lines = text.lines
        except (pa.ArrowException, OSError) as problem:
            if isinstance(problem, OSError) and problem.errno is not None:
                raise TraceError(
                    f"{self.path} cannot be read: {problem.strerror}. Check the file."
                ) from problem
            raise TraceError(
                f"{self.path} cannot be read as text of columns ({_plain(problem)}). "
                "Correct it, or state its delimiter and quote in the mapping."
            ) from problem
        self.cut_lines.sort()

    def _header(self, first: str) -> list[str]:
        delimiter = self.form.delimiter
        if delimiter not in first:
            mark = next((mark for mark in _DELIMITERS if mark in first), None)
            if mark is not None:
                expected = _DELIMITERS.get(delimiter, repr(delimiter))
                raise TraceError(
                    f"{self.path}, line 1: fields are separated by {_DELIMITERS[mark]}, expected {expected}. "
                    f"State it in the mapping, delimiter = {json.dumps(mark)}, or write the file anew."
                )
        # As spreadsheets write it: spaces round a name mean nothing.
        return [name.strip().strip('"').strip() for name in first.split(delimiter)]

    def _check_columns(self, wanted: Sequence[str]) -> None:
        twice = next((name for name in wanted if self.names.count(name) > 1), None)
        if twice is not None:
            raise TraceError(
                f"{self.path}, line 1: column {twice} comes twice, expected it once. Use the published file."
            )
        missing = [name for name in wanted if name not in self.names]
        if missing:
            raise TraceError(
                f"{self.path}, line 1: no column {', '.join(missing)}; found {', '.join(self.names)[:300]}. "
                "Use the file as it was published, header included, or name its columns in the mapping."
            )


class _Text:
    """A file's bytes as pyarrow asks for them: unpacked, in UTF-8, and refused where they are no text.

    pyarrow itself would leave out a row of foreign bytes, or end with neither a line nor a file.
    """

    def __init__(self, path: Path, raw: IO[bytes], encoding: str, separator: str) -> None:
        self.closed = False
        self.lines = 0  # whole ones so far
        self._path = path
        self._file = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        self._latin = encoding == "latin-1"
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._separator, self._kept = separator.encode(), b""

    def read(self, size: int) -> bytes:
        """The next bytes, about `size`; none at the end.

        Raises:
            TraceError: damaged gzip data, or bytes that are no text.
        """
        try:
            data = self._file.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
            raise TraceError(
                f"{self._path}: gzip data ends or breaks after line {_whole_lines(self._path)} ({problem}), "
                "expected a whole file. Download the file again."
            ) from problem
        wrong = [(data.index(b"\0"), 0)] if b"\0" in data else []
        if self._latin:
            decoded = data.decode("latin-1").encode()
        else:
            decoded = data
            try:
                self._decoder.decode(data, final=not data)
            except UnicodeDecodeError as problem:
                kept = len(problem.object) - len(data)  # of the read before: a character that was cut
                wrong.append((problem.start - kept, problem.object[problem.start]))
        if wrong:
            self._refuse(data, *min(wrong))
        self.lines += data.count(b"\n")
        return self._separated(decoded, final=not data) if self._separator else decoded

    def _separated(self, data: bytes, final: bool) -> bytes:
        """With one character between fields; what may be half a separator waits for the next read."""
        data = self._kept + data
        cut = 0 if final else len(self._separator) - 1
        self._kept = data[len(data) - cut :] if cut else b""
        whole = data[: len(data) - cut].replace(self._separator, _UNIT_SEPARATOR.encode())
        if not whole and self._kept and not final:  # nothing would mean the end
            return self.read(1 << 16)
        return whole

    def _refuse(self, data: bytes, at: int, byte: int) -> None:
        line = self.lines + data[: max(at, 0)].count(b"\n") + 1
        raise TraceError(
            f"{self._path}, line {line}: byte {byte:#04x}, which is no text, expected text in UTF-8. "
            "Download the file again, or state its encoding in the mapping."
        )

    def close(self) -> None:
        """Nothing: whoever opened the file closes it."""
        self.closed = True


def _first_line(path: Path, encoding: str) -> str:
    """The first line; refuses what is empty or no text."""
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
        text = line.decode("utf-8-sig" if encoding == "utf-8" else encoding).rstrip("\r\n")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise TraceError(
            f"{path}, line 1: not UTF-8 text, expected text of columns. Unpack archives other than .gz."
        )
    if not text:
        raise TraceError(f"{path} is empty, expected text of columns. Download the file again.")
    if "\r" in text:
        raise TraceError(
            f"{path}, line 1: found a carriage return, expected line feeds between lines. "
            "Use the published file, or write it anew with line feeds."
        )
    return text


def _plain(problem: Exception) -> str:
    """pyarrow's finding, without a page of the data."""
    return re.sub(r"\s+", " ", str(problem))[:200]


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
