"""Grids of latency budgets as text; light, so that the command line can check one at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.errors import SimulatorError

MOST_CELLS = 1000


class SweepError(SimulatorError):
    """A sweep that cannot be made: a malformed grid, or service times that cannot be replayed."""


def parse_budgets(text: str) -> NDArray[np.float64]:
    """Budgets in ms from "LO:HI:STEP", both ends included where the step reaches them.

    Raises:
        SweepError: not three numbers with 0 < LO <= HI and STEP > 0, or too many cells.
    """
    try:
        low, high, step = (float(part) for part in text.split(":"))
    except ValueError:
        low = high = step = float("nan")
    if not (0 < low <= high < float("inf") and 0 < step < float("inf")):
        raise SweepError(
            f"Found budgets {text!r}, expected auto or LO:HI:STEP in milliseconds with 0 < LO <= HI and "
            "STEP > 0, such as 2:20:2."
        )
    steps = (high - low) / step + 1e-9  # infinite for the smallest steps
    if steps >= MOST_CELLS:
        raise SweepError(
            f"Found budgets {text!r} with more than {MOST_CELLS:,} cells, expected at most that many. "
            "Use a larger STEP."
        )
    return np.asarray(low + step * np.arange(int(steps) + 1), np.float64)
