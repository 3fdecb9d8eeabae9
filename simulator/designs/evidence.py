"""What came of a play: impressions with their outcomes, and totals of users, windows or advertisers.

Letters: n impressions, U units; columns are "requests" and then `OUTCOMES`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.designs.design import I8, Assignment, B, Population
from simulator.experiment.outcomes import Played, stretches
from simulator.market.pages import F8, Shown
from simulator.metrics import OUTCOMES

COLUMNS = ("requests", *OUTCOMES)


@dataclass(frozen=True)
class Evidence:
    """Impressions: whose request, whose ad, and the outcomes in the order of `OUTCOMES`.

    row, ad: (n,). values: (n, 5).
    """

    row: I8
    ad: I8
    values: F8

    @classmethod
    def of(cls, played: Played, tcpa: F8) -> Evidence:
        """What a play's pages showed."""
        parts = [_shown(played.shown.take(rows), rows, tcpa) for rows in stretches(played.rows)]
        none = cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, len(OUTCOMES))))
        return sum(parts, none)

    def where(self, keep: B) -> Evidence:
        """Some impressions."""
        return Evidence(self.row[keep], self.ad[keep], self.values[keep])

    def __add__(self, other: Evidence) -> Evidence:
        """The impressions of both."""
        return Evidence(
            np.concatenate([self.row, other.row]),
            np.concatenate([self.ad, other.ad]),
            np.concatenate([self.values, other.values]),
        )


def _shown(shown: Shown, rows: I8, tcpa: F8) -> Evidence:
    place, slot = np.nonzero(shown.ad >= 0)
    ad = shown.ad[place, slot].astype(np.int64)
    conversion = shown.conversion[place, slot]
    values = (
        np.ones(len(place)),
        shown.click[place, slot],
        conversion,
        shown.charged[place, slot],
        np.where(conversion, tcpa[ad], 0.0),
    )
    return Evidence(rows[place], ad, np.stack(values, axis=1).astype(np.float64))


def treated(evidence: Evidence, assignment: Assignment) -> B:
    """(n,) which impressions the treatment ranked."""
    return np.asarray(assignment.rows[evidence.row] & assignment.ads[evidence.ad])


def worlds_apart(control: Evidence, treatment: Evidence, assignment: Assignment) -> Evidence:
    """What the same assignment would see if each arm had the market to itself.

    Args:
        control, treatment: of the worlds that one arm serves alone.
    """
    return control.where(~treated(control, assignment)) + treatment.where(treated(treatment, assignment))


def by_unit(unit: NDArray[np.int64], units: int, values: F8, requests: F8 | None = None) -> F8:
    """(U, 6) totals of units.

    Args:
        unit: (n,) whose impression each is; below 0 it is left out.
        units: U.
        values: (n, 5) outcomes.
        requests: (U,) what the first column holds.
    """
    mine = unit >= 0
    table = np.zeros((units, len(COLUMNS)))
    for k in range(len(OUTCOMES)):
        table[:, k + 1] = np.bincount(unit[mine], values[mine, k], units)
    if requests is not None:
        table[:, 0] = requests
    return table


def before(population: Population, free: Evidence) -> tuple[F8, F8]:
    """Totals before the experiment, which control served: (users, 6) and (advertisers, 6).

    Args:
        population: users and advertisers.
        free: of the pre-period.
    """
    early = population.user[~population.inside]
    users = len(population.user_ids)
    requests = np.bincount(early, minlength=users).astype(np.float64)
    all_requests = np.full(population.advertisers, float(len(early)))
    return (
        by_unit(population.user[free.row], users, free.values, requests),
        by_unit(population.advertiser[free.ad], population.advertisers, free.values, all_requests),
    )
