"""Whether two true lifts are told apart: in the same users where both are of these. Start at `above`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.results.answers.grid import Known, Point

SURE = 1.96  # standard errors of the truth


def above(mine: Point, arm: str, theirs: Point, other: str) -> dict[str, Any] | None:
    """How far one true lift lies above another, and whether that is told from nothing; None where unknown.

    Cells of the same users and requests are compared in these (`paired`), others by their own errors.

    Args:
        mine, arm: a cell and one of its arms.
        theirs, other: what that is compared with; its cell may be the same.
    """
    lifts = [_true_lift(mine, arm), _true_lift(theirs, other)]
    if lifts[0].true is None or lifts[1].true is None:
        return None
    pair = mine.pair(arm, other) if mine.cell == theirs.cell else None
    if pair is not None:
        return {**_apart(*pair), "paired": True}
    ratio = (1 + lifts[0].true) / (1 + lifts[1].true)
    errors = [(lift.true_se or 0.0) / (1 + (lift.true or 0.0)) for lift in lifts]
    paired = _paired_error(errors, _added(mine, arm), _added(theirs, other))
    error = math.hypot(*errors) if paired is None else paired
    return {**_apart(ratio - 1, ratio * error), "paired": paired is not None}


def _true_lift(point: Point, arm: str) -> Known:
    return point.lift(arm) if arm in point.treatments else Known(true=0.0, true_se=0.0)


def _added(point: Point, arm: str) -> Mapping[str, NDArray[Any]] | None:
    """What each user adds to the logarithm of a true lift; control's is 0."""
    users = point.users()
    if not users or arm in point.treatments:
        return users.get(arm) if users else None
    one = next(iter(users.values()))
    return {**one, "log_lift": np.zeros(len(one["log_lift"]))}


def _paired_error(
    errors: Sequence[float],
    mine: Mapping[str, NDArray[Any]] | None,
    theirs: Mapping[str, NDArray[Any]] | None,
) -> float | None:
    """Of the difference of two logarithms; None where they are not of the same users and requests.

    What the paths of clicks add to either error is not paired, which is on the safe side.
    """
    if mine is None or theirs is None or len(mine["user_id"]) < 2:
        return None
    if not all(np.array_equal(mine[name], theirs[name]) for name in ("user_id", "requests")):
        return None
    own = [_error_over_users(one["log_lift"]) for one in (mine, theirs)]
    paths = [max(0.0, error**2 - user**2) for error, user in zip(errors, own, strict=True)]
    return math.sqrt(_error_over_users(mine["log_lift"] - theirs["log_lift"]) ** 2 + sum(paths))


def _error_over_users(added: NDArray[Any]) -> float:
    return math.sqrt(float(added @ added) * len(added) / (len(added) - 1))


def _apart(lift: float, se: float | None) -> dict[str, Any]:
    told_apart = None if se is None else abs(lift) > SURE * se
    return {"true_value": lift, "true_se": se, "told_apart": told_apart}
