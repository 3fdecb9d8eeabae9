"""From the served arms to a verdict: the market's worlds, the result tables and the scorecard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.analysis.aggregate import aggregate_users
from simulator.analysis.scorecard import Question, build_scorecard
from simulator.arms.clock import Clock, serving_arm
from simulator.arms.serve import ArmResult, calibrated
from simulator.arms.training import ModelSpec, TrainedModel, arm_ladder, arm_specs
from simulator.assignment import assign
from simulator.config.load import ExperimentConfig
from simulator.experiment.outcomes import Market, arm_pages, mix
from simulator.experiment.remarks import remarks
from simulator.experiment.tables import (
    Columns,
    impressions_table,
    ledger_table,
    path_totals,
    served_columns,
    truth_table,
)
from simulator.inputs.prepare import Prepared
from simulator.market.auction import Auctions
from simulator.serving.bottleneck import ServerLoad, server_load
from simulator.serving.pipeline import Served
from simulator.serving.profile import ServiceProfile
from simulator.serving.service_times import ProfilePredictions


@dataclass(frozen=True)
class Plan:
    """What every budget of an experiment shares."""

    prepared: Prepared
    trained: dict[ModelSpec, TrainedModel]
    profile: ServiceProfile
    clock: Clock

    @property
    def config(self) -> ExperimentConfig:
        """The experiment's configuration."""
        return self.prepared.config


@dataclass(frozen=True)
class Cell:
    """An experiment's outcome under one budget.

    Attributes:
        tables: the result tables, by name.
        paths: by arm, the truth's totals on each path of clicks.
        loads: by arm, how busy its servers were in the experiment's period.
    """

    tables: dict[str, Columns]
    paths: dict[str, Columns]
    loads: dict[str, ServerLoad]


class Judge:
    """Runs the market's worlds for every serving of the arms; what the servings share is made once.

    Args:
        plan: the experiment.
        results: every arm's, in the arms' order.
    """

    def __init__(self, plan: Plan, results: Mapping[str, ArmResult]) -> None:
        self._plan, self._results = plan, results
        self._names = plan.config.arm_names
        self._pctr = {name: calibrated(plan.prepared, results[name], plan.trained) for name in self._names}
        self._market = Market(plan.prepared, self._pctr[self._names[0]][0])
        self._arm_of = assigned_arms(plan.prepared)

    def cell(self, index: int) -> Cell:
        """The outcome under the index-th budget that the arms were served with."""
        prepared, market, names = self._plan.prepared, self._market, self._names
        served = {name: self._results[name].served[index] for name in names}
        pages = {name: arm_pages(prepared, served[name], self._pctr[name]) for name in names}
        mixed = mix(self._arm_of, [pages[name] for name in names])
        experiment = np.flatnonzero(prepared.in_experiment)
        ab = market.experiment(mixed)
        worlds = {name: market.expected(pages[name]) for name in names}
        parts: list[tuple[NDArray[Any], Auctions]] = [(experiment, ab)]
        if len(experiment) < len(prepared.requests):
            before = np.flatnonzero(~prepared.in_experiment)
            parts.insert(0, (before, market.pre_period(pages[names[0]])))
        ladders = {name: arm_ladder(self._plan.config, name) for name in names}
        ledger = {"ab": ab} | {f"all:{name}": paths[0] for name, paths in worlds.items()}
        tables = {
            "served": served_columns(prepared, {n: (ladders[n], served[n]) for n in names}, self._arm_of),
            "impressions": impressions_table(prepared, parts, self._arm_of, names),
            "truth": truth_table(prepared, worlds),
            "ledger": ledger_table(ledger, market.budgets, market.days),
        }
        tables["users"] = aggregate_users(tables["served"], tables["impressions"], names)
        loads = {name: self._load(name, served[name], experiment) for name in names}
        return Cell(tables, path_totals(worlds), loads)

    def _load(self, name: str, served: Served, rows: NDArray[np.int64]) -> ServerLoad:
        prepared = self._plan.prepared
        arm = serving_arm(prepared.config, name)
        candidates = prepared.requests.candidates.shape[1]
        return server_load(served, arm, ProfilePredictions(self._plan.profile, arm, candidates), rows)


def assigned_arms(prepared: Prepared) -> NDArray[np.int64]:
    """(R,) index of the arm each request belongs to; the pre-period is the control's (index 0)."""
    config = prepared.config
    split = {name: config.experiment.split[name] for name in config.arm_names}
    arm_of = assign(prepared.requests.user_id, config.salt, split, config.seed)
    return np.where(prepared.in_experiment, arm_of, 0)


def scorecard(plan: Plan, cell: Cell, name: str, extra: dict[str, Any]) -> dict[str, Any]:
    """The verdict on one cell."""
    config = plan.config
    question = Question(
        run=name,
        seed=config.seed,
        service_times=config.experiment.service_times,
        split={arm: config.experiment.split[arm] for arm in config.arm_names},
        control=config.experiment.control,
        primary=config.experiment.primary,
        level=config.experiment.level,
        extra={**extra, "serving": {arm: asdict(load) for arm, load in cell.loads.items()}},
    )
    tables = cell.tables
    return build_scorecard(question, tables["users"], tables["served"], tables["truth"], cell.paths)


def scorecard_extra(plan: Plan, results: Mapping[str, ArmResult]) -> dict[str, Any]:
    """Top-level scorecard entries beside the statistics."""
    models = {}
    for name in plan.config.arm_names:
        spec = arm_specs(plan.config, name)[0]
        models[name] = {"model": spec.key, **plan.trained[spec].metrics}
    # Lookups beyond what was measured got the edge of the grid: the reader should know.
    outside = {
        name: sum(result.notes.get("outside_profile", {}).values()) for name, result in results.items()
    }
    return {
        "profile_machine": machine_in_words(plan.profile),
        "models": models,
        "outside_profile": outside,
        "notes": remarks(plan.prepared),
    }


def machine_in_words(profile: ServiceProfile) -> str:
    """Whose service times these are, in words."""
    machine = profile.machine
    gpu = machine.gpu or "no GPU"
    return f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib:g} GiB, {gpu}; measured {profile.date}"
