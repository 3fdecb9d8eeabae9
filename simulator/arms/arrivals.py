"""The timing plane's arrivals from a recorded trace: its bursts in place of the traffic's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simulator.config.columns import Arrivals
from simulator.errors import SimulatorError
from simulator.outside.columns import read_column

F8 = NDArray[np.float64]


def read_arrivals(source: Arrivals) -> F8:
    """(N,) seconds since the trace's first arrival, ascending.

    Raises:
        SimulatorError: the file cannot be read, or has not two moments.
    """
    times = np.sort(read_column(Path(source.file), source.column, source.unit))
    if times[-1] <= times[0]:
        raise SimulatorError(
            f"{source.file}: found {len(times)} arrivals at one moment, expected some at different times. "
            "Give a longer trace, or another column."
        )
    moments: F8 = times - times[0]
    return moments


def repeated(trace: F8, requests: int) -> F8:
    """(requests,) moments [s of the trace]: its first ones, or all of it again and again.

    From one end to the next beginning there is a mean gap, so that the rate stays what it is. Whatever the
    rate is scaled to, counts in windows of so many mean gaps vary as in the trace.
    """
    rounds = -(-requests // len(trace))
    length_s = trace[-1] * len(trace) / (len(trace) - 1)
    moments: F8 = (np.arange(rounds)[:, None] * length_s + trace).ravel()[:requests]
    return moments
