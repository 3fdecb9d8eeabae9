"""SeqVault's packed blocks in other engines, RocksDB and LMDB (blocks.cpp), under SeqVault's own decoder.

What differs from SeqVault is the engine alone: how a user's blocks are found and how their bytes come. All
are called from compiled code, without Python between, and so is SeqVault itself (`KernelEngine`).
"""

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llvmlite.binding
import numpy as np
from numba import njit, types, uint64

from benchmarks.stores.harness.clock import Took, timed
from benchmarks.stores.harness.engines import ALL, Users, VaultEngine
from benchmarks.stores.harness.generator import Histories
from benchmarks.stores.harness.rocks import LIBRARY, digest
from benchmarks.stores.harness.vault import UnavailableError
from seqvault import HistorySchema
from seqvault.query import NO_BOUND_S
from seqvault.vault import SeqVault
from seqvault.vault.compiled.scratch import Scratch
from seqvault.vault.format.block import read_header
from seqvault.vault.kernels.decode import decode_rows, verify_block
from seqvault.vault.kernels.reads.read import read as vault_read
from seqvault.vault.kernels.views import bytes_at, view8

if not LIBRARY.exists():
    raise UnavailableError("RocksDB and LMDB in C++ are not built: run `make bench-deps`")
_native = ctypes.CDLL(str(LIBRARY))
for _name, _arguments in {
    "open": [ctypes.c_char_p, ctypes.c_char_p],
    "put": [ctypes.c_int64, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_uint64],
    "finish": [ctypes.c_int64],
    "close": [ctypes.c_int64],
    "failure": [],
}.items():
    _call = getattr(_native, f"blocks_{_name}")
    _call.argtypes, _call.restype = _arguments, ctypes.c_int64
_native.blocks_failure.restype = ctypes.c_char_p
for _name in ("blocks_newest", "blocks_release"):
    llvmlite.binding.add_symbol(_name, ctypes.cast(getattr(_native, _name), ctypes.c_void_p).value)
_newest: Any = types.ExternalFunction(
    "blocks_newest", types.int64(types.int64, types.uint64, types.uint64, types.uint64, types.uint64)
)
_release = types.ExternalFunction("blocks_release", types.void(types.int64))
# Blocks a user may have.
_MOST = 4096
_U0, _U6 = np.uint64(0), np.uint64(6)


@njit(nogil=True)
def _read(engine, user, n, places, wanted, out, capacity, work, context):  # type: ignore[no-untyped-def]
    """The newest n rows at the end of `out`: where they begin; -1 when the engine, -2 when a block fails.

    places: (K, 2) u8, filled with address and bytes of each block; the others as decode_rows has them.
    """
    count = _newest(engine, user, n, places.ctypes.data, uint64(places.shape[0]))
    row = uint64(capacity)
    for k in range(count):
        size = places[k, 1]
        data = bytes_at(places[k, 0], size)
        head = view8(places[k, 0], uint64(8))
        rows = head[_U6] & uint64(0xFFFFFFFF)
        first_s, last_s = np.int64(head[uint64(4)]), np.int64(head[uint64(5)])
        if verify_block(data, _U0, size, user, head[uint64(3)], rows, first_s, last_s) != 0:
            count = -2
            break
        taken = min(rows, uint64(n) - (uint64(capacity) - row))
        row -= taken
        if decode_rows(data, _U0, size, rows - taken, rows, wanted, out, row, work, context) != 0:
            count = -2
            break
    _release(engine)
    return np.int64(row) if count >= 0 else np.int64(count)


def _opened(engine: str, words: dict[str, object]) -> int:
    line = " ".join(f"{name}={value}" for name, value in words.items())
    return _did(engine, _native.blocks_open(engine.encode(), line.encode()))


def _did(engine: str, answer: int) -> int:
    if answer == -1:
        raise OSError(f"{engine}: {_native.blocks_failure().decode()}")
    return answer


