"""The metrics, each a ratio of two user totals, so that one estimator serves them all."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A ratio of sums over users, sum(numerator) / sum(denominator).

    name: as in the scorecard.
    numerator, denominator: columns of the users table; "pre_" + column is its covariate, and
        "expected_" + column its true counterpart.
    unit: of the ratio.
    """

    name: str
    numerator: str
    denominator: str
    unit: str


ADVV = Metric("advv_per_request", "advv", "requests", "currency")
REVENUE = Metric("revenue_per_request", "revenue", "requests", "currency")
CTR = Metric("ctr", "clicks", "impressions", "fraction")
CVR = Metric("cvr", "conversions", "clicks", "fraction")

METRICS = (ADVV, REVENUE, CTR, CVR)
BY_NAME = {metric.name: metric for metric in METRICS}
P99 = "p99_ms"

# Money and engagement must not fall while the primary metric rises. P99 is none: what latency costs is
# bounded by the budget, and a longer history takes longer by design.
GUARDRAILS = tuple(metric.name for metric in (ADVV, REVENUE, CTR))
