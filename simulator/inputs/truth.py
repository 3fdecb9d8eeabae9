"""The truth of the trace's candidates, made for the stretch of it that is looked at."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from simulator.scratch import Scratch
from simulator.traffic.trace import Requests
from simulator.world.protocol import ExperimentWorld

F8 = NDArray[np.float64]

_ROWS = 4096  # of a block


class Truth:
    """P(click) and P(conversion) of every candidate, made once, by blocks of requests, when asked for.

    They are kept in a temporary file: worlds and cells go through the trace again and again, and a trace of
    any length fits.

    Args:
        world: whose truth.
        requests: the trace.
    """

    def __init__(self, world: ExperimentWorld, requests: Requests) -> None:
        self._world, self._requests = world, requests
        self.slots = int(requests.slots.max())
        rows, wide = requests.candidates.shape
        record = [("click", np.float64, (wide, self.slots)), ("convert", np.float64, (wide,))]
        self._kept = Scratch(record, rows)
        self._made = np.zeros(-(-rows // _ROWS), np.bool_)
        self._lock = threading.Lock()

    def of(self, rows: NDArray[np.int64]) -> tuple[F8, F8]:
        """(n, C, S) P(click | shown at slot) and (n, C) P(conversion | click) of requests' candidates."""
        with self._lock:  # another thread waits for the block that it wants too
            for block in np.unique(rows // _ROWS):
                if not self._made[block]:
                    self._make(int(block))
        records, places = self._kept.of(rows)
        return records["click"][places], records["convert"][places]

    def _make(self, block: int) -> None:
        rows = np.arange(block * _ROWS, min((block + 1) * _ROWS, len(self._requests)))
        ads = self._requests.candidates[rows]
        records, _ = self._kept.of(rows)
        for slot in range(self.slots):
            click, convert = self._world.response(rows, ads, slot)
            records["click"][:, :, slot], records["convert"][:] = click, convert
        self._made[block] = True
