"""The certificate: how often each kind of interval was measured to be wrong, beside the intervals themselves.

The figures are those of `benchmarks/inference/coverage.py`, shipped as `certificate.json`; `laser-ab validate
inference` measures them again, for any size.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from simulator.results.numbers import count, percent

Rows = Sequence[dict[str, Any]]
SHIPPED = Path(__file__).with_name("certificate.json")


@cache
def measured() -> tuple[dict[str, Any], ...]:
    """Every row: part, what, value (a share), se, experiments, and the bounds asked for, low and high."""
    return tuple(json.loads(SHIPPED.read_text(encoding="utf-8"))["rows"])


def certificate(methods: Iterable[str]) -> list[str]:
    """What was measured of the kinds of intervals in a scorecard, a sentence for each.

    Args:
        methods: as its metrics name them.
    """
    rows, named = measured(), tuple(methods)
    found = []
    if any(method.startswith("log-ratio") and "quantile" not in method for method in named):
        small, large = _part(rows, "coverage, 200 users"), _part(rows, "coverage, 1000 users")
        found.append(
            f"Measured: 95% intervals of ratios cover a known effect in {_range(small)} of "
            f"{_experiments(small)} experiments with 200 users an arm, in {_range(large)} of "
            f"{_experiments(large)} with 1,000; their 5% tests err in {_range(_ratios(rows))} of "
            f"{_experiments(_ratios(rows))} A/A re-splits."
        )
    if any("quantile" in method for method in named):
        own = _part(rows, "coverage, clustered by user")
        bursts = [row for row in _part(rows, "type-I") if "p99" in row["what"]]
        found.append(
            f"Measured: 95% intervals of P99 and of its lift cover in {_range(own)} of {_experiments(own)} "
            f"traces; where requests come in bursts the 5% test errs in {_range(bursts)} of "
            f"{_experiments(bursts)} A/A re-splits."
        )
    if any(method.startswith("always valid") for method in named):
        looks = [row for row in _part(rows, "error of a look") if row["what"] == "always-valid"]
        found.append(
            f"Measured: looked at on each of 14 days, always-valid intervals err in {_range(looks)} of "
            f"{_experiments(looks)} tests without an effect."
        )
    return found


def _part(rows: Rows, beginning: str) -> Rows:
    return [row for row in rows if row["part"].startswith(beginning)]


def _ratios(rows: Rows) -> Rows:
    return [row for row in _part(rows, "type-I") if "p99" not in row["what"]]


def _range(rows: Rows) -> str:
    low, high = (percent(end([row["value"] for row in rows])) for end in (min, max))
    return low if low == high else f"{low} to {high}"


def _experiments(rows: Rows) -> str:
    return count(rows[0]["experiments"])
