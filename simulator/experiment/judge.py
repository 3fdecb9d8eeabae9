"""From the served arms to a verdict: the market's worlds, the result tables and the scorecard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.analysis.aggregate import aggregate_users
from simulator.analysis.guardrails import Guardrails
from simulator.analysis.health.checks import find_fault
from simulator.analysis.health.logs import Logs, logs_of
from simulator.analysis.question import Question
from simulator.analysis.scorecard import Sample, scorecard_of
from simulator.arms.arm import Arm
from simulator.arms.cell import Cell
from simulator.arms.plan import Plan
from simulator.arms.serve import ArmResult
from simulator.arms.summary_times import served_profile
from simulator.assignment import assign
from simulator.experiment.answers import F8, ArmAnswers, MixedAnswers
from simulator.experiment.evidence import (
    answered_requests,
    assigned_requests,
    impressions,
    served_requests,
    truth_by_user,
)
from simulator.experiment.money import money_note
from simulator.experiment.outcomes import Market, PrePeriod
from simulator.experiment.precision import Precision
from simulator.experiment.remarks import remarks
from simulator.experiment.shortlists import Shortlists
from simulator.experiment.tables import (
    Columns,
    impressions_parts,
    ledger_table,
    served_parts,
    truth_parts,
)
from simulator.results.schemas import ROW_GROUP_ROWS
from simulator.serving.bottleneck import server_load
from simulator.serving.predictions import ProfilePredictions
from simulator.serving.profile import ServiceProfile
from simulator.traffic.trace import PRE


@dataclass(frozen=True)
class Outcome:
    """What an experiment came to.

    Attributes:
        tables: the result tables by name, each as the parts that it is made in when it is asked for.
        users: the users table.
        served, truth: by arm, what the analysis reads of its requests and of its world; see `Sample`.
        paths: by arm, the truth's totals on each path of clicks.
        money: what the market is said to have been like, see `simulator.experiment.money`.
        truth_note: how many paths those are, and how exact the truth is beside the A/B.
        arms: by arm, what its scorecard entry says beside the statistics: its model, how busy its servers
            were in the experiment's period, and how many service times lay outside what was measured.
    """

    tables: dict[str, Callable[[], Iterable[Columns]]]
    users: Columns
    served: Mapping[str, Mapping[str, Any]]
    truth: Mapping[str, Mapping[str, Any]]
    paths: Mapping[str, Mapping[str, F8]]
    truth_note: dict[str, Any]
    money: dict[str, Any]
    arms: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Kept:
    """What judging one cell leaves for another one of the same world, arms and scores.

    Attributes:
        short: by arm, its short pages; see `ArmAnswers`.
        before: see `Market`.
    """

    short: Mapping[str, dict[bool, Shortlists]]
    before: PrePeriod = field(default_factory=dict)


def judge(
    cell: Cell,
    results: Sequence[ArmResult],
    jobs: int = 1,
    folder: Path | None = None,
    known: Kept | None = None,
) -> Outcome:
    """Run the market's worlds on what the arms showed.

    Args:
        cell: the experiment.
        results: every arm's, in the arms' order.
        jobs: threads.
        folder: for temporary files; the system's by default.
        known: what judging another cell left; what is found now is put there.
    """
    plan, known = cell.plan, known or Kept({arm.name: {} for arm in cell.plan.arms})
    prepared, names = plan.prepared, plan.config.arm_names
    arms = list(zip(plan.arms, results, strict=True))
    pages = {
        arm.name: ArmAnswers.of(prepared, arm, result, cell.trained, known.short[arm.name])
        for arm, result in arms
    }
    control, arm_of = pages[plan.control.name], assigned_arms(plan)
    market = Market(plan, partial(control.of_step, 0), jobs, folder, known.before)
    shown, ledger = market.as_assigned(MixedAnswers(arm_of, list(pages.values())), control)
    served = {arm.name: result.served for arm, result in arms}
    seen = impressions(prepared, shown, market.book.tcpa)
    users = aggregate_users(assigned_requests(prepared, served, arm_of), seen, names)
    prepared.let_go()
    precision = Precision.of(users, plan)
    worlds = market.truth(pages, precision.enough)
    paths = {name: world.path_totals for name, world in worlds.items()}
    shown_again = impressions(prepared, shown, market.book.tcpa)
    health = _health(plan, logs_of(answered_requests(prepared, served, arm_of), shown_again))
    prepared.let_go()
    ledgers = {"ab": ledger} | {f"all:{name}": world.ledger for name, world in worlds.items()}
    return Outcome(
        {
            "served": partial(served_parts, prepared, [(arm, result.served) for arm, result in arms], arm_of),
            "impressions": partial(impressions_parts, market, shown, arm_of, names),
            "truth": partial(truth_parts, market, worlds),
            "users": lambda: [users],
            "ledger": lambda: [ledger_table(ledgers, market.budgets, market.days)],
        },
        users,
        served_requests(prepared, served, arm_of),
        truth_by_user(market, worlds),
        paths,
        precision.note(paths),
        money_note(market, ledgers, shown),
        {
            arm.name: _beside(cell, arm, result, market.experiment) | health.get(arm.name, {})
            for arm, result in arms
        },
    )


def _health(plan: Plan, logs: Logs) -> dict[str, dict[str, Any]]:
    """By treatment, "fault": what is wrong with its logs or control's; None where they look sound."""
    config, names = plan.config, [arm.name for arm in plan.treatments]
    split = {arm.name: config.experiment.split[arm.name] for arm in plan.arms}
    arm_of = assign(logs.user_id, config.salt, split, config.seed)
    own = {name: logs.of(arm_of == index) for index, name in enumerate(split)}
    control, found = plan.control.name, {}
    for name in names:
        share = split[name] / (split[control] + split[name])
        fault = find_fault(own[control], own[name], share, (control, name), len(names))
        found[name] = {"fault": None if fault is None else asdict(fault)}
    return found


