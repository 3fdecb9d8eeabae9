"""What a design decides: whose request, or whose ad, is ranked by the treatment, and what is compared.

Letters: R requests of the trace, A ads, V advertisers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from simulator.inputs.prepare import Prepared
from simulator.traffic.trace import DAY_S

I8 = NDArray[np.int64]
B = NDArray[np.bool_]
Unit = Literal["user", "window", "advertiser", "user and advertiser"]


@dataclass(frozen=True)
class Population:
    """What can be assigned.

    Attributes:
        user_ids: (U,) sorted.
        user: (R,) whose request each is, an index into `user_ids`.
        since_s: (R,) seconds since the first midnight of the experiment; below 0 before it.
        day: (R,) the experiment's day, from 0.
        inside: (R,) whether the request belongs to the experiment.
        advertiser: (A,) whose ad each is.
        advertisers: V.
    """

    user_ids: NDArray[np.uint64]
    user: I8
    since_s: NDArray[np.float64]
    day: I8
    inside: B
    advertiser: I8
    advertisers: int

    @classmethod
    def of(cls, prepared: Prepared) -> Population:
        """The trace's users, and the catalogue's advertisers."""
        requests, catalogue = prepared.requests, prepared.world.catalogue
        users, user = np.unique(requests.user_id, return_inverse=True)
        first = int(requests.day[prepared.in_experiment].min())
        return cls(
            users.astype(np.uint64),
            user.astype(np.int64),
            requests.arrival_s - first * DAY_S,
            requests.day.astype(np.int64) - first,
            prepared.in_experiment,
            catalogue.advertiser.astype(np.int64),
            len(catalogue.advertiser_tcpa),
        )


@dataclass(frozen=True)
class Assignment:
    """One draw of a design: the treatment ranks the candidates whose request and whose ad are both treated.

    Attributes:
        unit: what is compared.
        rows: (R,) whether the request is treated.
        ads: (A,) whether the ad is; all are where requests alone are assigned.
        unit_of: (R,) which unit a request counts for, -1 where it is left out; of designs whose units are
            advertisers, 0 where it counts.
        budgets: the shares of every budget that control's and treatment's requests pay from; None where all
            pay from the same.
    """

    unit: Unit
    rows: B
    ads: B
    unit_of: I8
    budgets: tuple[float, float] | None = None


class Design(Protocol):
    """A way to lay out the experiment.

    Attributes:
        name: in reports.
        why: what it is biased by, to end a sentence with; empty where nothing is known.
    """

    @property
    def name(self) -> str:
        """See the class."""

    @property
    def why(self) -> str:
        """See the class."""

    def draw(self, population: Population, salt: str, seed: int) -> Assignment:
        """Assign; another salt is an independent assignment.

        Raises:
            SimulatorError: there is too little to assign.
        """
