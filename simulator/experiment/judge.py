"""From the served arms to a verdict: the market's worlds, the result tables and the scorecard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.analysis.aggregate import aggregate_users
from simulator.analysis.scorecard import Question, build_scorecard
from simulator.arms.arm import Arm, ModelSpec
from simulator.arms.clock import Clock
from simulator.arms.models import TrainedModel
from simulator.arms.plan import Plan
from simulator.arms.serve import ArmResult, calibrated
from simulator.assignment import assign
from simulator.experiment.outcomes import Market, answers, mix
from simulator.experiment.remarks import remarks
from simulator.experiment.tables import (
    Columns,
    impressions_table,
    ledger_table,
    path_totals,
    served_columns,
    truth_table,
)
from simulator.market.pages import Auctions
from simulator.serving.bottleneck import ServerLoad, server_load
from simulator.serving.pipeline import Served
from simulator.serving.profile import ServiceProfile
from simulator.serving.service_times import ProfilePredictions


@dataclass(frozen=True)
class Ready:
    """An experiment that can be served: trained, and its timing plane sized.

    Attributes:
        plan: the experiment.
        trained: its models.
        profile: its service times, or in live mode what this machine did when the run began.
        clock: its timing plane.
    """

    plan: Plan
    trained: Mapping[ModelSpec, TrainedModel]
    profile: ServiceProfile
    clock: Clock


@dataclass(frozen=True)
class Cell:
    """An experiment's outcome under one budget.

    Attributes:
        tables: the result tables, by name.
        paths: by arm, the truth's totals on each path of clicks.
        arms: by arm, what its scorecard entry says beside the statistics: its model, how busy its servers
            were in the experiment's period, and how many service times lay outside what was measured.
    """

    tables: dict[str, Columns]
    paths: dict[str, Columns]
    arms: dict[str, dict[str, Any]]


class Judge:
    """Runs the market's worlds for every serving of the arms; what the servings share is made once.

    Args:
        ready: the experiment.
        results: every arm's, in the arms' order.
    """

    def __init__(self, ready: Ready, results: Sequence[ArmResult]) -> None:
        plan = ready.plan
        self._ready, self._plan, self._results = ready, plan, results
        self._pctr = [
            calibrated(arm, one.logits, ready.trained) for arm, one in zip(plan.arms, results, strict=True)
        ]
        self._market = Market(plan, self._pctr[0][0])
        self._arm_of = assigned_arms(plan)

    def cell(self, index: int) -> Cell:
        """The outcome under the index-th budget that the arms were served with."""
        plan, market = self._plan, self._market
        prepared, names = plan.prepared, plan.config.arm_names
        served = [result.served[index] for result in self._results]
        pages = [answers(prepared, one, pctr) for one, pctr in zip(served, self._pctr, strict=True)]
        experiment = np.flatnonzero(prepared.in_experiment)
        ab = market.experiment(mix(self._arm_of, pages))
        worlds = {name: market.expected(shown) for name, shown in zip(names, pages, strict=True)}
        parts: list[tuple[NDArray[Any], Auctions]] = [(experiment, ab)]
        if len(experiment) < len(prepared.requests):
            before = np.flatnonzero(~prepared.in_experiment)
            parts.insert(0, (before, market.pre_period(pages[0])))
        ledger = {"ab": ab} | {f"all:{name}": paths[0] for name, paths in worlds.items()}
        tables = {
            "served": served_columns(prepared, list(zip(plan.arms, served, strict=True)), self._arm_of),
            "impressions": impressions_table(prepared, parts, self._arm_of, names),
            "truth": truth_table(prepared, worlds),
            "ledger": ledger_table(ledger, market.budgets, market.days),
        }
        tables["users"] = aggregate_users(tables["served"], tables["impressions"], names)
        rows = zip(plan.arms, served, self._results, strict=True)
        beside = {arm.name: self._beside(arm, one, experiment, result) for arm, one, result in rows}
        return Cell(tables, path_totals(worlds), beside)

    def _beside(self, arm: Arm, served: Served, rows: NDArray[np.int64], result: ArmResult) -> dict[str, Any]:
        model = self._ready.trained[arm.main]
        return {
            "model": {"model": model.spec.key, **model.metrics},
            "serving": asdict(self._load(arm, served, rows)),
            # Lookups beyond what was measured got the edge of the grid: the reader should know.
            "outside_profile": sum(result.notes.get("outside_profile", {}).values()),
        }

    def _load(self, arm: Arm, served: Served, rows: NDArray[np.int64]) -> ServerLoad:
        candidates = self._plan.prepared.requests.candidates.shape[1]
        predictions = ProfilePredictions(self._ready.profile, arm.serving, candidates)
        return server_load(served, arm.serving, predictions, rows)


def assigned_arms(plan: Plan) -> NDArray[np.int64]:
    """(R,) index of the arm each request belongs to; the pre-period is the control's (index 0)."""
    config, prepared = plan.config, plan.prepared
    split = {arm.name: config.experiment.split[arm.name] for arm in plan.arms}
    arm_of = assign(prepared.requests.user_id, config.salt, split, config.seed)
    return np.where(prepared.in_experiment, arm_of, 0)


def scorecard(ready: Ready, cell: Cell, name: str, budget_ms: float | None) -> dict[str, Any]:
    """The verdict on one cell, whose arms were served under this budget."""
    plan, config = ready.plan, ready.plan.config
    question = Question(
        run=name,
        seed=config.seed,
        service_times=config.experiment.service_times,
        split={arm.name: config.experiment.split[arm.name] for arm in plan.arms},
        control=plan.control.name,
        primary=config.experiment.primary,
        level=config.experiment.level,
        extra={
            "budget_ms": budget_ms,
            "profile_machine": machine_in_words(ready.profile),
            "notes": remarks(plan),
        },
        arm_extra=cell.arms,
    )
    tables = cell.tables
    return build_scorecard(question, tables["users"], tables["served"], tables["truth"], cell.paths)


def machine_in_words(profile: ServiceProfile) -> str:
    """Whose service times these are, in words."""
    machine = profile.machine
    gpu = machine.gpu or "no GPU"
    return f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib:g} GiB, {gpu}; measured {profile.date}"
