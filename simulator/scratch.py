"""Records of a long trace, and columns of all behaviours, in temporary files, looked at a stretch at a time.

What a run keeps of every request and behaviour while it works is here and not in memory: a stretch of a file
is mapped while it is looked at (`Scratch`), or all of it is, and what was looked at is let go of (`let_go`).
The files have no name, so nothing is left of them when the process ends, however it ends.
"""

from __future__ import annotations

import math
import mmap
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from simulator.errors import SimulatorError

I8 = NDArray[np.int64]
_ALIGNMENT = 64
# Are not worth a file: each of its pages costs when it is written to first, and a what-if has many.
_FEW_BYTES = 1 << 25
_AT_ONCE = 1 << 20  # rows of a column in a file that are looked at together


def own_folder() -> Path:
    """A folder of this user among the temporary ones, for what is kept where there is no home to keep it in.

    Raises:
        SimulatorError: another user has made it.
        OSError: the folder of temporary files is not writable.
    """
    folder = Path(gettempdir()) / f"laser-ab-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise SimulatorError(
            f"{folder}: found another user's, expected one's own. Set TMPDIR or HOME elsewhere."
        )
    return folder


def mapped(columns: Mapping[str, NDArray[Any]], folder: Path | None = None) -> dict[str, NDArray[Any]]:
    """The same columns in a temporary file: read-only, and in memory only from a look until `let_go`.

    Those that are in a file already stay where they are, and so do few bytes.

    Raises:
        OSError: the disk is full or the folder not writable.
    """
    found = dict(columns)
    columns = {name: column for name, column in columns.items() if _file_of(column) is None}
    if sum(column.nbytes for column in columns.values()) <= _FEW_BYTES:
        return found | {name: _read_only(column) for name, column in columns.items()}
    with _saying_where(folder), TemporaryFile(dir=folder) as file:
        starts = {}
        for name, column in columns.items():
            file.write(bytes(-file.tell() % _ALIGNMENT))
            starts[name] = file.tell()
            file.write(np.ascontiguousarray(column).data)
        file.flush()
        held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        for name, column in columns.items():
            flat = np.frombuffer(held, column.dtype, column.size, starts[name])
            found[name] = flat.reshape(column.shape)
    return found


def _read_only(column: NDArray[Any]) -> NDArray[Any]:
    column = column.view()
    column.flags.writeable = False
    return column


def gathered(
    parts: Iterable[Mapping[str, NDArray[Any]]], folder: Path | None = None
) -> dict[str, NDArray[Any]]:
    """Columns whose rows come in parts, one part in memory at a time; what is found is as in `mapped`.

    Args:
        parts: at least one, all with the same columns.

    Raises:
        OSError: the disk is full or the folder not writable.
    """
    files: dict[str, IO[bytes]] = {}
    found: dict[str, NDArray[Any]] = {}
    with _saying_where(folder), ExitStack() as stack:
        for part in parts:
            for name, column in part.items():
                if name not in files:
                    files[name] = stack.enter_context(TemporaryFile(dir=folder))
                    found[name] = np.empty((0, *column.shape[1:]), column.dtype)
                files[name].write(np.ascontiguousarray(column).data)
        for name, file in files.items():
            if file.tell():
                file.flush()
                held, none = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), found[name]
                found[name] = np.frombuffer(held, none.dtype).reshape(-1, *none.shape[1:])
    return found


def apart(
    parts: Iterable[tuple[NDArray[Any], I8]], groups: int, folder: Path | None = None
) -> Iterator[NDArray[Any]]:
    """Records by group, in the order in which they came, one group in memory at a time.

    Args:
        parts: records, and the group of each, from 0.
        groups: how many there are.
        folder: of the temporary files, one a group.

    Raises:
        OSError: the disk is full or the folder not writable.
    """
    with _saying_where(folder), ExitStack() as stack:
        files = [stack.enter_context(TemporaryFile(dir=folder)) for _ in range(groups)]
        record: np.dtype[Any] | None = None
        for records, group in parts:
            order = np.argsort(group, kind="stable")
            records, record = records[order], records.dtype
            edges = np.searchsorted(group[order], np.arange(groups + 1)).tolist()
            for file, low, high in zip(files, edges, edges[1:], strict=False):
                file.write(records[low:high].tobytes())
        for file in files:
            file.seek(0)
            data = file.read()
            yield np.frombuffer(data, record) if data else np.empty(0, record)
            file.truncate(0)


