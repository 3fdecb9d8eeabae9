"""Processes that read an arm's store ahead, so that whoever scores finds histories in memory.

A read of 1,000 behaviours takes as long as a GPU needs to score several requests, and much of it holds the
interpreter's lock. Each process opens the store read-only and writes its answers into memory that both share.

    slot: time_s (i8) | age_s (f4) | category, dwell_s (u2) | action, scene (u1), of all behaviours read

Which process reads what, and how many there are, changes no answer. Start at `Readers.answers`.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from seqvault.schema import BEHAVIOURS
from seqvault.store import HistoryBatch, HistoryStore, open_store
from simulator.arms.histories.asked import MODEL_COLUMNS, Answer, Ask, answer
from simulator.execution import interrupts
from simulator.execution.parallel import WorkerError, prepare_worker

#: Stores that several processes may open at once.
SHARED = ("lastn", "seqvault")

_SLOTS = 2  # of a process: it reads into one while the other is scored
_AGE = "age_s"
_DTYPES = {name: BEHAVIOURS.dtype(name) for name in MODEL_COLUMNS} | {_AGE: np.dtype("f4")}
# The widest first, so that all are aligned whatever their length.
_ORDER = sorted(_DTYPES, key=lambda name: -_DTYPES[name].itemsize)
_ROW_BYTES = sum(dtype.itemsize for dtype in _DTYPES.values())
_MEMORY = Path("/dev/shm")  # where files are memory, on Linux
_END_S = 5.0  # that a process has to close its store


@dataclass(frozen=True)
class Place:
    """A store that is there: its kind, folder and options, as `seqvault.store.open_store` takes them."""

    kind: str
    folder: Path
    options: Mapping[str, Any]

    def open(self) -> HistoryStore:
        """Open it to read."""
        return open_store(self.kind, self.folder, read_only=True, **self.options)


class Readers:
    """Use it in `with`: processes and memory are let go of at the end."""

    def __init__(self, place: Place, count: int, most: int) -> None:
        """Start them.

        Args:
            place: the store, of a kind in SHARED; it must not change meanwhile.
            count: processes.
            most: behaviours of one answer.

        Raises:
            OSError: there is no room for the memory.
        """
        self._readers: list[_Reader] = []
        try:
            with interrupts.signals_held():
                self._readers += [_Reader(place, most) for _ in range(count)]
            for reader in self._readers:
                reader.begun()
        except BaseException:
            self._end(now=True)
            raise

    def answers(self, asks: Iterable[Ask]) -> Iterator[Answer]:
        """What each finds, in their order; an answer is valid until the next is asked for.

        Raises:
            StoreError: a read failed.
            WorkerError: a process was killed.
        """
        # Of each process all slots are in use at any time; the next ask goes to the slot that was let go of.
        places = [(reader, slot) for slot in range(_SLOTS) for reader in self._readers]
        left, under_way = iter(asks), deque[tuple[_Reader, int, Ask]]()
        for (reader, slot), ask in zip(places, islice(left, len(places)), strict=False):
            reader.begin(slot, ask)
            under_way.append((reader, slot, ask))
        while under_way:
            reader, slot, ask = under_way.popleft()
            yield reader.answer(slot, ask)
            for following in islice(left, 1):
                reader.begin(slot, following)
                under_way.append((reader, slot, following))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(now=error is not None)

    def _end(self, *, now: bool) -> None:
        for reader in self._readers:
            reader.end(now=now)


class _Reader:
    """One process, seen from the one that scores."""

    def __init__(self, place: Place, most: int) -> None:
        size = most * _ROW_BYTES
        self._file, path = _shared_file(_SLOTS * size, place.folder)
        self._path: Path | None = path
        context = get_context("spawn")  # RocksDB owns threads that a fork would lose
        self._connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_read, args=(theirs, place, path, size, os.getpid()), daemon=True
        )
        self._process.start()
        theirs.close()  # so that its end is noticed here
        self._size = size

    def begun(self) -> None:
        """Wait until it has opened the store and the memory, which then has no name that could be left."""
        self._received()
        self._forget_name()

    def begin(self, slot: int, ask: Ask) -> None:
        """Let it read."""
        try:
            self._connection.send((slot, ask))
        except OSError:
            self._received()  # says what it ended with

    def answer(self, slot: int, ask: Ask) -> Answer:
        """What it read, when it has."""
        offsets: NDArray[np.int64] = self._received()
        columns = _columns(self._file, slot * self._size, int(offsets[-1]))
        age_s = columns.pop(_AGE)
        return Answer(HistoryBatch(ask.users, offsets, columns), age_s)

    def end(self, *, now: bool) -> None:
        """Let it close its store, or, where nobody waits for that, end it."""
        if not now:
            with contextlib.suppress(OSError):
                self._connection.send(None)
            self._process.join(_END_S)
        self._process.kill()
        self._process.join()
        self._connection.close()
        self._forget_name()

    def _received(self) -> Any:
        try:
            found = self._connection.recv()
        except (EOFError, OSError) as error:
            raise WorkerError(
                "A process that reads an arm's store was killed, expected it to read on. Most often the "
                "system is out of memory then: free some, or use fewer --jobs."
            ) from error
        if isinstance(found, BaseException):
            raise found
        return found

    def _forget_name(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None


def _read(connection: Connection, place: Place, path: Path, size: int, parent: int) -> None:
    """The process: answer until it is told to end."""
    prepare_worker(parent, threading.Event())
    # What a store keeps for itself goes with the arm's folder, however this ends.
    tempfile.tempdir = str(place.folder.parent)
    try:
        memory = _mapped(path)
        with place.open() as store:
            connection.send(None)
            while (asked := connection.recv()) is not None:
                slot, ask = asked
                found = answer(store, ask)
                offsets = found.batch.offsets
                into = _columns(memory, slot * size, int(offsets[-1]))
                for name, values in {**found.batch.columns, _AGE: found.age_s}.items():
                    into[name][:] = values
                connection.send(offsets)
    except EOFError:  # nobody asks any more
        return
    except Exception as error:
        connection.send(error)


def _columns(memory: mmap.mmap, start: int, rows: int) -> dict[str, NDArray[Any]]:
    """The columns of an answer in its slot."""
    found = {}
    for name in _ORDER:
        found[name] = np.frombuffer(memory, _DTYPES[name], rows, start)
        start += rows * _DTYPES[name].itemsize
    return found


def _shared_file(size: int, folder: Path) -> tuple[mmap.mmap, Path]:
    """A file of memory, or where there is none that large, of the disk beside a folder."""
    try:
        return _file_in(_MEMORY, size)
    except OSError:
        return _file_in(folder.parent, size)


def _file_in(folder: Path, size: int) -> tuple[mmap.mmap, Path]:
    descriptor, name = tempfile.mkstemp(prefix="laser-ab-read-", dir=folder)
    path = Path(name)
    try:
        # Room now: a write to a mapping without any would end the process.
        claim = getattr(os, "posix_fallocate", lambda file, _, length: os.ftruncate(file, length))
        claim(descriptor, 0, max(size, 1))
        return _mapped(path), path
    except BaseException:
        path.unlink()
        raise
    finally:
        os.close(descriptor)


def _mapped(path: Path) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)
