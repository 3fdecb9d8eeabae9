"""From the served arms to a verdict: the market's worlds, the result tables and the scorecard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.analysis.aggregate import aggregate_users
from simulator.analysis.scorecard import Question, build_scorecard
from simulator.arms.arm import Arm
from simulator.arms.cell import Cell
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
from simulator.serving.bottleneck import server_load
from simulator.serving.profile import ServiceProfile
from simulator.serving.service_times import ProfilePredictions


@dataclass(frozen=True)
class Outcome:
    """What an experiment came to.

    Attributes:
        tables: the result tables, by name.
        paths: by arm, the truth's totals on each path of clicks.
        arms: by arm, what its scorecard entry says beside the statistics: its model, how busy its servers
            were in the experiment's period, and how many service times lay outside what was measured.
    """

    tables: dict[str, Columns]
    paths: dict[str, Columns]
    arms: dict[str, dict[str, Any]]


def judge(cell: Cell, results: Sequence[ArmResult]) -> Outcome:
    """Run the market's worlds on what the arms showed.

    Args:
        cell: the experiment.
        results: every arm's, in the arms' order.
    """
    plan = cell.plan
    prepared, names = plan.prepared, plan.config.arm_names
    arms = list(zip(plan.arms, results, strict=True))
    pctr = [calibrated(arm, result.logits, cell.trained) for arm, result in arms]
    pages = [answers(prepared, one.served, of_arm) for one, of_arm in zip(results, pctr, strict=True)]
    market, arm_of = Market(plan, pctr[0][0]), assigned_arms(plan)
    experiment = np.flatnonzero(prepared.in_experiment)
    ab = market.experiment(mix(arm_of, pages))
    worlds = {name: market.expected(shown) for name, shown in zip(names, pages, strict=True)}
    parts: list[tuple[NDArray[Any], Auctions]] = [(experiment, ab)]
    if len(experiment) < len(prepared.requests):
        before = np.flatnonzero(~prepared.in_experiment)
        parts.insert(0, (before, market.pre_period(pages[0])))
    ledger = {"ab": ab} | {f"all:{name}": paths[0] for name, paths in worlds.items()}
    tables = {
        "served": served_columns(prepared, [(arm, result.served) for arm, result in arms], arm_of),
        "impressions": impressions_table(prepared, parts, arm_of, names),
        "truth": truth_table(prepared, worlds),
        "ledger": ledger_table(ledger, market.budgets, market.days),
    }
    tables["users"] = aggregate_users(tables["served"], tables["impressions"], names)
    beside = {arm.name: _beside(cell, arm, result, experiment) for arm, result in arms}
    return Outcome(tables, path_totals(worlds), beside)


def _beside(cell: Cell, arm: Arm, result: ArmResult, rows: NDArray[np.int64]) -> dict[str, Any]:
    """What the scorecard says of an arm beside the statistics."""
    model = cell.trained[arm.main]
    candidates = cell.plan.prepared.requests.candidates.shape[1]
    predictions = ProfilePredictions(cell.profile, arm.serving, candidates)
    return {
        "model": {"model": model.spec.key, **model.metrics},
        "serving": asdict(server_load(result.served, arm.serving, predictions, rows)),
        # Lookups beyond what was measured got the edge of the grid: the reader should know.
        "outside_profile": sum(result.notes.get("outside_profile", {}).values()),
    }


def assigned_arms(plan: Plan) -> NDArray[np.int64]:
    """(R,) index of the arm each request belongs to; the pre-period is the control's (index 0)."""
    config, prepared = plan.config, plan.prepared
    split = {arm.name: config.experiment.split[arm.name] for arm in plan.arms}
    arm_of = assign(prepared.requests.user_id, config.salt, split, config.seed)
    return np.where(prepared.in_experiment, arm_of, 0)


def scorecard(cell: Cell, outcome: Outcome, name: str) -> dict[str, Any]:
    """The verdict on one cell; `name` is what the scorecard calls the run."""
    plan, config, budget_s = cell.plan, cell.plan.config, cell.clock.budget_s
    question = Question(
        run=name,
        seed=config.seed,
        service_times=config.experiment.service_times,
        split={arm.name: config.experiment.split[arm.name] for arm in plan.arms},
        control=plan.control.name,
        primary=config.experiment.primary,
        level=config.experiment.level,
        extra={
            "budget_ms": None if budget_s is None else budget_s * 1000.0,
            "profile_machine": machine_in_words(cell.profile),
            "notes": remarks(plan),
        },
        arm_extra=outcome.arms,
    )
    tables = outcome.tables
    return build_scorecard(question, tables["users"], tables["served"], tables["truth"], outcome.paths)


def machine_in_words(profile: ServiceProfile) -> str:
    """Whose service times these are, in words."""
    machine = profile.machine
    gpu = machine.gpu or "no GPU"
    return f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib:g} GiB, {gpu}; measured {profile.date}"
