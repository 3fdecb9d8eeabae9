"""What a model can read: ids it has a row for, ages and features that are numbers. One place for every form
of a batch.
"""

from __future__ import annotations

from collections.abc import Callable

from laser.models import ModelConfig
from laser.scoring.snapshot import ScoreError

_INT32 = 2**31 - 1  # how wide a position may be in a scorer's block


def check_limits(config: ModelConfig, candidates: int, ends: Callable[[str], tuple[float, float]]) -> None:
    """Refuse values that the model cannot read; `ends` looks at each column once.

    A batch made of tensors or arrays holds what it was given: -1 may name another row, and a behaviour of
    the future would pass for one of this moment.

    Args:
        config: the model's.
        candidates: C.
        ends: least and largest value of a column, NaN where one is NaN; (0, 0) of an empty one.

    Raises:
        ScoreError: an id has no row in the model, an age is negative or not finite, an hour or a propensity
            is not finite, or a candidate_count lies outside [0, C].
    """
    limits = {
        "category": config.categories,
        "action": config.actions,
        "scene": config.scenes,
        "ad": config.ads,
        "ad_category": config.categories,
        "position": _INT32,
        "candidate_count": candidates + 1,
    }
    for name, limit in limits.items():
        low, high = ends(name)
        if low < 0 or high >= limit:
            raise ScoreError(
                f"{name} holds {int(low if low < 0 else high)}, expected ids below {limit} and of 0 or more. "
                "Map unknown ids, or train with them."
            )
    low, high = ends("age_s")
    if not (low >= 0 and high < float("inf")):  # NaN fails the comparison
        raise ScoreError(
            f"age_s spans {low} to {high}, expected finite seconds of 0 or more. "
            "A negative age means a behaviour later than the request: cut the history there."
        )
    for name in ("hour", "propensity"):
        low, high = ends(name)
        if not (low > -float("inf") and high < float("inf")):
            raise ScoreError(f"{name} holds a value that is not finite, expected numbers. Fill it first.")
