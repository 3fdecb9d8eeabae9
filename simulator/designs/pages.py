"""Pages that two arms rank together, each its own requests or its own advertisers' ads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.designs.design import I8, Assignment
from simulator.experiment.answers import F8, Answers, ArmAnswers, by_arms
from simulator.inputs.prepare import Prepared


@dataclass(frozen=True)
class DesignedAnswers:
    """The answers of a control and a treatment under an assignment.

    Where ads are assigned, a page needs both arms' predictions and so is answered when the later one is.
    """

    prepared: Prepared
    assignment: Assignment
    control: Answers
    treatment: Answers

    @property
    def response_s(self) -> F8:
        """See `Answers`."""
        own, other = self.control.response_s, self.treatment.response_s
        treated = other if self.assignment.ads.all() else np.maximum(own, other)
        return np.where(self.assignment.rows, treated, own)

    def pctr(self, rows: I8) -> F8:
        """See `Answers`."""
        treated = self.assignment.rows[rows]
        if self.assignment.ads.all():
            mine = np.flatnonzero(treated)
            found = np.empty((len(rows), self.prepared.requests.candidates.shape[1]))
            found[mine] = self.treatment.pctr(rows[mine])
            rest = np.flatnonzero(~treated)
            found[rest] = self.control.pctr(rows[rest])
            return found
        ads = self.prepared.requests.candidates[rows].astype(np.int64)
        both = treated[:, None] & self.assignment.ads[ads]
        return np.where(both, self.treatment.pctr(rows), self.control.pctr(rows))

    def by_arm(self, rows: I8) -> list[tuple[I8, ArmAnswers]] | None:
        """See `Answers`."""
        if not self.assignment.ads.all():
            return None
        treated = self.assignment.rows[rows]
        sides = ((~treated, self.control), (treated, self.treatment))
        return by_arms(rows, ((np.flatnonzero(mine), answers) for mine, answers in sides))
