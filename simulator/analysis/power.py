"""What a test of this size can see, and what size it takes to see something.

Everything is on the logarithm of the ratio, as the intervals are: a two-sided test at 1 - level finds a lift
with the wanted power where |log(1 + lift)| = (z_alpha + z_power)·se_log, and se_log² falls as 1 / users.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats

from simulator.analysis.columns import AnalysisError
from simulator.results.answers.size import POWER, reach

ALPHA = 0.05


def mde(se_log: float, level: float = 1 - ALPHA, wanted: float = POWER) -> float:
    """Smallest true lift a two-sided test finds with the wanted power, from its standard error."""
    return math.expm1(reach(level, wanted) * se_log)


def power(lift: float, se_log: float) -> float:
    """Chance that a two-sided 5 % test finds a true lift > -1."""
    if se_log == 0:
        return float(lift != 0)
    shift, edge = math.log1p(lift) / se_log, stats.norm.ppf(1 - ALPHA / 2)
    return float(stats.norm.sf(edge - shift) + stats.norm.cdf(-edge - shift))


def times_the_size(
    lift: float, se_log: float, level: float = 1 - ALPHA, wanted: float = POWER
) -> float | None:
    """How many times as many users find a lift with the wanted power; None for a lift of 0 or no error."""
    if lift == 0 or lift <= -1 or se_log <= 0:
        return None
    return (reach(level, wanted) * se_log / math.log1p(lift)) ** 2


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
    _check(share=share, level=level, wanted=wanted)
    if not lift > -1 or lift == 0 or not cv_control > 0:
        raise AnalysisError(
            f"The lift is {lift} and the spread {cv_control}, expected a lift above -1 and not 0, such as "
            "0.02, and a standard deviation over the mean above 0."
        )
    variance = _per_user(cv_control, cv_treatment, share)
    users = variance * (reach(level, wanted) / math.log1p(lift)) ** 2
    return Size(max(2, math.ceil(users * (1 - share))), max(2, math.ceil(users * share)), lift)


def lift_found(
    users: int, cv: float, *, share: float = 0.5, level: float = 1 - ALPHA, wanted: float = POWER
) -> float:
    """The smallest lift that so many users find with the wanted power.

    Raises:
        AnalysisError: a number out of its range.
    """
    _check(share=share, level=level, wanted=wanted)
    if users < 4 or not cv > 0:
        raise AnalysisError(
            f"{users} users of spread {cv}, expected at least 4 and a standard deviation over the mean "
            "above 0."
        )
    return mde(math.sqrt(_per_user(cv, None, share) / users), level, wanted)


def _per_user(cv_control: float, cv_treatment: float | None, share: float) -> float:
    """se_log² of a test of one user in all."""
    other = cv_control if cv_treatment is None else cv_treatment
    return cv_control**2 / (1 - share) + other**2 / share


def _check(**shares: float) -> None:
    for name, value in shares.items():
        if not 0 < value < 1:
            raise AnalysisError(f"{name} is {value}, expected a number in (0, 1), such as 0.8.")
