"""What every request of the trace is answered with, and when. pCTR is made for those that are asked for.

Letters: R requests, C candidates, K ladder steps with a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from laser.training.calibration import Platt
from simulator.arms.arm import Arm, ModelSpec
from simulator.arms.kept import F4, received
from simulator.arms.models import TrainedModel
from simulator.arms.serve import ArmResult
from simulator.execution.cache import rows_of
from simulator.inputs.prepare import Prepared
from simulator.serving.pipeline import Served

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]


class Answers(Protocol):
    """Answers to the whole trace."""

    @property
    def response_s(self) -> F8:
        """(R,) timing-plane seconds, completion or deadline, whichever is first."""
        ...

    def pctr(self, rows: I8) -> F8:
        """(n, C) calibrated pCTR of some requests by the step that answered; else the prior order's."""
        ...


@dataclass(frozen=True)
class ArmAnswers:
    """One arm's: each request's pCTR by what the timing plane decided."""

    prepared: Prepared
    served: Served
    logits: Sequence[F4]
    platt: tuple[Platt, ...]

    @classmethod
    def of(
        cls, prepared: Prepared, arm: Arm, result: ArmResult, trained: Mapping[ModelSpec, TrainedModel]
    ) -> ArmAnswers:
        """An arm's; each (model, history) has its own calibration."""
        platt = tuple(trained[arm.model_of(step)].platt[step.history] for step in arm.scored_steps)
        return cls(prepared, result.served, received(result.logits), platt)

    @property
    def response_s(self) -> F8:
        """See `Answers`."""
        response: F8 = np.minimum(self.served.completion_s, self.served.deadline_s)
        self.served.let_go()
        return response

    def pctr(self, rows: I8) -> F8:
        """See `Answers`."""
        served = self.served
        pctr = self._prior(rows)
        step = np.where(served.missed[rows], len(self.platt), served.step[rows])
        for k in range(len(self.platt)):
            mine = np.flatnonzero(step == k)
            if len(mine):
                pctr[mine] = self.of_step(k, rows[mine])
        return pctr

    def in_full(self, rows: I8) -> NDArray[np.bool_]:
        """(n,) which of some requests the ladder's first step answered in time."""
        found: NDArray[np.bool_] = (self.served.step[rows] == 0) & ~self.served.missed[rows]
        return found

    def of_step(self, step: int, rows: I8) -> F8:
        """(n, C) pCTR of some requests by one step, whoever answered them."""
        pctr = self.platt[step].apply(rows_of(self.logits[step], rows))
        if np.isnan(pctr).any():
            raise AssertionError("A request was answered by a step that was never scored.")
        return pctr

    def _prior(self, rows: I8) -> F8:
        prior: F8 = self.prepared.prior_ctr[self.prepared.requests.candidates[rows].astype(np.int64)]
        return prior


def of_own(arm_of: NDArray[np.int8], columns: Iterable[NDArray[Any]]) -> NDArray[Any]:
    """(R,) each request's value in its own arm.

    Args:
        arm_of: (R,) which that is.
        columns: (R,) every arm's values, in the arms' order; one column is held at a time.
    """
    found: NDArray[Any] | None = None
    for index, column in enumerate(columns):
        if found is None:
            found = np.array(column)
        np.copyto(found, column, where=arm_of == index)
    assert found is not None
    return found


@dataclass(frozen=True)
class MixedAnswers:
    """Each request's answer from the arm it was given to: `arm_of` (R,) indexes `arms`."""

    arm_of: NDArray[np.int8]
    arms: Sequence[Answers]

    @property
    def response_s(self) -> F8:
        """See `Answers`."""
        return of_own(self.arm_of, (arm.response_s for arm in self.arms))

    def pctr(self, rows: I8) -> F8:
        """See `Answers`."""
        found: F8 | None = None
        for index, arm in enumerate(self.arms):
            mine = np.flatnonzero(self.arm_of[rows] == index)
            part = arm.pctr(rows[mine])
            found = np.empty((len(rows), part.shape[1])) if found is None else found
            found[mine] = part
        assert found is not None
        return found
