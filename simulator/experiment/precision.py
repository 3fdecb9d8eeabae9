"""How exact the truth has to be: its own error must be small beside that of the A/B it is compared with.

Worlds depend on which clicks happen to be drawn, since those decide whose budget runs out; more paths of
clicks lessen that part of the truth's error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.analysis.columns import Table
from simulator.analysis.inference import estimate
from simulator.analysis.truth import path_error
from simulator.arms.plan import Plan
from simulator.metrics import COMPARED, Ratio

#: The paths' error of a true log lift, as a share of the A/B's standard error, that is small enough.
SHARE = 0.25
PathTotals = Mapping[str, Mapping[str, NDArray[np.float64]]]


@dataclass(frozen=True)
class Precision:
    """Of one A/B.

    Attributes:
        control: the arm that the others are compared with.
        errors: by (treatment, ratio metric), the A/B's standard error of the log lift, where it has one.
    """

    control: str
    errors: Mapping[tuple[str, Ratio], float]

    @classmethod
    def of(cls, users: Table, plan: Plan) -> Precision:
        """From the A/B's users table."""
        control, errors = plan.control.name, {}
        for arm in plan.treatments:
            for metric in COMPARED:
                if isinstance(metric, Ratio):
                    se = estimate(users, metric, control, arm.name).se_log
                    if se is not None and se > 0:
                        errors[arm.name, metric] = se
        return cls(control, errors)

    def share(self, paths: PathTotals) -> float | None:
        """The paths' largest error as a share of the A/B's; None where the A/B has none."""
        shares = [
            path_error((paths[self.control], paths[treatment]), metric) / se
            for (treatment, metric), se in self.errors.items()
        ]
        return max(shares, default=None)

    def enough(self, paths: PathTotals) -> bool:
        """Whether the truth is exact enough with these paths."""
        share = self.share(paths)
        return share is not None and share <= SHARE

    def note(self, paths: PathTotals) -> dict[str, Any]:
        """For the scorecard: how many paths, and the largest share."""
        count = len(next(iter(paths[self.control].values())))
        return {"paths": count, "path_error_share": self.share(paths), "path_error_goal": SHARE}
