"""What a question leaves as it is: an arm's scores, and its drawn service times. Start at `HeldArm`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from simulator.arms.arm import Arm, ModelSpec
from simulator.arms.cell import Cell
from simulator.arms.clock import profile_times
from simulator.arms.kept import F4, KeptScores
from simulator.arms.models import TrainedModel
from simulator.arms.plan import Plan
from simulator.arms.scores import score_needed
from simulator.arms.serve import ArmResult, clock_of, needed_scores, timed
from simulator.arms.summary_times import summary_notes
from simulator.experiment.shortlists import Shortlists
from simulator.serving.arm import ServingArm
from simulator.serving.pipeline import Served
from simulator.serving.service_times import ProfileServiceTimes


class HeldArm:
    """An arm of a finished run: what it scored is at hand, what another setting needs besides is scored.

    Args:
        plan: the run.
        arm: one of its arms.
        trained: its models.

    Attributes:
        scored: how many (request, ladder step) pairs were scored here, since no run had kept them.
        short: its short pages, see `ArmAnswers`; the same in every question, but for the steps that answer.
    """

    def __init__(self, plan: Plan, arm: Arm, trained: Mapping[ModelSpec, TrainedModel]) -> None:
        self._plan, self._arm, self._trained = plan, arm, trained
        self._logits: list[F4] = KeptScores(plan, arm, trained).find()
        self._known = np.stack([~np.isnan(of_step[:, 0]) for of_step in self._logits], axis=1)
        self._times: dict[tuple[int, ServingArm, bool], ProfileServiceTimes] = {}
        self._clock: tuple[object, ...] | None = None
        self._plane: tuple[Served, dict[str, int]] | None = None
        self.short: dict[bool, Shortlists] = {}
        self.scored = 0

    def serve(self, cell: Cell, arm: Arm) -> ArmResult:
        """Serve the trace with this arm under a cell's settings, as `serve_cells` does.

        Args:
            cell: in the run's world, with the run's models; whoever asks keeps its profile.
            arm: this one, with the cell's servers.

        Raises:
            StoreError, ResultsError: scores are missing, and the store they are made from cannot be written.
        """
        served, outside = self._timed(cell, arm)
        needed = needed_scores(cell.plan.prepared, [(cell, arm)], [served])
        logits = self.scores(needed)
        notes = {"outside_profile": outside, **summary_notes(cell.plan, arm, cell.profile)}
        return ArmResult(arm.name, served, logits, notes)

    def scores(self, needed: NDArray[np.bool_]) -> list[F4]:
        """(R, C) logits of each step with a model, at least what is needed, (R, K)."""
        self._score(needed & ~self._known)
        return self._logits

    def _timed(self, cell: Cell, arm: Arm) -> tuple[Served, dict[str, int]]:
        """The timing plane; that of the question before where nothing changed that it depends on."""
        clock = clock_of(cell, arm)
        if clock != self._clock:
            self._plane, self._clock = timed(cell, arm, self._drawn(cell, arm)), clock
        assert self._plane is not None
        return self._plane

    def _drawn(self, cell: Cell, arm: Arm) -> ProfileServiceTimes:
        key = (id(cell.profile), arm.serving, cell.plan.config.experiment.extrapolate)
        if key not in self._times:
            self._times[key] = profile_times(cell.plan, arm, cell.profile)
        return self._times[key]

    def _score(self, missing: NDArray[np.bool_]) -> None:
        """Score what no run has kept; later questions, and later runs, find it."""
        if not missing.any():
            return
        with TemporaryDirectory(prefix="what-if-", ignore_cleanup_errors=True) as folder:
            fresh, _ = score_needed(
                self._plan, self._arm, missing, self._trained, Path(folder) / "store", None
            )
        for k in np.flatnonzero(missing.any(axis=0)):
            rows, known = missing[:, k], self._known[:, k]
            logits = np.array(fresh[k])
            logits[known] = self._logits[k][known]
            self._logits[k] = logits
            self._known[rows, k] = True
        self.scored += int(missing.sum())
