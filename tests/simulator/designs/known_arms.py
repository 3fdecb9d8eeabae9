"""A market of known arms, where nothing is trained: control ranks by the prior, treatment by the truth."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import cache

import numpy as np
from small_runs import EXAMPLES

from simulator.arms.plan import Plan, make_plan
from simulator.config.load import load_config
from simulator.designs.compare import Bench
from simulator.experiment.outcomes import Market, Play
from simulator.inputs.prepare import Prepared

WORLD = (
    "traffic.world.users=700",
    "traffic.world.requests=12000",
    "traffic.world.history_max=30",
    "arms.treatment.history=30",
    "traffic.world.advertisers=10",
    "traffic.world.ads=1000",
    "traffic.world.bA=1.2",  # what treatment knows and control does not
    "experiment.days=6",
)


@dataclass(frozen=True)
class Prior:
    """Every candidate by its ad's click-through rate."""

    prepared: Prepared

    @property
    def response_s(self) -> np.ndarray:
        return self.prepared.requests.arrival_s

    def pctr(self, rows: np.ndarray) -> np.ndarray:
        return self.prepared.prior_ctr[self.prepared.requests.candidates[rows].astype(np.int64)]

    def by_arm(self, rows: np.ndarray) -> None:
        return None


class Oracle(Prior):
    """Every candidate by its true probability."""

    def pctr(self, rows: np.ndarray) -> np.ndarray:
        return self.prepared.truth.of(rows)[0][:, :, 0]


@cache
def plan() -> Plan:
    return make_plan(load_config(EXAMPLES / "demo.toml", WORLD, environment={}), profiled=False)


@cache
def market() -> tuple[Market, np.ndarray]:
    """And what advertisers would pay every day with control everywhere, if no budget ended."""
    prepared = plan().prepared
    made = Market(plan(), Prior(prepared).pctr)
    free = np.full(made.budgets.shape, np.inf)
    (played,) = made.play([Play(made.experiment, Prior(prepared), made.seed, free)])
    return made, played.ledger.spend


def bench(share: float = np.inf, *, same: bool = False) -> Bench:
    """Where daily budgets are a share of that, and the arms are the same or not."""
    made, spend = market()
    own = copy(made)
    own.budgets = share * np.maximum(spend, spend.mean() / 10)
    prepared = plan().prepared
    return Bench(
        own, ("control", "treatment"), Prior(prepared), (Prior if same else Oracle)(prepared), salt="7"
    )
