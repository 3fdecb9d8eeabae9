"""What every request of the trace is answered with, and when. pCTR is made for those that are asked for.

Letters: R requests, C candidates, K ladder steps with a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from laser.training.calibration import Platt
from simulator.arms.arm import Arm, ModelSpec
from simulator.arms.kept import F4, received
from simulator.arms.models import TrainedModel
from simulator.arms.serve import ArmResult
from simulator.execution.cache import rows_of
from simulator.experiment.shortlists import Shortlists
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

    def by_arm(self, rows: I8) -> list[tuple[I8, ArmAnswers]] | None:
        """Whose answers some requests get: places among them, and the arm; None where they are mixed."""
        ...


def by_arms(rows: I8, parts: Iterable[tuple[I8, Answers]]) -> list[tuple[I8, ArmAnswers]] | None:
    """`Answers.by_arm` of requests that come in parts: places among `rows`, and their answers."""
    found: list[tuple[I8, ArmAnswers]] = []
    for places, answers in parts:
        owners = answers.by_arm(rows[places])
        if owners is None:
            return None
        found += [(places[at], arm) for at, arm in owners]
    return found


@dataclass(frozen=True)
class ArmAnswers:
    """One arm's: each request's pCTR by what the timing plane decided.

    `short` are its short pages, with and without a pCVR of their own; they may be those of an earlier serving
    of the same arm.
    """

    prepared: Prepared
    served: Served
    logits: Sequence[F4]
    platt: tuple[Platt, ...]
    short: dict[bool, Shortlists] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        prepared: Prepared,
        arm: Arm,
        result: ArmResult,
        trained: Mapping[ModelSpec, TrainedModel],
        short: dict[bool, Shortlists] | None = None,
    ) -> ArmAnswers:
        """An arm's; each (model, history) has its own calibration."""
        platt = tuple(trained[arm.model_of(step)].platt[step.history] for step in arm.scored_steps)
        logits = received(result.logits)
        return cls(prepared, result.served, logits, platt, {} if short is None else short)

    @property
    def response_s(self) -> F8:
        """See `Answers`."""
        response: F8 = np.minimum(self.served.completion_s, self.served.deadline_s)
        self.served.let_go()
        return response

    def step_of(self, rows: I8) -> NDArray[np.int8]:
        """(n,) the ladder step by which some requests are answered; K for the prior order."""
        served = self.served
        return np.where(served.missed[rows], len(self.platt), served.step[rows]).astype(np.int8)

    def pctr(self, rows: I8) -> F8:
        """See `Answers`."""
        pctr, step = self._prior(rows), self.step_of(rows)
        for k in range(len(self.platt)):
            mine = np.flatnonzero(step == k)
            if len(mine):
                pctr[mine] = self.of_step(k, rows[mine])
        return pctr

    def by_arm(self, rows: I8) -> list[tuple[I8, ArmAnswers]]:
        """See `Answers`."""
        return [(np.arange(len(rows)), self)]

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

    def by_arm(self, rows: I8) -> list[tuple[I8, ArmAnswers]] | None:
        """See `Answers`."""
        arm_of = self.arm_of[rows]
        return by_arms(rows, ((np.flatnonzero(arm_of == k), arm) for k, arm in enumerate(self.arms)))
