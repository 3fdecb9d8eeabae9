"""The least a read of the zstd tier can cost: a bare pread, and libzstd over every frame in the bytes."""

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import llvmlite.binding
import numpy as np
from numba import njit, types, uint64

from benchmarks.stores.harness.clock import Took, timed
from benchmarks.stores.harness.engines import Users
from benchmarks.stores.harness.floors import FloorEngine, pread
from benchmarks.stores.harness.vault import UnavailableError

try:
    from seqvault.vault.format import block
    from seqvault.vault.format.zstd import PlainPlanes
    from seqvault.vault.kernels.zstd import LIBRARY
except ImportError as error:
    raise UnavailableError(f"this SeqVault has no zstd tier: {error}") from error

# ZSTD_d_format = ZSTD_f_zstd1_magicless, as SeqVault writes frames.
_FORMAT, _MAGICLESS = 1000, 1

# The library SeqVault decompresses with, by the same way: an address, no wrapper.
llvmlite.binding.add_symbol(
    "floor_decompress", ctypes.cast(LIBRARY.ZSTD_decompressDCtx, ctypes.c_void_p).value
)
decompress = types.ExternalFunction("floor_decompress", types.uint64(*[types.uint64] * 5))
LIBRARY.ZSTD_createDCtx.restype = ctypes.c_void_p
LIBRARY.ZSTD_DCtx_setParameter.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]


@njit(nogil=True)
def _read_and_decompress(extents: Any, into: Any, frames: Any, context: Any, out: Any) -> Any:
    """Bytes decompressed; negative when a pread or a frame fails. frames: (F, 3) u8 place, bytes, content."""
    done = uint64(0)
    for i in range(extents.shape[0]):
        got = pread(np.int32(extents[i, 0]), into + done, uint64(extents[i, 2]), extents[i, 1])
        if got < extents[i, 3]:
            return -1
        done += uint64(extents[i, 2])
    at = out
    for i in range(frames.shape[0]):
        got = decompress(context, at, frames[i, 2], into + frames[i, 0], frames[i, 1])
        if got != frames[i, 2]:
            return -2
        at += frames[i, 2]
    return np.int64(at - out)


class _Recorder(PlainPlanes):
    """Decompresses as the plain decoder does, and notes every frame it was handed."""

    frames: list[tuple[bytes, int]]

    def decompress(self, frame: bytes, count: int) -> bytes:
        """See PlainPlanes.decompress."""
        self.frames.append((bytes(frame), count))
        return super().decompress(frame, count)


def frames_of(schema: Any, data: bytes) -> list[tuple[int, int, int]]:
    """(place, bytes, content) of every zstd frame in one block."""
    array = np.frombuffer(data, "u1")
    recorder = _Recorder()
    recorder.frames = []
    with patch.object(block, "PlainPlanes", lambda: recorder):
        block.decode_block_plain(schema, array, 0, 0, block.read_header(array).rows, schema.names)
    found = {}
    for frame, count in recorder.frames:
        at = data.find(frame)
        found[at] = (at, len(frame), count)
    return sorted(found.values())


@dataclass
class ZstdFloorEngine(FloorEngine):
    """pread of what SeqVault's zstd tier reads, and libzstd alone over all of its frames."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._context = np.uint64(LIBRARY.ZSTD_createDCtx())
        LIBRARY.ZSTD_DCtx_setParameter(int(self._context), _FORMAT, _MAGICLESS)
        self._frames: dict[tuple[int, int], np.ndarray] = {}

    def read(self, users: Users, n: int) -> Took:
        """See Engine.read."""
        (user,) = users
        extents, frames = self._planned(user, n), self._framed(user, n)
        into, out, context = np.uint64(self._at), np.uint64(self._out.ctypes.data), self._context
        took = timed(lambda: _read_and_decompress(extents, into, frames, context, out))
        if took.rows < 0:
            raise OSError(f"{self.name}: user {user}, error {took.rows}")
        return took._replace(rows=min(n, self.lengths[user]))

    def _framed(self, user: int, n: int) -> np.ndarray:
        if (user, n) not in self._frames:
            frames, at = [], 0
            for path, offset, size in self.store.locate(user, n):
                with Path(path).open("rb") as file:
                    file.seek(offset)
                    data = file.read(size)
                frames += [(at + place, *rest) for place, *rest in frames_of(self.store.schema, data)]
                at += size
            self._frames[user, n] = np.array(frames, "u8").reshape(-1, 3)
        return self._frames[user, n]
