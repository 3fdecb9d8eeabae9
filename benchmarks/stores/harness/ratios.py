"""From raw rounds to bars: the median over rounds of what one engine needs over what another does."""

from statistics import median
from typing import Any

Row = dict[str, Any]


def by_round(rows: list[Row], metric: str, **which: object) -> dict[int, float]:
    """One metric of the matching rows, by round."""
    found: dict[int, float] = {}
    for row in rows:
        if row.get(metric) is not None and all(row.get(key) == value for key, value in which.items()):
            found[row["round"]] = row[metric]
    return found


def ratio(rows: list[Row], metric: str, over: str, under: str, **which: object) -> float | None:
    """Median over rounds of `over`'s metric divided by `under`'s; None when either was not measured."""
    above = by_round(rows, metric, engine=over, **which)
    below = by_round(rows, metric, engine=under, **which)
    shared = [above[i] / below[i] for i in above if i in below]
    return round(median(shared), 4) if shared else None


def worst(values: list[float | None]) -> float | None:
    """The highest; None when one is missing."""
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None
