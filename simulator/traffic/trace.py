"""The trace: requests that an experiment replays. numpy only; files live in `files.py`.

Letters: R requests, C candidates. `arrival_s` counts seconds from the trace's epoch, a local
midnight, on the same clock as behaviours' `time_s`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from simulator.errors import SimulatorError
from simulator.scratch import let_go

PRE, EXPERIMENT = 0, 1
PERIODS = ("pre", "experiment")
DAY_S = 86_400
_SORTED_AT_ONCE = 1 << 16  # requests whose candidates are sorted, to look for repeats


class TraceError(SimulatorError):
    """A trace, log or behaviours file is missing, damaged or not what it should be."""


@dataclass(frozen=True)
class Requests:
    """Requests sorted by (arrival_s, request_id).

    Raises:
        TraceError: shapes, order, ids or values do not fit (the message says which row).
    """

    request_id: NDArray[np.uint64]  #: (R,) unique
    arrival_s: NDArray[np.float64]  #: (R,) log time
    user_id: NDArray[np.uint64]
    candidates: NDArray[np.uint64]  #: (R, C) ad ids, no ad twice in a request
    slots: NDArray[np.uint8]
    hour: NDArray[np.float32]  #: local hour of day in [0, 24)
    propensity: NDArray[np.float32]  #: the user's noisy click propensity, a logit
    period: NDArray[np.uint8]  #: PRE or EXPERIMENT
    day: NDArray[np.int32]  #: arrival_s // 86400

    def __post_init__(self) -> None:
        validate_requests(self)

    def __len__(self) -> int:
        return len(self.request_id)

    def take(self, rows: NDArray[np.int64] | slice) -> Requests:
        """Some rows only, possibly none; rows must be ascending."""
        return Requests(*(getattr(self, f.name)[rows] for f in fields(self)))


def validate_requests(r: Requests) -> None:
    """Check shapes, order, uniqueness and ranges of a trace.

    Raises:
        TraceError: with what was found, what was expected and what to do.
    """
    n = len(r.request_id)
    for f in fields(r):
        column = getattr(r, f.name)
        dims = 2 if f.name == "candidates" else 1
        if column.ndim != dims or len(column) != n:
            raise TraceError(
                f"Trace column {f.name} has shape {column.shape}, expected {n} rows in {dims} dimension(s). "
                "Build every column from the same requests."
            )
    _require(
        np.isfinite(r.arrival_s) & (r.arrival_s >= 0), r.arrival_s, "arrival_s", "finite and at least 0 s"
    )
    later = np.concatenate([np.ones(min(n, 1), dtype=bool), _ordered(r.arrival_s, r.request_id)])
    _require(
        later, r.arrival_s, "arrival_s", "sorted by (arrival_s, request_id), ids unique", "Sort the trace"
    )
    if len(np.unique(r.request_id)) != n:
        raise TraceError("Two requests share a request_id, expected unique ids. Number the requests anew.")
    _require(np.isfinite(r.propensity), r.propensity, "propensity", "finite")
    _require((r.hour >= 0) & (r.hour < 24), r.hour, "hour", "in [0, 24)")
    _require(r.period <= EXPERIMENT, r.period, "period", "0 (pre) or 1 (experiment)")
    _require(r.day == r.arrival_s // DAY_S, r.day, "day", "arrival_s // 86400")
    width = r.candidates.shape[1]
    _require((r.slots >= 1) & (r.slots <= width), r.slots, "slots", f"1 to {width}, the candidates")
    _require(~_repeating(r.candidates), r.request_id, "candidates", "without repeats")


def _repeating(candidates: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """(R,) which requests hold an ad twice."""
    found = np.zeros(len(candidates), np.bool_)
    for first in range(0, len(candidates), _SORTED_AT_ONCE):
        part = slice(first, first + _SORTED_AT_ONCE)
        order = np.sort(candidates[part], axis=1)
        found[part] = (order[:, 1:] == order[:, :-1]).any(axis=1)
        let_go(candidates)
    return found


def _ordered(arrival_s: NDArray[np.float64], request_id: NDArray[np.uint64]) -> NDArray[np.bool_]:
    ahead = arrival_s[1:] > arrival_s[:-1]
    tied = arrival_s[1:] == arrival_s[:-1]
    ordered: NDArray[np.bool_] = ahead | (tied & (request_id[1:] > request_id[:-1]))
    return ordered


def _require(
    ok: NDArray[np.bool_], values: NDArray[np.generic], name: str, expected: str, advice: str = "Correct it"
) -> None:
    if not ok.all():
        row = int(np.argmin(ok))
        raise TraceError(
            f"Trace row {row}: {name} is wrong (found {values[row]}), expected {expected}. {advice}."
        )