def fill(engine: str, folder: Path, store: SeqVault, users: Iterable[int]) -> int:
    """A database of the store's blocks; its bytes on disk.

    Args:
        engine: "rocksdb" or "lmdb".
        users: ascending; each has blocks of their own, so more than 128 behaviours.
    """
    folder.mkdir()
    words = {"path": folder, "fill": 1, "compression": "none", "prefix": 8}
    handle = _opened(engine, words)
    files: dict[Path, np.ndarray] = {}
    for user in users:
        for path, offset, size in reversed(store.locate(user, ALL)):
            data = files.setdefault(path, np.memmap(path, "u1", "r"))[offset : offset + size]
            start = read_header(data).start
            _did(engine, _native.blocks_put(handle, user, start, data.tobytes(), size))
    size = _did(engine, _native.blocks_finish(handle))
    _native.blocks_close(handle)
    return size


@dataclass
class BlocksEngine:
    """SeqVault's blocks in another engine, opened for reading.

    Args:
        name: as in the rows. engine: see fill.
        words: options, of RocksDB as tuning.h has them.
    """

    name: str
    engine: str
    folder: Path
    schema: HistorySchema
    longest: int
    words: dict[str, object]

    def __post_init__(self) -> None:
        words = {"path": self.folder, "compression": "none", "prefix": 8} | self.words
        self._handle = _opened(self.engine, words)
        self._scratch = Scratch()
        self._places = np.zeros((_MOST, 2), "u8")
        names = self.schema.names
        widths = {name: self.schema.dtype(name).itemsize for name in names}
        self._out = np.zeros(self.longest * sum(widths.values()), "u1")
        # The widest first: each column is aligned whatever the number of rows.
        self._columns: dict[str, np.ndarray] = {}
        self._wanted = np.zeros((len(names), 4), "u8")
        before = 0
        for name in sorted(names, key=lambda one: -widths[one]):
            place = names.index(name)
            self._wanted[place, :3] = place, widths[name], self.longest * before
            self._columns[name] = np.ndarray(
                self.longest, self.schema.dtype(name), self._out, self.longest * before
            )
            before += widths[name]

    def read(self, users: Users, n: int) -> Took:
        """See Engine.read."""
        (user,) = users
        took = timed(lambda: self._first(user, n))
        return took._replace(rows=self.longest - took.rows)

    def check(self, users: Users, n: int) -> int:
        """See Engine.check."""
        first = self._first(users[0], n)
        return digest({name: column[first:] for name, column in self._columns.items()})

    def close(self) -> None:
        """Close the database."""
        _native.blocks_close(self._handle)

    def _first(self, user: int, n: int) -> int:
        first: int = _read(
            self._handle, user, min(n, self.longest), self._places, self._wanted, self._out, self.longest,
            self._scratch.work, self._scratch.context,
        )  # fmt: skip
        if first < 0:
            why = _native.blocks_failure().decode() if first == -1 else "a block is damaged"
            raise OSError(f"{self.name}, user {user}: {why}")
        return first


@dataclass
class KernelEngine(VaultEngine):
    """SeqVault's compiled read without the Python around it: what the other engines' reads are beside."""

    _made: dict[int, Any] = field(default_factory=dict)

    def read(self, users: Users, n: int) -> Took:
        """See Engine.read."""
        asked = self._asked(users)
        if n not in self._made:
            self._made[n] = self.store.prepare_last(n)
        reading = self._made[n]._reading
        words, ask, offsets, most = reading._thread.words, reading._ask, reading._offsets, reading._n
        out = reading._out
        took = timed(lambda: vault_read(words, ask, asked, offsets, out, most, NO_BOUND_S))
        if took.rows >= 0:
            return took
        # Its memory was too small: it grows, as it would have in a call from Python.
        self._made[n](asked)
        return self.read(users, n)


def filled(
    folder: Path, store: SeqVault, histories: Histories, engines: Iterable[str] = ("rocksdb", "lmdb")
) -> dict[str, int]:
    """Databases of all users' blocks below a folder, one an engine; bytes on disk of each."""
    return {engine: fill(engine, folder / engine, store, map(int, histories.users)) for engine in engines}
