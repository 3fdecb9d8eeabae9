"""The peeking lab: one stream of users judged day by day, by three stopping rules.

"fixed" calls a difference as soon as the interval of one look leaves out 0; "group-sequential" has bounds
that share the error among the planned days; "always-valid" may be looked at whenever one likes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.certificate.calibrations import RULES, stops, stream


def peek(
    looks: int = 14, users: int = 1_400, lift: float = 0.0, tests: int = 2_000, seed: int = 7
) -> dict[str, Any]:
    """Tests of clicks per impression, looked at every day.

    Args:
        looks: days.
        users: of an arm, at the end; they come evenly.
        lift: the true one; 0 asks for false alarms.
        tests: how many.
        seed: of their draws.

    Returns:
        "rules": by rule, the share of tests that called a difference by the end, the error of that share, and
        the mean share of the users seen when it did (1 where it never did). "example": of the first test,
        each day's estimate, standard error and which rules would have stopped by then.
    """
    estimate, se, units = stream(seed, tests, looks, users, lift)
    called = {rule: np.logical_or.accumulate(stops(estimate, se, units, rule), axis=1) for rule in RULES}
    seen = units / units[-1]
    rules = {}
    for rule, by_then in called.items():
        ends = np.where(by_then.any(1), seen[by_then.argmax(1)], 1.0)
        share = float(by_then[:, -1].mean())
        rules[rule] = {
            "called": share,
            "called_se": float(np.sqrt(share * (1 - share) / tests)),
            "users_seen": float(ends.mean()),
            "by_look": by_then.mean(0).tolist(),
        }
    example = [
        {
            "look": look + 1,
            "users": int(units[look]),
            "lift": float(estimate[0, look]),
            "se": float(se[0, look]),
            "called": {rule: bool(by_then[0, look]) for rule, by_then in called.items()},
        }
        for look in range(looks)
    ]
    return {
        "looks": looks,
        "users": int(units[-1]),
        "lift": lift,
        "tests": tests,
        "rules": rules,
        "example": example,
    }
