"""Through which channels an effect comes: model, history, latency, prices, budgets. Start at `channels`.

The effect is the true one: a treatment serving everybody against control serving everybody, as a logarithm,
so that parts add. Three channels are what the treatment is, and are switched from control's to its own:

    model     control's model, or the treatment's (with its width, options, training, light model)
    history   as many behaviours as control reads, or as the treatment
    serving   when each request is answered, by which step of the ladder, and which are late

Two are what the market makes of it, and are switched off and on for both arms:

    prices    a click costs the own bid, which no prediction moves, or what `market.pricing` says
    budgets   nobody has one, or the file's

All worlds meet the same requests and draws. With both market channels off and none of the others switched the
effect is 0 by construction; with all on it is the run's own true lift.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.analysis.truth import OUTCOME_COLUMNS
from simulator.arms.cell import Cell
from simulator.arms.plan import Plan, make_plan
from simulator.config.load import changed
from simulator.execution.progress import Progress, Silent
from simulator.experiment.answers import ArmAnswers
from simulator.experiment.evidence import truth_by_user
from simulator.experiment.outcomes import Market
from simulator.metrics import OUTCOMES, RATIOS, Ratio
from simulator.whatif.hybrids import Hybrids
from simulator.whatif.shapley import Coalition, coalitions, in_order, shapley

F8 = NDArray[np.float64]
OF_ARMS = ("model", "history", "serving")
OF_MARKET = ("prices", "budgets")
CHANNELS = (*OF_ARMS, *OF_MARKET)
_OFF: dict[str, dict[str, Any]] = {
    "prices": {"market.pricing": "first"},
    "budgets": {"market.budgets": "unlimited"},
}


@dataclass(frozen=True)
class Part:
    """What a channel adds to an effect.

    Attributes:
        log_lift: to the logarithm of the treatment's value over control's.
        se: its standard error over users of the world.
    """

    log_lift: float
    se: float


@dataclass(frozen=True)
class Channels:
    """A metric's true effect, taken apart.

    Attributes:
        metric: its name.
        whole: the effect itself; of its parts the sum.
        parts: by channel.
    """

    metric: str
    whole: Part
    parts: Mapping[str, Part]

    @property
    def lift(self) -> float:
        """The whole as a lift."""
        return math.expm1(self.whole.log_lift)


def channels(
    cell: Cell,
    hybrids: Hybrids,
    *,
    paths: int,
    order: Sequence[str] | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> list[Channels]:
    """Take an experiment's true effects apart.

    Args:
        cell: the experiment.
        hybrids: of its control and a treatment.
        paths: of clicks that every world is the mean of, where budgets are limited.
        order: in which channels are switched on, one after the other; None for the mean over every order.
        jobs: threads.
        progress: notified of the worlds that were simulated.

    Returns:
        Of each ratio metric that both arms have in every world.
    """
    progress = progress or Silent()
    answers = {
        arms: hybrids.answers(**{name: name in arms for name in OF_ARMS}) for arms in coalitions(OF_ARMS)
    }
    full = partial(answers[frozenset()].of_step, 0)
    logs: dict[Coalition, Mapping[Coalition, dict[str, F8]]] = {}
    for done, market in enumerate(markets := coalitions(OF_MARKET)):
        progress.stage("worlds", done, len(markets))
        logs[market] = _worlds(_with(cell.plan, market), full, answers, paths, jobs)
    progress.stage("worlds", len(markets), len(markets))
    found = []
    for metric in RATIOS:
        if all(metric.name in of_arms for of_market in logs.values() for of_arms in of_market.values()):
            effects = {
                arms | market: logs[market][arms][metric.name] - logs[market][frozenset()][metric.name]
                for arms in coalitions(OF_ARMS)
                for market in coalitions(OF_MARKET)
            }
            parts = shapley(CHANNELS, effects) if order is None else in_order(order, effects)
            whole = effects[frozenset(CHANNELS)]
            found.append(Channels(metric.name, _part(whole), {name: _part(parts[name]) for name in CHANNELS}))
    return found


def _with(plan: Plan, on: Coalition) -> Plan:
    """The experiment with these of the market's channels on."""
    off: dict[str, Any] = {}
    for name in OF_MARKET:
        off |= {} if name in on else _OFF[name]
    return make_plan(changed(plan.config, off, "channel"), like=plan)


def _worlds(
    plan: Plan,
    full: Callable[[NDArray[np.int64]], F8],
    answers: Mapping[Coalition, ArmAnswers],
    paths: int,
    jobs: int,
) -> dict[Coalition, dict[str, F8]]:
    """Of each arm's world, by metric: its logarithm, and what each user adds to that."""
    market = Market(plan, full, jobs)
    named = {",".join(sorted(arms)): arms for arms in answers}
    worlds = market.truth(
        {name: answers[arms] for name, arms in named.items()},
        lambda totals: min(len(next(iter(one.values()))) for one in totals.values()) >= paths,
    )
    by_user = truth_by_user(market, worlds)
    return {arms: _logs(by_user[name]) for name, arms in named.items()}


def _logs(world: Mapping[str, Any]) -> dict[str, F8]:
    """By metric (1 + U,): the logarithm, then the influence of each of U users on it."""
    totals = {name: np.asarray(world[column]) for name, column in zip(OUTCOMES, OUTCOME_COLUMNS, strict=True)}
    totals["requests"] = np.asarray(world["requests"], np.float64)
    found = {}
    for metric in RATIOS:
        top, below = totals[metric.top], totals[metric.below]
        if top.sum() > 0 and below.sum() > 0:
            found[metric.name] = np.concatenate(
                [[_log(metric, totals)], top / top.sum() - below / below.sum()]
            )
    return found


def _log(metric: Ratio, totals: Mapping[str, F8]) -> float:
    return math.log(totals[metric.top].sum()) - math.log(totals[metric.below].sum())


def _part(effect: F8) -> Part:
    influence = effect[1:]
    n = len(influence)
    se = math.sqrt(float(influence @ influence) * n / (n - 1)) if n > 1 else math.nan
    return Part(float(effect[0]), se)
