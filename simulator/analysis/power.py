"""What a test of this size can see, and what size it takes to see something.

Everything is on the logarithm of the ratio, as the intervals are: a two-sided test at 1 - level finds a lift
with the wanted power where |log(1 + lift)| = (z_alpha + z_power)·se_log, and se_log² falls as 1 / users.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats

from simulator.analysis.columns import AnalysisError
from simulator.analysis.log_ratio import lift_of
from simulator.errors import short
from simulator.results.answers.size import POWER, reach

ALPHA = 0.05
_MOST_USERS = 10**15  # beyond it a size is no plan; the numbers on the way stay in floating point's range


def mde(se_log: float, level: float = 1 - ALPHA, wanted: float = POWER) -> float:
    """Smallest true lift a two-sided test finds with the wanted power; infinite where there is none."""
    return lift_of(reach(level, wanted) * se_log)


def power(lift: float, se_log: float) -> float:
    """Chance that a two-sided 5 % test finds a true lift > -1."""
    if se_log == 0:
        return float(lift != 0)
    shift, edge = math.log1p(lift) / se_log, stats.norm.ppf(1 - ALPHA / 2)
    return float(stats.norm.sf(edge - shift) + stats.norm.cdf(-edge - shift))


def times_the_size(
    lift: float, se_log: float, level: float = 1 - ALPHA, wanted: float = POWER
) -> float | None:
    """How many times as many users find a lift with the wanted power; None for a lift of 0 or no error.

    None too where no number of users does, as for an error that is far beyond the lift.
    """
    if lift == 0 or lift <= -1 or se_log <= 0:
        return None
    ratio = reach(level, wanted) * se_log / math.log1p(lift)
    times = ratio * ratio
    return times if times < _MOST_USERS else None


@dataclass(frozen=True)
class Size:
    """A test's size: users of control and of treatment, and the lift it finds with the wanted power."""

    control: int
    treatment: int
    lift: float

    @property
    def users(self) -> int:
        """Of both arms."""
        return self.control + self.treatment


def users_needed(
    lift: float,
    cv_control: float,
    cv_treatment: float | None = None,
    *,
    share: float = 0.5,
    level: float = 1 - ALPHA,
    wanted: float = POWER,
) -> Size:
    """Users that find a lift with the wanted power.

    Args:
        lift: the true one, > -1 and not 0.
        cv_control, cv_treatment: standard deviation over mean of a user's contribution in either arm; of a
            rate p it is sqrt((1 - p) / p). Treatment's is control's by default.
        share: treatment's, of the users.
        level, wanted: of the test.

    Raises:
        AnalysisError: a number out of its range.
    """
    _check(share, level, wanted)
    if not lift > -1 or lift == 0 or not cv_control > 0:
        raise AnalysisError(
            f"The lift is {lift} and the spread {cv_control}, expected a lift above -1 and not 0, such as "
            "0.02, and a standard deviation over the mean above 0."
        )
    times = reach(level, wanted) / math.log1p(lift)
    users = _per_user(cv_control, cv_treatment, share) * times * times
    if not users < _MOST_USERS:
        raise AnalysisError(
            f"A lift of {lift} at a spread of {cv_control:g} takes {users:g} users, expected a test of fewer "
            f"than {_MOST_USERS:g}. Look for a larger lift, or a metric that varies less."
        )
    return Size(max(2, math.ceil(users * (1 - share))), max(2, math.ceil(users * share)), lift)


def lift_found(
    users: int, cv: float, *, share: float = 0.5, level: float = 1 - ALPHA, wanted: float = POWER
) -> float:
    """The smallest lift that so many users find with the wanted power.

    Raises:
        AnalysisError: a number out of its range.
    """
    _check(share, level, wanted)
    if not 4 <= users <= _MOST_USERS or not cv > 0:
        raise AnalysisError(
            f"Found {short(users)} users of spread {cv}, expected 4 to {_MOST_USERS:g} and a standard "
            "deviation over the mean above 0. Correct them."
        )
    found = mde(math.sqrt(_per_user(cv, None, share) / users), level, wanted)
    if not found < _MOST_USERS:
        raise AnalysisError(
            f"{users:,} users of spread {cv:g} find no lift at all, expected more users. Raise their number."
        )
    return found


def _per_user(cv_control: float, cv_treatment: float | None, share: float) -> float:
    """se_log² of a test of one user in all."""
    other = cv_control if cv_treatment is None else cv_treatment
    return cv_control * cv_control / (1 - share) + other * other / share


def _check(share: float, level: float, wanted: float) -> None:
    for name, value in (("share", share), ("level", level), ("power", wanted)):
        # A level so near to 1 that half of what is left is nothing has no quantile.
        if not 0 < value < 1 or (name == "level" and (1 + value) / 2 == 1):
            raise AnalysisError(f"The {name} is {value}, expected a number in (0, 1), such as 0.8.")
    if not reach(level, wanted) > 0:
        raise AnalysisError(
            f"The power is {wanted}, expected more than {(1 - level) / 2:g}: as often the test calls a "
            "difference where there is none. Raise it."
        )
