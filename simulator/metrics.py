"""Every metric, once. A new one is one more entry of METRICS; whatever names, orders, prints, judges,
plots or documents metrics reads this table, and so does `experiment.primary`.

Three kinds: a `Ratio` of two user totals, a `LatencyQuantile`, and a `RequestShare` of requests served
in some way. `make docs` writes the table of docs/metrics.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Unit = Literal["currency", "fraction", "ms", "number"]

#: Totals of a user -> their names for tables.
TOTALS = {
    "requests": "requests",
    "impressions": "impressions",
    "clicks": "clicks",
    "conversions": "conversions",
    "revenue": "revenue",
    "advv": "ADVV",
}
#: Those that ratios are made of, beside requests: columns of the users table. "pre_" + column is its
#: covariate, "expected_" + column of the truth table its expectation.
OUTCOMES = tuple(name for name in TOTALS if name != "requests")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What an arm has a value of.

    Attributes:
        name: in scorecards, tables and `experiment.primary`.
        unit: of the value, as in the scorecard.
        label: for tables and charts.
        words: for a sentence, "treatment improves ...".
        meaning: the label spelt out.
        better: which way is good.
        compared: whether treatments have a lift of it, so that it can be the primary metric.
        guardrail: whether a treatment that makes it worse must not ship; only of compared metrics.
        tile: whether the dashboard shows it among the first few; the primary metric always is.
    """

    name: str
    unit: Unit
    label: str
    words: str
    meaning: str
    better: Literal["higher", "lower"] = "higher"
    compared: bool = True
    guardrail: bool = False
    tile: bool = True

    @property
    def counts(self) -> str:
        """What its values count, for a column of units."""
        return self.unit

    @property
    def of_serving(self) -> bool:
        """Whether it says how requests were served; else it says what users and advertisers did."""
        return not isinstance(self, Ratio)


@dataclass(frozen=True, kw_only=True)
class Ratio(Metric):
    """sum(top) / sum(below) over users, so that one estimator serves all of its kind.

    top, below: of OUTCOMES; below may also be "requests".
    """

    top: str
    below: str

    def __post_init__(self) -> None:
        if self.top not in OUTCOMES or self.below not in ("requests", *OUTCOMES):
            raise ValueError(
                f"Metric {self.name!r} is {self.top} / {self.below}, expected one of {', '.join(OUTCOMES)} "
                "over one of these or requests. Add a column of that name to users and truth first."
            )

    @property
    def counts(self) -> str:
        """Such as "clicks / impression"."""
        return f"{'¤' if self.unit == 'currency' else self.top} / {self.below.removesuffix('s')}"


@dataclass(frozen=True, kw_only=True)
class LatencyQuantile(Metric):
    """The p-quantile of latency_ms over requests, late ones included."""

    p: float
    unit: Unit = "ms"
    better: Literal["higher", "lower"] = "lower"


@dataclass(frozen=True, kw_only=True)
class RequestShare(Metric):
    """The share of requests for which `of(missed, step)` holds, both columns of the served table."""

    of: Callable[[Any, Any], Any]
    unit: Unit = "fraction"
    compared: bool = False

    @property
    def counts(self) -> str:
        """Of what it is a share."""
        return "share of requests"


METRICS: tuple[Metric, ...] = (
    Ratio(
        name="advv_per_request",
        top="advv",
        below="requests",
        unit="currency",
        label="ADVV per request",
        words="advertiser value per request",
        meaning="advertiser value, each conversion counted at its target cost (tCPA), per request",
        guardrail=True,
    ),
    Ratio(
        name="revenue_per_request",
        top="revenue",
        below="requests",
        unit="currency",
        label="Revenue per request",
        words="revenue per request",
        meaning="what advertisers pay, per request",
        guardrail=True,
    ),
    Ratio(
        name="ctr",
        top="clicks",
        below="impressions",
        unit="fraction",
        label="CTR",
        words="the click-through rate",
        meaning="click-through rate, clicks per impression",
        guardrail=True,
    ),
    Ratio(
        name="cvr",
        top="conversions",
        below="clicks",
        unit="fraction",
        label="CVR",
        words="the conversion rate",
        meaning="conversion rate, conversions per click",
        tile=False,
    ),
    LatencyQuantile(
        name="p50_ms",
        p=0.50,
        label="P50 latency",
        words="median latency",
        meaning="median of latency",
        compared=False,
        tile=False,
    ),
    LatencyQuantile(
        name="p95_ms",
        p=0.95,
        label="P95 latency",
        words="P95 latency",
        meaning="95th percentile of latency",
        compared=False,
        tile=False,
    ),
    # No guardrail by its lift: a longer history takes longer by design. [guardrails] limits it instead.
    LatencyQuantile(
        name="p99_ms",
        p=0.99,
        label="P99 latency",
        words="P99 latency",
        meaning="99th percentile of latency, arrival to completion",
    ),
    RequestShare(
        name="missed_share",
        of=lambda missed, step: missed,
        label="Missed deadline",
        words="the share of late requests",
        meaning="completed after the deadline",
        better="lower",
    ),
    RequestShare(
        name="degraded_share",
        of=lambda missed, step: step > 0,
        label="Degraded",
        words="the share of degraded requests",
        meaning="served below the ladder's first step",
        better="lower",
        tile=False,
    ),
    RequestShare(
        name="full_history_share",
        of=lambda missed, step: (step == 0) & ~missed,
        label="Full history",
        words="the share of requests with full history",
        meaning="served by the ladder's first step, in time",
    ),
)

BY_NAME = {metric.name: metric for metric in METRICS}
COMPARED = tuple(metric for metric in METRICS if metric.compared)
GUARDRAILS = tuple(metric for metric in COMPARED if metric.guardrail)
RATIOS = tuple(metric for metric in METRICS if isinstance(metric, Ratio))
QUANTILES = tuple(metric for metric in METRICS if isinstance(metric, LatencyQuantile))
SHARES = tuple(metric for metric in METRICS if isinstance(metric, RequestShare))
#: The primary metric of an experiment that names none.
PRIMARY = METRICS[0].name
