"""Faults of an A/B test put into its logs: how often each is found, and how often a sound test is suspected.

    python benchmarks/inference/faults.py [--quick] [--json] [--out FILE]

What `laser-ab validate faults` prints, as rows. The bars: every fault found and named rightly in 95 % at its
stated strength, at most 1 % false alarms.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.result import Measured, bar, main
from simulator.certificate.faults import fault_rows

SEED = 7


def measure(quick: bool) -> Measured:
    """Two hundred tests of each fault and a thousand sound ones; quick ones a tenth."""
    return measured(row.as_json() for row in fault_rows(20 if quick else 200, seed=SEED))


def measured(rows: Iterable[dict[str, Any]]) -> Measured:
    """Rows and bars; the first row is of sound tests."""
    found = list(rows)
    least = min(row["simulated"] for row in found[1:])
    bars = [
        bar("false_alarms", found[0]["simulated"], 0.01, better="lower"),
        bar("least_found", least, 0.95),
    ]
    return found, bars


if __name__ == "__main__":
    main("faults", __doc__, SEED, measure)
