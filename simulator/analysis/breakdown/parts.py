"""A finished run's requests and what came of them, to be added up over any parts of the requests.

Letters: E requests of the experiment, U users, K parts, O outcomes in the order of `OUTCOMES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.analysis.aggregate import EXPERIMENT
from simulator.analysis.columns import AnalysisError, Array, Table, columns, labels
from simulator.analysis.truth import OUTCOME_COLUMNS
from simulator.metrics import OUTCOMES, Ratio

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
DAY_S = 86_400


@dataclass(frozen=True)
class Totals:
    """Users' totals in every part: requests (U, K), outcomes (O, U, K)."""

    requests: F8
    outcomes: F8

    def of(self, name: str) -> F8:
        """(U, K) of "requests" or an outcome."""
        found: F8 = self.requests if name == "requests" else self.outcomes[OUTCOMES.index(name)]
        return found

    def until(self) -> Totals:
        """The totals of each part and all before it."""
        return Totals(self.requests.cumsum(axis=1), self.outcomes.cumsum(axis=2))

    def as_truth(self, part: int, user_id: Array) -> dict[str, Array]:
        """One part as `true_lift` reads an arm's totals by user."""
        there = self.requests[:, part] > 0
        found: dict[str, Array] = {"user_id": user_id[there], "requests": self.requests[there, part]}
        return found | {name: self.outcomes[k, there, part] for k, name in enumerate(OUTCOME_COLUMNS)}


@dataclass(frozen=True)
class Requests:
    """The experiment's requests, the impressions of the A/B, and what was expected of either arm.

    Attributes:
        user_id: (U,) sorted.
        arm: (U,) whether the A/B gave the user to the treatment; -1 where to another arm.
        before: (U, 1 + O) requests and outcomes before the experiment.
        user: (E,) whose each request is, an index into `user_id`.
        day: (E,) from 0, the experiment's first.
        history: (E,) behaviours that were readable.
        latency_ms: (E,) of the treatment.
        shown: (n,) the request of each impression of the A/B. shown_outcomes: (O, n) what came of it.
        expected: by arm, (O, E) the truth.
    """

    user_id: NDArray[np.uint64]
    arm: NDArray[np.int16]
    before: F8
    user: I8
    day: I8
    history: I8
    latency_ms: F8
    shown: I8
    shown_outcomes: F8
    expected: Mapping[str, F8]

    @classmethod
    def of(
        cls, served: Table, impressions: Table, truth: Table, users: Table, arms: tuple[str, str]
    ) -> Requests:
        """From the tables of a run.

        Args:
            served, impressions, truth, users: of those names.
            arms: control and the treatment.

        Raises:
            AnalysisError: a column is missing, or the truth lacks a request.
        """
        u = columns(users, "user_id", "requests", *(f"pre_{name}" for name in ("requests", *OUTCOMES)))
        user_id = u["user_id"].astype(np.uint64)
        arm = labels(users, "arm", arms)
        s = columns(served, "request_id", "user_id", "arrival_s", "history_available", "latency_ms")
        mine = (labels(served, "arm", arms[1:]) == 0) & (labels(served, "period", (EXPERIMENT,)) == 0)
        mine &= np.isin(s["user_id"].astype(np.uint64), user_id)
        rows = {name: values[mine] for name, values in s.items()}
        ids = rows["request_id"].astype(np.uint64)  # ascending: so the table is sorted
        day = (rows["arrival_s"] // DAY_S).astype(np.int64)
        shown, outcomes = _shown(impressions, ids)
        before = np.stack([u[f"pre_{name}"].astype(np.float64) for name in ("requests", *OUTCOMES)], axis=1)
        return cls(
            user_id,
            arm,
            before,
            np.searchsorted(user_id, rows["user_id"].astype(np.uint64)).astype(np.int64),
            day - (day.min() if len(day) else 0),
            rows["history_available"].astype(np.int64),
            rows["latency_ms"].astype(np.float64),
            shown,
            outcomes,
            {name: _expected(truth, name, ids) for name in arms},
        )

    def found(self, part: I8, parts: int) -> Totals:
        """What the A/B saw, by user and part.

        Args:
            part: (E,) of each request.
            parts: K.
        """
        users, place = len(self.user_id), self.user * parts + part
        requests = _sums(place, None, users, parts)
        own = place[self.shown]
        return Totals(requests, np.stack([_sums(own, each, users, parts) for each in self.shown_outcomes]))

    def true(self, arm: str, part: I8, parts: int) -> Totals:
        """What is expected of an arm that serves everybody, by user and part."""
        users, place = len(self.user_id), self.user * parts + part
        each = [_sums(place, values, users, parts) for values in self.expected[arm]]
        return Totals(_sums(place, None, users, parts), np.stack(each))

    def arms_of(self, totals: Totals, part: int, metric: Ratio) -> tuple[F8, F8]:
        """One part's users in either arm, (U', 4): the metric's two totals, and the same before."""
        names = (metric.top, metric.below)
        own = [totals.of(name)[:, part] for name in names]
        place = [0 if name == "requests" else 1 + OUTCOMES.index(name) for name in names]
        table = np.column_stack([*own, self.before[:, place]])
        there = totals.requests[:, part] > 0
        return table[there & (self.arm == 0)], table[there & (self.arm == 1)]


def _shown(impressions: Table, ids: NDArray[np.uint64]) -> tuple[I8, F8]:
    """Impressions of these requests: which request, and (O, n) outcomes."""
    found = columns(impressions, "request_id", "click", "conversion", "charged", "value")
    wanted = found["request_id"].astype(np.uint64)
    place = np.minimum(np.searchsorted(ids, wanted), max(0, len(ids) - 1)).astype(np.int64)
    known = ids[place] == wanted if len(ids) else np.zeros(len(wanted), np.bool_)
    values = (np.ones(len(wanted)), *(found[name] for name in ("click", "conversion", "charged", "value")))
    return place[known], np.stack([value[known].astype(np.float64) for value in values])


def _expected(truth: Table, arm: str, ids: NDArray[np.uint64]) -> F8:
    """(O, E) an arm's rows, in the order of the requests."""
    rows = columns(truth, "request_id", *OUTCOME_COLUMNS)
    mine = labels(truth, "arm", (arm,)) == 0
    own = rows["request_id"][mine].astype(np.uint64)
    place = np.minimum(np.searchsorted(own, ids), max(0, len(own) - 1))
    if not len(own) or not np.array_equal(own[place], ids):
        raise AnalysisError(
            f"The truth of {arm!r} has {len(own)} requests, expected each of the {len(ids)} of the "
            "experiment. Give the tables of one run."
        )
    return np.stack([rows[name][mine][place].astype(np.float64) for name in OUTCOME_COLUMNS])


def _sums(place: I8, values: F8 | None, users: int, parts: int) -> F8:
    found = np.bincount(place, values, users * parts).astype(np.float64)
    return found.reshape(users, parts)
