"""What the checks read: counts by user and day of the experiment, from requests and impressions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from simulator.analysis.aggregate import EXPERIMENT, PRE
from simulator.analysis.columns import AnalysisError, Table, columns, labels, units_of

F8 = NDArray[np.float64]
_AT_ONCE = 1 << 18  # requests that are counted together


@dataclass(frozen=True)
class Logs:
    """What was logged of some users, those included who are assigned and were not seen. U users, D days.

    Attributes:
        user_id: (U,).
        requests, impressions, clicks, conversions, predicted: (U, D) counts; predicted clicks are the sum of
            pCTR over impressions.
        before_ms: (U,) latency before the experiment; NaN of users who were not there.
    """

    user_id: NDArray[np.uint64]
    requests: F8
    impressions: F8
    clicks: F8
    conversions: F8
    predicted: F8
    before_ms: F8

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(U,) who has a logged request."""
        return np.asarray(self.requests.sum(1) > 0)

    def of(self, users: NDArray[np.bool_]) -> Logs:
        """Some users' alone, such as an arm's: (U,)."""
        return Logs(*(getattr(self, field.name)[users] for field in fields(self)))


def logs_of(requests: Table, impressions: Table | Iterable[Table]) -> Logs:
    """Everybody's logs, whichever arm served them.

    Args:
        requests: user_id, day (a whole number), period and latency_ms in the arm that answered; a row a
            request.
        impressions: user_id, day, period, pctr, click and conversion; or parts of it one after another.

    Returns:
        `Logs` of all users that have a request, in or before the experiment, sorted by id, over the days of
        the experiment.

    Raises:
        AnalysisError: a column is missing, no request is the experiment's, or an impression's user or day has
            no request.
    """
    asked = columns(requests, "user_id", "day", "latency_ms")
    users, at = units_of(asked["user_id"].astype(np.uint64, copy=False))
    inside = labels(requests, "period", (PRE, EXPERIMENT)) == 1
    days = np.unique(asked["day"][inside].astype(np.int64))
    if not len(days):
        raise AnalysisError("No request is the experiment's, expected at least one.")
    cells = _Cells(users, days)
    at = at[~inside]
    before = np.bincount(at, minlength=len(users))
    spent = np.bincount(at, asked["latency_ms"][~inside].astype(np.float64), len(users))
    del at
    counted = cells.zeros(), cells.zeros(), cells.zeros(), cells.zeros()
    parts = [impressions] if isinstance(impressions, Mapping | pa.Table) else impressions
    for part in parts:
        _count(cells, part, counted)
    seen = np.zeros(cells.n, np.int64)
    for first in range(0, len(inside), _AT_ONCE):
        rows = first + np.flatnonzero(inside[first : first + _AT_ONCE])
        seen += np.bincount(cells.of(asked["user_id"][rows], asked["day"][rows]), minlength=cells.n)
    shown, clicks, conversions, predicted = (cells.shaped(column) for column in counted)
    return Logs(
        users,
        cells.shaped(seen),
        shown,
        clicks,
        conversions,
        predicted,
        np.where(before > 0, spent / np.maximum(before, 1), np.nan),
    )


def _count(cells: _Cells, part: Table, counted: tuple[F8, F8, F8, F8]) -> None:
    """Add a part's impressions, clicks, conversions and predicted clicks to the counts."""
    table = columns(part, "user_id", "day", "pctr", "click", "conversion")
    inside = labels(part, "period", (PRE, EXPERIMENT)) == 1
    cell = cells.of(table["user_id"][inside], table["day"][inside])
    weights = (None, table["click"], table["conversion"], table["pctr"])
    for total, weight in zip(counted, weights, strict=True):
        own = None if weight is None else weight[inside].astype(np.float64)
        total += np.bincount(cell, own, cells.n)


@dataclass(frozen=True)
class _Cells:
    """A cell for each user and day, numbered by user, then day."""

    users: NDArray[np.uint64]
    days: NDArray[np.int64]

    @property
    def n(self) -> int:
        """How many cells there are."""
        return len(self.users) * len(self.days)

    def zeros(self) -> F8:
        """(n,) nothing counted yet."""
        return np.zeros(self.n)

    def shaped(self, cells: NDArray[np.generic]) -> F8:
        """(U, D)."""
        return cells.reshape(len(self.users), len(self.days)).astype(np.float64)

    def of(self, user_id: NDArray[np.generic], day: NDArray[np.generic]) -> NDArray[np.int64]:
        """The cell of each row."""
        user = _places(self.users, user_id.astype(np.uint64))
        column = _places(self.days, day.astype(np.int64))
        return user * len(self.days) + column


def _places(known: NDArray[np.generic], wanted: NDArray[np.generic]) -> NDArray[np.int64]:
    """Index of each in the sorted known ones."""
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1).astype(np.int64)
    strange = np.flatnonzero(known[place] != wanted)
    if len(strange):
        raise AnalysisError(
            f"{len(strange)} impressions are of a user or day without a request in the experiment, such as "
            f"{wanted[strange[0]]}; expected each to belong to a request. Give the tables of one run."
        )
    return place
