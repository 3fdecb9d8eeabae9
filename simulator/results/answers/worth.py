"""Is it worth it? A treatment's lift in every cell, what it breaks there, and how its treatments compare."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from simulator.results.answers.apart import SURE, above
from simulator.results.answers.grid import Known, Point
from simulator.results.answers.terms import Terms
from simulator.results.scorecard import primary


def worth(points: Sequence[Point], terms: Terms) -> list[dict[str, Any]]:
    """Each treatment in each cell: its lift, whether that is told, and what it would break.

    `short_of_most` is how far the one that is worth most lies above it, see `above`; None for that one.
    """
    entries = [_entry(point, arm, terms) for point in points for arm in point.treatments]
    of_cell, best = {point.cell: point for point in points}, most_worth(entries)

    def short(one: Mapping[str, Any]) -> dict[str, Any] | None:
        if best is None or one is best:
            return None
        (mine, arm), (theirs, other) = ((of_cell[e["cell"]], e["treatment"]) for e in (best, one))
        return above(mine, arm, theirs, other)

    return [{**one, "short_of_most": short(one)} for one in entries]


def _entry(point: Point, arm: str, terms: Terms) -> dict[str, Any]:
    lift = point.lift(arm)
    needed = point.needed(arm)
    return {
        "treatment": arm,
        "cell": point.cell,
        "at": dict(point.settings),
        **known(lift),
        "true_worth": worth_of(lift, point, arm, terms),
        "told": told(lift),
        "breaks": terms.breaks(point, arm),
        "needed": None if told(lift) is not None or needed is None else dict(needed),
    }


def worth_of(lift: Known, point: Point, arm: str, terms: Terms) -> bool | None:
    """Whether it wins in truth and breaks nothing; None where the world's own error leaves that open."""
    if terms.breaks(point, arm):
        return False
    if lift.true is None:
        return None
    error = SURE * (lift.true_se or 0.0)
    return None if abs(lift.true) <= error else lift.true > 0


def most_worth(entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Of `worth` the entry with the highest true lift that is worth it in truth; None where none is."""
    good = (one for one in entries if one["true_worth"])
    return max(good, key=lambda one: one["true_value"], default=None)


def told(lift: Known) -> bool | None:
    """Whether the A/B shows it to win (True) or to lose (False); None where it tells neither."""
    low, high = lift.ends
    if low is None or high is None or low <= 0 <= high:
        return None
    return low > 0


def versus(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Treatment against treatment in every cell, in the primary metric; the truth is compared as `above`."""
    return [entry for point in points for entry in _pairs(point)]


def _pairs(point: Point) -> Iterator[dict[str, Any]]:
    effect = primary(point.card)
    for one, other in combinations(point.treatments, 2) if effect is not None else ():
        assert effect is not None
        mine, theirs = (point.of_arm(arm, effect.metric) for arm in (one, other))
        true = above(point, one, point, other) or {"true_se": None, "told_apart": None, "paired": False}
        yield {
            "treatment": one,
            "against": other,
            "metric": effect.metric,
            "cell": point.cell,
            "at": dict(point.settings),
            **known(_ratio(mine, theirs)),
            **true,
        }


def _ratio(mine: Known, theirs: Known) -> Known:
    """The lift of one arm's value over another's; the arms' users are different people.

    Each interval's half width on the logarithm stands for its error: they add by squares.
    """
    true = mine.true / theirs.true - 1 if mine.true is not None and theirs.true else None
    if not mine.value or not theirs.value:
        return Known(true=true)
    lift = mine.value / theirs.value - 1
    halves = []
    for arm in (mine, theirs):
        low, high = arm.ends
        if low is None or high is None or low <= 0:
            return Known(lift, None, true)
        halves.append(math.log(high / low) / 2)
    factor = math.exp(math.hypot(*halves))
    return Known(lift, ((1 + lift) / factor - 1, (1 + lift) * factor - 1), true)


def known(number: Known) -> dict[str, Any]:
    """A number as answers hold it."""
    ci = None if number.ci is None else list(number.ci)
    return {"value": number.value, "ci": ci, "true_value": number.true, "true_se": number.true_se}
