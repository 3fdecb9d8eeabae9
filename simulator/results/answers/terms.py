"""What an answer holds a setting to: limits of latency and late answers, a floor of revenue, prices."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from simulator.results.answers.grid import Known, Point
from simulator.results.answers.size import largest, size_to_tell
from simulator.results.read import CONFIG, Sweep

# Where the experiment's file sets no limit: one late answer in a hundred.
LATE_SHARE = 0.01


@dataclass(frozen=True)
class Terms:
    """What is asked of a setting.

    Attributes:
        p99_ms: most P99 latency; None for the guardrail's, which is the latency budget by default.
        late_share: most requests completed after their deadline.
        degraded_share: most requests answered below the ladder's first step; None asks nothing.
        revenue_floor: least lift of revenue over control.
        scorer_per_hour, worker_per_hour: price of a scorer and of a store worker, a core each on a CPU. By
            default each counts one, so that the cost is the number of servers.
        priced: whether these prices were given.
    """

    p99_ms: float | None = None
    late_share: float = LATE_SHARE
    degraded_share: float | None = None
    revenue_floor: float = 0.0
    scorer_per_hour: float = 1.0
    worker_per_hour: float = 1.0
    priced: bool = False

    def limits(self, point: Point) -> dict[str, float]:
        """By arm value, the most that is accepted in a cell."""
        p99_ms = point.card.get("budget_ms") if self.p99_ms is None else self.p99_ms
        asked = {"p99_ms": p99_ms, "missed_share": self.late_share, "degraded_share": self.degraded_share}
        return {name: limit for name, limit in asked.items() if limit is not None}

    def cost(self, point: Point, arm: str) -> float | None:
        """Of an arm's servers for an hour; None where its servers are unknown."""
        serving = point.serving(arm)
        if "scorers" not in serving:
            return None
        servers: float = serving["scorers"] * self.scorer_per_hour
        servers += serving["store_workers"] * self.worker_per_hour
        return servers

    def breaks(self, point: Point, arm: str) -> list[str]:
        """By the truth, what an arm breaks in a cell; names of values and "revenue_per_request"."""
        return [one.name for one in self._demands(point, arm) if one.broken]

    def doubts(self, point: Point, arm: str) -> list[str]:
        """What the A/B does not show to hold: an end of the interval lies beyond, or there is none."""
        return [one.name for one in self._demands(point, arm) if one.in_doubt]

    def needed(self, point: Point, arm: str) -> dict[str, Any] | None:
        """How large the experiment must be to show what holds in truth and is in doubt; None if unknown."""
        doubts = [one for one in self._demands(point, arm) if one.in_doubt and not one.broken]
        return largest([size_to_tell(point, one.known, one.limit) for one in doubts])

    def _demands(self, point: Point, arm: str) -> Iterator[_Demand]:
        for name, limit in self.limits(point).items():
            yield _Demand(name, point.of_arm(arm, name), limit, most=True)
        if arm in point.treatments:  # the control is what the floor is measured from
            name = "revenue_per_request"
            yield _Demand(name, point.lift(arm, name), self.revenue_floor, most=False)

    def note(self) -> dict[str, Any]:
        """For the answers: what they rest on."""
        return {**asdict(self), "p99_ms": "the guardrail's" if self.p99_ms is None else self.p99_ms}


@dataclass(frozen=True)
class _Demand:
    """A number that must not lie above a limit (`most`), or not below it."""

    name: str
    known: Known
    limit: float
    most: bool

    @property
    def broken(self) -> bool:
        """Whether the true value breaks the limit; one that is not known does."""
        return self._beyond(self.known.true)

    @property
    def in_doubt(self) -> bool:
        """Whether the worse end of the A/B's interval breaks it."""
        return self._beyond(self.known.ends[1 if self.most else 0])

    def _beyond(self, value: float | None) -> bool:
        return value is None or (value > self.limit if self.most else value < self.limit)


def terms_of(sweep: Sweep, **asked: Any) -> Terms:
    """The file's own guardrails, and what is asked instead; values of None are the file's."""
    guardrails = _guardrails(sweep)
    own = {
        "p99_ms": _number(guardrails.get("p99_ms")),
        "late_share": _number(guardrails.get("late_share")),
        "degraded_share": _number(guardrails.get("degraded_share")),
    }
    given = {name: value for name, value in asked.items() if value is not None}
    return Terms(**{name: value for name, value in own.items() if value is not None} | given)


def _guardrails(sweep: Sweep) -> Mapping[str, Any]:
    if not sweep.has(CONFIG):
        return {}
    found: Mapping[str, Any] = tomllib.loads((sweep.path / CONFIG).read_text("utf-8")).get("guardrails", {})
    return found


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def margin(known: Known, limit: float) -> Known:
    """How much an arm's value leaves to its limit, as a share of the limit; what lies above is below 0."""

    def left(value: float | None) -> float | None:
        return None if value is None else 1.0 - value / limit

    low, high = map(left, known.ends)
    ends = None if low is None or high is None else (high, low)
    return Known(left(known.value), ends, left(known.true))
