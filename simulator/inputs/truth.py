"""The truth of the trace's candidates, made for the stretch of it that is looked at."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from simulator.traffic.trace import Requests
from simulator.world.protocol import ExperimentWorld

F8 = NDArray[np.float64]

_ROWS = 4096  # of a block
_BYTES = 256 * 2**20  # of the blocks that are kept: all of half a million requests with 32 candidates


class Truth:
    """P(click) and P(conversion) of every candidate, by blocks of requests.

    Worlds go through the trace side by side and meet the same block at about the same time, so the newest
    blocks are enough and a trace of any length fits; what a request gets does not depend on it.

    Args:
        world: whose truth.
        requests: the trace.
    """

    def __init__(self, world: ExperimentWorld, requests: Requests) -> None:
        self._world, self._requests = world, requests
        self.slots = int(requests.slots.max())
        self._blocks: OrderedDict[int, tuple[F8, F8]] = OrderedDict()
        self._lock = threading.Lock()
        block_bytes = 8 * _ROWS * requests.candidates.shape[1] * (self.slots + 1)
        self._most = max(2, _BYTES // block_bytes)

    def of(self, rows: NDArray[np.int64]) -> tuple[F8, F8]:
        """(n, C, S) P(click | shown at slot) and (n, C) P(conversion | click) of requests' candidates."""
        wide = self._requests.candidates.shape[1]
        p_click, p_convert = np.empty((len(rows), wide, self.slots)), np.empty((len(rows), wide))
        block = rows // _ROWS
        for number in np.unique(block):
            click, convert = self._block(int(number))
            mine = np.flatnonzero(block == number)
            within = rows[mine] - number * _ROWS
            p_click[mine], p_convert[mine] = click[within], convert[within]
        return p_click, p_convert

    def _block(self, number: int) -> tuple[F8, F8]:
        with self._lock:  # another thread waits for the block that it wants too
            found = self._blocks.get(number)
            if found is None:
                found = self._made(number)
                while len(self._blocks) >= self._most:
                    self._blocks.popitem(last=False)
                self._blocks[number] = found
            self._blocks.move_to_end(number)
            return found

    def _made(self, number: int) -> tuple[F8, F8]:
        rows = np.arange(number * _ROWS, min((number + 1) * _ROWS, len(self._requests)))
        ads = self._requests.candidates[rows]
        p_click = np.empty((*ads.shape, self.slots))
        p_convert = np.empty(ads.shape)
        for slot in range(self.slots):
            p_click[:, :, slot], p_convert[:] = self._world.response(rows, ads, slot)
        return p_click, p_convert
