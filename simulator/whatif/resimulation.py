"""A finished run, asked again under other settings. Start at `Resimulation`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import Any

from simulator.arms.arm import Arm, ModelSpec, needed_models
from simulator.arms.cell import Cell
from simulator.arms.clock import Sizes, make_clock
from simulator.arms.models import TrainedModel
from simulator.arms.outlook import refuse
from simulator.arms.plan import Plan, make_plan
from simulator.arms.scores import score_inputs
from simulator.config.load import changed, load_config
from simulator.errors import SimulatorError, short
from simulator.execution.progress import Progress, Silent
from simulator.experiment.judge import Kept, judge, scorecard
from simulator.results.read import CONFIG, Run, read_run
from simulator.serving.profile import ServiceProfile
from simulator.whatif.channels import CHANNELS, Channels, channels
from simulator.whatif.held import HeldArm
from simulator.whatif.hybrids import Hybrids, to_train


class ResimulationError(SimulatorError):
    """A run that cannot be asked again, or a question that needs another run."""


@dataclass(frozen=True)
class Answer:
    """What a run would have come to under other settings.

    Attributes:
        changes: the settings that were asked for, by dotted key.
        scorecard: as a run of these settings would write it: every metric with interval and truth, latency,
            servers, verdict.
        seconds: of wall time that the answer took.
        scored: (request, ladder step) pairs that no run had scored and were scored for it; they are kept.
    """

    changes: dict[str, Any]
    scorecard: dict[str, Any]
    seconds: float
    scored: int


class Resimulation:
    """A finished run, held in memory so that other settings are answered while one looks.

    Nothing is interpolated: the timing plane serves the whole trace again, and the market runs again in the
    A/B and in every arm's own world. World, models and scores stay. The scorecard is that of a sweep's cell
    with the same settings, bit for bit. As in a sweep, an automatic budget is the run's own, and a load is a
    share of what the run's slower arm can serve, so that other servers meet the same traffic.

    Scores come from where runs keep them for each other (`laser-ab cache`). What a setting needs besides, or
    was not kept, is scored first, which takes as long as in a run.

    Args:
        run: the run's folder.
        progress: notified while the world is built.

    Raises:
        ResimulationError: the run is not finished, was served live, or is of a version that kept no
            calibration.
        ResultsError: there is no such folder, or it is damaged.
        CheckpointError: one of its models is missing or changed.
        SimulatorError: its world or profile is not there any more.
    """

    def __init__(self, run: Path | str, *, progress: Progress | None = None) -> None:
        self.run = _finished(read_run(run))
        progress = progress or Silent()
        progress.stage("world", 0, 1)
        # The folder's file is resolved: today's environment must not change yesterday's run.
        self._plan = make_plan(load_config(self.run.path / CONFIG, environment={}))
        _ = self._plan.prepared
        progress.stage("world", 1, 1)
        self._trained = _models(self._plan, self.run)
        self._sizes: Sizes = {}
        self._profiles: dict[Path, ServiceProfile] = {}
        self._clock = make_clock(self._plan, self._profile(self._plan), self._sizes)
        self._held = {arm.name: HeldArm(self._plan, arm, self._trained) for arm in self._plan.arms}
        self._kept = Kept({name: held.short for name, held in self._held.items()})

    def ask(self, changes: Mapping[str, Any]) -> Answer:
        """What the run would have come to.

        Args:
            changes: by dotted key of the experiment file, such as {"experiment.budget_ms": 20,
                "traffic.requests_per_s": 800, "arms.treatment.scorers": 2}; none asks for the run itself.

        Raises:
            ConfigError: a key is unknown, a value wrong, or the profile has not measured what they need.
            ResimulationError: they change the world, a model, or what is scored.
        """
        began_s, before = time.perf_counter(), self._scored
        config = changed(self._plan.config, changes, "what-if")
        refuse(config, budgeted=False)
        plan = make_plan(config, like=self._plan)
        self._check(plan, changes)
        profile = self._profile(plan)
        cell = Cell(plan, self._trained, profile, make_clock(plan, profile, self._sizes, self._clock))
        results = [self._held[arm.name].serve(cell, arm) for arm in plan.arms]
        card = scorecard(cell, judge(cell, results, known=self._kept), self.run.path.name)
        return Answer(dict(changes), card, time.perf_counter() - began_s, self._scored - before)

    @property
    def treatments(self) -> list[str]:
        """The names of the arms that are compared with control."""
        return [arm.name for arm in self._plan.treatments]

    def channels_train(self, arm: str | None = None) -> list[ModelSpec]:
        """The models that `channels` trains first, for no run has kept them; it takes as long as in a run.

        Where the arms differ in their history, they are those of the arms between them: each arm's model with
        the other's history.

        Args:
            arm: as in `channels`.

        Raises:
            ResimulationError: there is no such treatment.
        """
        return to_train(self._plan, self._treatment(arm), self._trained)

    def channels(
        self,
        arm: str | None = None,
        *,
        order: Sequence[str] | None = None,
        jobs: int = 1,
        progress: Progress | None = None,
    ) -> list[Channels]:
        """Take the run's true effects apart: by model, history, serving, prices and budgets; see `Channels`.

        Where the arms differ in both model and history, the two arms between them are trained and scored.

        Args:
            arm: the treatment; the first by default.
            order: in which channels are switched on; None for the mean over every order (Shapley).
            jobs: threads.
            progress: notified of trainings, scores and worlds.

        Raises:
            ResimulationError: there is no such treatment, or the order is not one of all channels.
        """
        check_order(order)
        treatment = self._treatment(arm)
        profile = self._profile(self._plan)
        cell = Cell(self._plan, self._trained, profile, self._clock)
        served = {one.name: self._held[one.name].serve(cell, one).served for one in self._plan.arms}
        paths = int((self.run.scorecard or {})["truth"]["paths"])
        with TemporaryDirectory(prefix="channels-", ignore_cleanup_errors=True) as name:
            progress = progress or Silent()
            hybrids = Hybrids(cell, treatment, served, self._held, Path(name), progress)
            return channels(cell, hybrids, paths=paths, order=order, jobs=jobs, progress=progress)

    def _treatment(self, arm: str | None) -> str:
        names = self.treatments
        if arm is not None and arm not in names:
            raise ResimulationError(f"Found the arm {arm!r}, expected a treatment: {', '.join(names)}.")
        return names[0] if arm is None else arm

    @property
    def _scored(self) -> int:
        return sum(held.scored for held in self._held.values())

    def _profile(self, plan: Plan) -> ServiceProfile:
        """A plan's profile, the same object each time: what is looked up in one is held by its identity."""
        assert plan.profile is not None  # not live
        return self._profiles.setdefault(plan.config.experiment.profile_path, plan.profile)

    def _check(self, plan: Plan, changes: Mapping[str, Any]) -> None:
        """Refuse what another world, model or score would answer, not another simulation."""
        own, what = self._plan, None
        if plan.config.experiment.service_times == "live":
            what = "where service times come from"
        elif plan.world != own.world:
            what = "the world"
        elif [arm.name for arm in plan.arms] != [arm.name for arm in own.arms]:
            what = "the arms"
        elif not set(needed_models(plan.arms)) <= set(self._trained):
            what = "a model"
        elif plan.threads != own.threads or plan.device != own.device:
            what = "how requests are scored"
        elif any(
            self._scores(arm) != self._scores(was) for arm, was in zip(plan.arms, own.arms, strict=True)
        ):
            what = "what an arm scores"
        if what is not None:
            raise ResimulationError(
                f"Found changes of {', '.join(changes)}, which change {what}, expected settings of budget, "
                "traffic, servers, policy, split or market. Sweep over them: laser-ab sweep "
                f"{quote(str(self.run.path / CONFIG))} --over KEY=VALUE,VALUE."
            )

    def _scores(self, arm: Arm) -> str:
        return score_inputs(self._plan, arm, self._trained)


