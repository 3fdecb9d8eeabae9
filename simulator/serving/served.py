"""What happened to a trace's requests, and the gaps between their arrivals."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from simulator.scratch import let_go, mapped

F8 = NDArray[np.float64]


@dataclass(frozen=True)
class Served:
    """What happened to each of R requests, by row; seconds since the timing plane's epoch.

    NaN where a stage did not happen. The prior order (the last step) has no stage of its own, but
    keeps those that ran before the request fell to it.
    """

    step: NDArray[np.int8]  # ladder index decided
    history_used: NDArray[np.int32]
    missed: NDArray[np.bool_]  # completed after its deadline: the prior order was shown
    batch: NDArray[np.int32]  # requests scored together, 0 without scoring
    arrival_s: F8
    store_start_s: F8
    store_end_s: F8
    transport_start_s: F8
    transport_end_s: F8
    score_start_s: F8
    score_end_s: F8
    completion_s: F8
    deadline_s: F8  # inf without a budget

    @property
    def latency_s(self) -> F8:
        """Arrival to completion, never capped."""
        latency: F8 = self.completion_s - self.arrival_s
        return latency

    @property
    def full_history(self) -> NDArray[np.bool_]:
        """Answered in time by the ladder's first step."""
        full: NDArray[np.bool_] = (self.step == 0) & ~self.missed
        return full

    def mapped(self) -> Served:
        """The same, in a temporary file: memory only while it is looked at; see `simulator.scratch`."""
        return Served(**mapped(vars(self)))

    def let_go(self) -> None:
        """Of what is mapped, give the memory back."""
        let_go(self.step)

    def __len__(self) -> int:
        return len(self.step)

    def equals(self, other: Served) -> bool:
        """Every array equal, NaN to NaN."""
        return all(
            np.array_equal(getattr(self, f.name), getattr(other, f.name), equal_nan=f.name.endswith("_s"))
            for f in fields(self)
        )


def exact_gaps(arrivals: F8) -> F8:
    """Delays that, added one by one as SimPy adds them, land on the arrivals, a few a rounding later, none
    earlier."""
    before = np.concatenate([np.zeros(1), arrivals[:-1]])[: len(arrivals)]
    gaps: F8 = arrivals - before
    # a - b is exact for b >= a/2 (Sterbenz); the few other gaps may miss by a rounding.
    for _ in range(4):
        miss = arrivals - (before + gaps)
        if not miss.any():
            break
        gaps = np.where(miss == 0.0, gaps, np.maximum(gaps + miss, 0.0))
    return np.where(before + gaps < arrivals, np.nextafter(gaps, np.inf), gaps)
