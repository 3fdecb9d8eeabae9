"""Arms that are a treatment in some ways and control in others, answering a whole trace. Start at `Hybrids`.

A hybrid has the model of one arm, reads as much history as one, and its requests are answered when, and from
as much of its history, as those of one. It needs no service times of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simulator.arms.arm import Arm, ModelSpec, needed_models
from simulator.arms.cell import Cell
from simulator.arms.models import TrainedModel
from simulator.arms.plan import Plan, make_plan
from simulator.arms.serve import ArmResult, needed_scores
from simulator.arms.training import missing, train_all
from simulator.config.load import changed
from simulator.execution.progress import Progress
from simulator.experiment.answers import ArmAnswers
from simulator.serving.arm import LadderStep
from simulator.serving.pipeline import Served
from simulator.whatif.held import HeldArm

# Of a ladder's steps by name, best first; who lacks one takes the next that it has.
_STEPS = ("full", "1/2", "1/4", "light", "prior")
_HYBRIDS = 8  # one or the other in three ways
_Ways = tuple[bool, bool]  # whether model and history are the treatment's


class Hybrids:
    """The hybrids of a control and a treatment.

    Args:
        cell: the experiment, sized.
        treatment: the treatment's name.
        served: by arm, its timing plane.
        held: by arm, what it scored.
        folder: for models that are trained; they are needed until all is answered.
        progress: notified of trainings and scores.
    """

    def __init__(
        self,
        cell: Cell,
        treatment: str,
        served: Mapping[str, Served],
        held: Mapping[str, HeldArm],
        folder: Path,
        progress: Progress,
    ) -> None:
        self._cell, self._treatment = cell, treatment
        self._served, self._held = served, held
        self._folder, self._progress = folder, progress
        self._arms = self._all_arms()
        self._answered = 0

    def answers(self, *, model: bool, history: bool, serving: bool) -> ArmAnswers:
        """What an arm answers that is the treatment in these ways, and else control."""
        cell, arm, held = self._arms[model, history]
        plane = self._named(serving)
        served = answered_by(arm.ladder, plane.ladder, self._served[plane.name])
        needed = needed_scores(cell.plan.prepared, [(cell, arm)], [served])
        self._progress.stage("score", self._answered, _HYBRIDS)
        result = ArmResult(arm.name, served, held.scores(needed))
        self._answered += 1
        self._progress.stage("score", self._answered, _HYBRIDS)
        return ArmAnswers.of(cell.plan.prepared, arm, result, cell.trained)

    def _named(self, treated: bool) -> Arm:
        plan = self._cell.plan
        return next(arm for arm in plan.arms if arm.name == self._treatment) if treated else plan.control

    def _all_arms(self) -> dict[_Ways, tuple[Cell, Arm, HeldArm]]:
        """Arms with one's model and one's history; all that is to be trained is trained first."""
        found, between = {}, {}
        for model, history in product((False, True), repeat=2):
            own, length = self._named(model), self._named(history).settings.history
            if own.settings.history == length:
                found[model, history] = self._cell, own, self._held[own.name]
            else:
                between[model, history] = mixed(self._cell.plan, own, length)
        trained = self._trained([replace(other, arms=(arm,)) for other, arm in between.values()])
        for (ways, (other, arm)), models in zip(between.items(), trained, strict=True):
            cell = Cell(other, models, self._cell.profile, self._cell.clock)
            found[ways] = cell, arm, HeldArm(other, arm, models)
        return found

    def _trained(self, plans: Sequence[Plan]) -> list[Mapping[ModelSpec, TrainedModel]]:
        """The experiment's own models where they are calibrated for an arm's ladder, else trained ones."""
        known = self._cell.trained
        made = train_all(
            [plan for plan in plans if not are_trained(plan.arms[0], known)],
            lambda plan: self._folder / plan.arms[0].name,
            progress=self._progress,
            work=self._folder / "work",
        )
        new = iter(made)
        return [known if are_trained(plan.arms[0], known) else next(new) for plan in plans]


def mixed(plan: Plan, own: Arm, length: int) -> tuple[Plan, Arm]:
    """An arm with another history, its model to be trained for that as the file would have it trained.

    Args:
        plan: the experiment.
        own: an arm of it.
        length: the history, behaviours.

    Returns:
        The experiment with that arm in its place, and the arm.
    """
    changes = {f"arms.{own.name}.history": length}
    learned = own.settings.training.history
    if learned is not None and learned < length:
        changes[f"arms.{own.name}.training.history"] = length
    # Without a profile: the times are those of the experiment's own arms.
    other = make_plan(changed(plan.config, changes, "channel"), profiled=False, like=plan)
    return other, next(arm for arm in other.arms if arm.name == own.name)


def are_trained(arm: Arm, known: Mapping[ModelSpec, TrainedModel]) -> bool:
    """Whether an arm's models are among known ones, calibrated for its ladder."""
    wanted = needed_models([arm])
    return all(spec in known and set(lengths) <= set(known[spec].platt) for spec, lengths in wanted.items())


def to_train(plan: Plan, treatment: str, known: Mapping[ModelSpec, TrainedModel]) -> list[ModelSpec]:
    """The models of control's and a treatment's hybrids that no run has kept: they are trained first.

    Args:
        plan: the experiment.
        treatment: the treatment's name.
        known: the experiment's own models.
    """
    arms = [plan.control, next(arm for arm in plan.arms if arm.name == treatment)]
    found: dict[ModelSpec, None] = {}
    for own, other in zip(arms, arms[::-1], strict=True):
        if own.settings.history != other.settings.history:
            between, arm = mixed(plan, own, other.settings.history)
            if not are_trained(arm, known):
                found |= dict.fromkeys(missing(replace(between, arms=(arm,))))
    return list(found)


def answered_by(ladder: tuple[LadderStep, ...], other: tuple[LadderStep, ...], served: Served) -> Served:
    """The timing plane of an arm with one ladder as one with another answers by it: by the step of the same
    name, or the next one below that it has; the prior order is the last of both.
    """
    names = [step.name for step in ladder]
    place = np.zeros(len(other), np.int8)
    for index, step in enumerate(other):
        below = _STEPS[_STEPS.index(step.name) :]
        place[index] = names.index(next(name for name in below if name in names))
    taken: NDArray[np.int8] = place[served.step]
    return replace(served, step=taken)