def _beside(cell: Cell, arm: Arm, result: ArmResult, rows: NDArray[np.int64]) -> dict[str, Any]:
    """What the scorecard says of an arm beside the statistics."""
    model = cell.trained[arm.main]
    candidates = cell.plan.prepared.requests.candidates.shape[1]
    profile = served_profile(cell.plan, arm, cell.profile)
    predictions = ProfilePredictions(profile, arm.serving, candidates, extrapolate=True)
    found = {
        "model": {"model": model.spec.key, **model.metrics},
        "serving": asdict(server_load(result.served, arm.serving, predictions, rows)),
        "own_model_share": _own_share(arm, result, rows),
        # Lookups beyond what was measured got the edge of the grid: the reader should know.
        "outside_profile": sum(result.notes.get("outside_profile", {}).values()),
    }
    result.served.let_go()
    return found


def _own_share(arm: Arm, result: ArmResult, rows: NDArray[np.int64]) -> float | None:
    """The share of the experiment's requests that the arm's own model answered in time."""
    own = np.array([step.model == arm.serving.full.model for step in arm.ladder])
    served = result.served
    return float((own[served.step[rows]] & ~served.missed[rows]).mean()) if len(rows) else None


def assigned_arms(plan: Plan) -> NDArray[np.int8]:
    """(R,) index of the arm each request belongs to; the pre-period is the control's (index 0)."""
    config, prepared = plan.config, plan.prepared
    split = {arm.name: config.experiment.split[arm.name] for arm in plan.arms}
    requests = prepared.requests
    arm_of = np.zeros(len(requests), np.int8)
    for first in range(0, len(requests), ROW_GROUP_ROWS):
        rows = slice(first, first + ROW_GROUP_ROWS)
        own = assign(requests.user_id[rows], config.salt, split, config.seed)
        arm_of[rows] = np.where(requests.period[rows] == PRE, 0, own)
    prepared.let_go()
    return arm_of


def scorecard(cell: Cell, outcome: Outcome, name: str) -> dict[str, Any]:
    """The verdict on one cell; `name` is what the scorecard calls the run."""
    return scorecard_of(sample(cell, outcome, name))


def sample(cell: Cell, outcome: Outcome, name: str) -> Sample:
    """What one cell left behind, as the scorecard reads it; `name` is what that calls the run."""
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
            "truth": outcome.truth_note,
            "market": outcome.money,
            "notes": remarks(plan),
        },
        arm_extra=outcome.arms,
        guardrails=Guardrails(
            limits=config.guardrails.limits(None if budget_s is None else budget_s * 1000.0),
            margins=config.guardrails.margins(),
        ),
        days=float(len(np.unique(plan.prepared.requests.day[plan.prepared.in_experiment]))),
        winsorise=config.experiment.winsorise,
        sequential=config.experiment.sequential,
    )
    return Sample(question, outcome.users, outcome.served, outcome.truth, outcome.paths)


def machine_in_words(profile: ServiceProfile) -> str:
    """Whose service times these are, in words."""
    machine = profile.machine
    gpu = machine.gpu or "no GPU"
    return f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib:g} GiB, {gpu}; measured {profile.date}"
