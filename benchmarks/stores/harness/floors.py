"""The least a read can cost: the same bytes by bare pread, and a copy as long as the output.

Compiled loops without index, checksum, decoding or allocation; their buffers are kept between reads. Where
the bytes lie, `store.locate` says beforehand.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numba import njit, types, uint64

from benchmarks.stores.harness.clock import Took, timed
from benchmarks.stores.harness.engines import Users
from seqvault import HistorySchema

pread: Any = types.ExternalFunction(
    "pread", types.int64(types.int32, types.uint64, types.uint64, types.int64)
)
_memmove = types.ExternalFunction("memmove", types.uint64(types.uint64, types.uint64, types.uint64))
ALIGNED = 4096


class Locating(Protocol):
    """A store that says where a user's newest n behaviours lie."""

    @property
    def schema(self) -> HistorySchema:
        """What a behaviour has."""
        ...

    def locate(self, user: int, n: int) -> list[tuple[Path, int, int]]:
        """(file, offset, bytes) of every block a read of them touches, oldest first."""
        ...


@njit(nogil=True)
def _read_and_copy(extents: Any, into: Any, source: Any, out: Any, out_bytes: Any) -> Any:
    """Bytes read; -1 when a pread fails. extents: (E, 4) i8 file, offset, bytes to ask for, least to get."""
    done = 0
    for i in range(extents.shape[0]):
        size = uint64(extents[i, 2])
        if pread(np.int32(extents[i, 0]), uint64(into + done), size, extents[i, 1]) < extents[i, 3]:
            return -1
        done += extents[i, 2]
    _memmove(uint64(out), uint64(source), uint64(out_bytes))
    return done


@dataclass
class FloorEngine:
    """pread of what SeqVault reads, and a memcpy of what it returns."""

    name: str
    store: Locating
    lengths: dict[int, int]
    row_bytes: int
    direct: bool = False
    _files: dict[Path, int] = field(default_factory=dict)
    _plans: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        longest = max(self.lengths.values())
        self._source = np.ones(longest * self.row_bytes, "u1")
        self._out = np.ones(longest * self.row_bytes, "u1")
        self._into = np.ones(longest * self.row_bytes * 2 + (1 << 20), "u1")
        self._at = -(-self._into.ctypes.data // ALIGNED) * ALIGNED

    def read(self, users: Users, n: int) -> Took:
        """See Engine.read."""
        (user,) = users
        extents, rows = self._planned(user, n), min(n, self.lengths[user])
        into, source, out = self._at, self._source.ctypes.data, self._out.ctypes.data
        size = rows * self.row_bytes
        took = timed(lambda: _read_and_copy(extents, into, source, out, size))
        if took.rows < 0:
            raise OSError(f"{self.name}: pread of user {user} failed")
        return took._replace(rows=rows)

    def check(self, users: Users, n: int) -> None:
        """A floor returns nothing to check."""

    def close(self) -> None:
        """Close the files."""
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()

    def _planned(self, user: int, n: int) -> np.ndarray:
        if (user, n) not in self._plans:
            self._plans[user, n] = np.array(self._joined(self.store.locate(user, n)), "i8").reshape(-1, 4)
        return self._plans[user, n]

    def _joined(self, places: list[tuple[Path, int, int]]) -> list[tuple[int, int, int, int]]:
        """Neighbouring blocks in one pread; whole pages when they come straight from the device."""
        runs: list[list[int]] = []
        for path, offset, size in places:
            file, end = self._file(Path(path)), offset + size
            if runs and runs[-1][0] == file and runs[-1][2] == offset:
                runs[-1][2] = end
            else:
                runs.append([file, offset, end])
        page = ALIGNED if self.direct else 1
        planned = []
        for file, start, end in runs:
            first, behind = start // page * page, -(-end // page) * page
            planned.append((file, first, behind - first, end - first))
        return planned

    def _file(self, path: Path) -> int:
        if path not in self._files:
            self._files[path] = os.open(path, os.O_RDONLY | (os.O_DIRECT if self.direct else 0))
        return self._files[path]
