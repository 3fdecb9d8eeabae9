"""Processes that read an arm's store ahead, so that whoever scores finds histories in memory.

A read of 1,000 behaviours takes as long as a GPU needs to score several requests, and much of it holds the
interpreter's lock. Each process opens the store read-only and writes its answers into memory that both share.

    slot: time_s (i8) | age_s (f4) | category, dwell_s (u2) | action, scene (u1), of all behaviours read

Which process reads what, and how many there are, changes no answer. Start at `Readers.answers`.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from multiprocessing import reduction
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
from simulator.execution.parallel import WorkerError, prepare_worker, process_context

#: Stores that several processes may open at once.
SHARED = ("lastn", "seqvault")

_SLOTS = 2  # of a process: it reads into one while the other is scored
_AGE = "age_s"
_DTYPES = {name: BEHAVIOURS.dtype(name) for name in MODEL_COLUMNS} | {_AGE: np.dtype("f4")}
# The widest first, so that all are aligned whatever their length.
_ORDER = sorted(_DTYPES, key=lambda name: -_DTYPES[name].itemsize)
_ROW_BYTES = sum(dtype.itemsize for dtype in _DTYPES.values())


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
        """Start them; the store may still be written until `open`.

        Args:
            place: the store, of a kind in SHARED.
            count: processes.
            most: behaviours of one answer.

        Raises:
            OSError: there is no room for the memory.
        """
        self._readers: list[_Reader] = []
        try:
            with interrupts.signals_held():
                for _ in range(count):
                    self._readers.append(_Reader(place, most))
        except BaseException:
            self._end()
            raise

    def open(self) -> None:
        """Have them open the store, which does not change any more.

        Raises:
            StoreError: it does not open.
        """
        for reader in self._readers:
            reader.open()
        for reader in self._readers:
            reader.opened()

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
        self._end()

    def _end(self) -> None:
        for reader in self._readers:
            reader.end()


class _Reader:
    """One process, seen from the one that scores."""

    def __init__(self, place: Place, most: int) -> None:
        self._size = most * _ROW_BYTES
        memory = _Memory.of(_SLOTS * self._size, place.folder.parent)
        self._memory = memory.mapped()
        context = process_context(__name__)
        self._connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_read, args=(theirs, place, memory, self._size, dict(os.environ)), daemon=True
        )
        self._process.start()
        # So that its end is noticed here.
        theirs.close()
        os.close(memory.file)

    def open(self) -> None:
        """Let it open the store."""
        self._send(None)

    def opened(self) -> None:
        """Wait until it has."""
        self._received()

    def begin(self, slot: int, ask: Ask) -> None:
        """Let it read."""
        self._send((slot, ask))

    def answer(self, slot: int, ask: Ask) -> Answer:
        """What it read, when it has."""
        offsets: NDArray[np.int64] = self._received()
        columns = _columns(self._memory, slot * self._size, int(offsets[-1]))
        age_s = columns.pop(_AGE)
        return Answer(HistoryBatch(ask.users, offsets, columns), age_s)

    def end(self) -> None:
        """End it wherever it is: it only reads, and what its store keeps goes with the arm's folder."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _send(self, message: object) -> None:
        try:
            self._connection.send(message)
        except OSError:
            self._received()  # says what it ended with

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


def _read(
    connection: Connection, place: Place, memory: _Memory, size: int, environment: dict[str, str]
) -> None:
    """The process: answer until it is ended."""
    prepare_worker(environment, threading.Event())
    tempfile.tempdir = str(place.folder.parent)  # for what a store keeps for itself
    try:
        mapped = memory.mapped()
        connection.recv()
        with place.open() as store:
            connection.send(None)
            while True:
                slot, ask = connection.recv()
                found = answer(store, ask)
                offsets = found.batch.offsets
                into = _columns(mapped, slot * size, int(offsets[-1]))
                for name, values in {**found.batch.columns, _AGE: found.age_s}.items():
                    into[name][:] = values
                connection.send(offsets)
    except EOFError:  # nobody asks any more
        return
    except Exception as error:
        connection.send(error)


@dataclass(frozen=True)
class _Memory:
    """Memory that a process shares with the one that it is started by: a file without a name.

    Whatever happens to either, nothing of it is left.
    """

    file: int
    size: int

    @classmethod
    def of(cls, size: int, folder: Path) -> _Memory:
        """So many bytes of memory, or, where there are none left, of the disk in `folder`.

        Raises:
            OSError: there is no room there either.
        """
        try:
            file = os.memfd_create("laser-ab-reads")
            _claim(file, size)
        except (AttributeError, OSError):  # another system, or no room
            with tempfile.TemporaryFile(dir=folder) as named:
                file = os.dup(named.fileno())
            _claim(file, size)
        return cls(file, size)

    def __reduce__(self) -> tuple[Callable[..., _Memory], tuple[Any, int]]:
        return _arrived, (reduction.DupFd(self.file), self.size)

    def mapped(self) -> mmap.mmap:
        """Its bytes."""
        return mmap.mmap(self.file, self.size)


def _arrived(file: Any, size: int) -> _Memory:
    return _Memory(file.detach(), size)


def _claim(file: int, size: int) -> None:
    """Have the room now: a write to a mapping without any would end the process."""
    try:
        claim = getattr(os, "posix_fallocate", lambda file, _, length: os.ftruncate(file, length))
        claim(file, 0, size)
    except OSError:
        os.close(file)
        raise


def _columns(memory: mmap.mmap, start: int, rows: int) -> dict[str, NDArray[Any]]:
    """The columns of an answer in its slot."""
    found = {}
    for name in _ORDER:
        found[name] = np.frombuffer(memory, _DTYPES[name], rows, start)
        start += rows * _DTYPES[name].itemsize
    return found