def blank(columns: Mapping[str, tuple[DTypeLike, tuple[int, ...]]]) -> dict[str, NDArray[Any]]:
    """Zeros to be written to: in a temporary file, or in memory where they are few.

    Args:
        columns: by name, dtype and shape.

    Raises:
        OSError: the disk is full or the folder of temporary files not writable.
    """
    starts, end = {}, 0
    for name, (dtype, shape) in columns.items():
        starts[name] = end
        size = np.dtype(dtype).itemsize * math.prod(shape)
        end += size + -size % _ALIGNMENT
    if end <= _FEW_BYTES:
        return {name: np.zeros(shape, dtype) for name, (dtype, shape) in columns.items()}
    with _saying_where(None), TemporaryFile() as file:
        _make_room(file.fileno(), end)
        held = mmap.mmap(file.fileno(), end)
    return {
        name: np.frombuffer(held, dtype, math.prod(shape), starts[name]).reshape(shape)
        for name, (dtype, shape) in columns.items()
    }


def _make_room(file: int, size: int) -> None:
    """Lengthen a file by zeros."""
    if hasattr(os, "posix_fallocate") and size:
        # Room is made now: on a disk that fills up later a mapped page would end the process.
        os.posix_fallocate(file, 0, size)
    else:
        os.truncate(file, size)


@contextmanager
def _saying_where(folder: Path | None) -> Iterator[None]:
    """An error about a file without a name names its folder."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(folder or gettempdir())
        raise


def let_go(*arrays: NDArray[Any]) -> None:
    """Give the memory back that mapped files' pages take once they were looked at; other arrays stay."""
    files = {id(file): file for array in arrays if (file := _file_of(array)) is not None}
    for file in files.values():
        if hasattr(mmap, "MADV_DONTNEED"):
            file.madvise(mmap.MADV_DONTNEED)


def slices_of(rows: int, size: int, *columns: NDArray[Any]) -> Iterator[slice]:
    """Rows, `size` at a time, in order; after each the memory that columns in files took is given back."""
    for first in range(0, rows, size):
        yield slice(first, min(first + size, rows))
        let_go(*columns)


def taken(column: NDArray[Any], rows: I8) -> NDArray[Any]:
    """column[rows] of ascending rows, with a part of a file in memory at a time."""
    found = np.empty((len(rows), *column.shape[1:]), column.dtype)
    for part in slices_of(len(column), _AT_ONCE, column):
        low, high = np.searchsorted(rows, (part.start, part.stop))
        found[low:high] = column[rows[low:high]]
    return found


def largest(column: NDArray[Any], least: int = 0) -> int:
    """The maximum of a column of whole numbers, or `least` where that is more or there is none."""
    found = least
    for part in slices_of(len(column), _AT_ONCE, column):
        found = max(found, int(column[part].max()))
    return found


def _file_of(array: NDArray[Any]) -> mmap.mmap | None:
    """The mapped file that an array looks at; None where it is in memory."""
    held: Any = array
    while isinstance(held, np.ndarray | memoryview):
        held = held.base if isinstance(held, np.ndarray) else held.obj
    return held if isinstance(held, mmap.mmap) else None


class Scratch:
    """R records, all zeros at first.

    Args:
        record: what one is.
        rows: R.
        folder: where the file is; the system's folder of temporary files by default.

    Raises:
        OSError: the disk is full or the folder not writable.
    """

    def __init__(self, record: DTypeLike, rows: int, folder: Path | None = None) -> None:
        self.record, self._rows = np.dtype(record), rows
        size = self.record.itemsize * rows
        with _saying_where(folder):
            with TemporaryFile(dir=folder) as file:
                self._file = os.dup(file.fileno())
            weakref.finalize(self, os.close, self._file)
            _make_room(self._file, size)

    def __len__(self) -> int:
        return self._rows

    def of(self, rows: I8) -> tuple[NDArray[Any], I8]:
        """The records from the lowest to the highest of some rows, to read and write, and the rows' places.

        They are mapped as long as somebody holds them: copy what is to stay.
        """
        if len(rows) == 0:
            return np.zeros(0, self.record), np.zeros(0, np.int64)
        first, end = int(rows.min()), int(rows.max()) + 1
        start = first * self.record.itemsize
        aligned = start - start % mmap.ALLOCATIONGRANULARITY
        mapped = mmap.mmap(self._file, end * self.record.itemsize - aligned, offset=aligned)
        return np.frombuffer(mapped, self.record, end - first, start - aligned), rows - first

    def take(self, rows: I8) -> NDArray[Any]:
        """(n,) copies of some records."""
        records, places = self.of(rows)
        taken: NDArray[Any] = records[places]
        return taken