def check_order(order: Sequence[str] | None) -> None:
    """Raise ResimulationError unless an order names every channel once; None is the mean over every order."""
    if order is not None and sorted(order) != sorted(CHANNELS):
        raise ResimulationError(
            f"Found the order {', '.join(map(short, order))}, expected each of {', '.join(CHANNELS)} once."
        )


def _finished(run: Run) -> Run:
    """The run, if it can be asked again."""
    if run.problem is not None:
        raise run.problem
    if run.status != "finished":
        raise ResimulationError(
            f"{run.path}: found a run that is {run.status}, expected a finished one. "
            + ("Wait for its end." if run.status == "running" else f"Bring it to its end: {run.next_command}")
        )
    if run.manifest.get("service_times") != "profile":
        raise ResimulationError(
            f"{run.path}: found a run whose service times were measured live, expected one of a profile: "
            "times that were measured in service cannot be replayed. Measure a profile with `laser-ab "
            "profile`, set experiment.profile to it and run again."
        )
    return run


def _models(plan: Plan, run: Run) -> dict[ModelSpec, TrainedModel]:
    """The run's models as its manifest has them."""
    notes = run.manifest.get("models") or {}
    found = {}
    for spec in needed_models(plan.arms):
        note = notes.get(spec.key)
        if note is None or "calibration" not in note:
            raise ResimulationError(
                f"{run.path}: found no calibration of {spec.key} in its manifest, expected that of every "
                f"model. An earlier version made this run. Make it again: {run.next_command}"
            )
        found[spec] = TrainedModel.noted(spec, run.path, note)
    return found
