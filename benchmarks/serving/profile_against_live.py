"""A profile's replay against live runs of the same experiment on the same machine, at a fixed arrival rate.

    python benchmarks/serving/profile_against_live.py [--device auto|cpu|cuda] [--runs 5] [--quick]

LastN + DIN-50 and SeqVault + LASER-300, weights at random, a budget of 20 ms; arrivals at 30, 60 and 80 %
of each arm's capacity as the profile has it, the same arrivals in every run and replay. The profile is
measured in as many parts as there are live runs of each arm and load, a part before every round of them: a
shared machine is a tenth slower for minutes, and a profile of a faster minute says nothing of a slower one.
It is measured in two ways whose visits alternate, and replayed in several, each suspect seen alone:

    repeated        a call again and again, each request with luck of its own (what profiles once were)
    + runs          the same samples, luck in runs as measured
    served          other work before each call, as in service; luck of its own
    served + runs   both: what `laser-ab profile` measures and a run replays
    + lanes         and a batch charged by the lanes that live scoring makes of it, not by its longest history
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.result import Measured, bar, options, show
from benchmarks.serving.quick_world import DEMO, Trained, weights
from laser.scoring.shapes import lanes
from simulator.arms.arm import Arm
from simulator.arms.cell import Cell as Experiment
from simulator.arms.clock import Clock
from simulator.arms.live import serve_live
from simulator.arms.plan import Plan, make_plan
from simulator.arms.profiling.machine import Cells, Grid, cells_of, profile_of
from simulator.config.load import load_config
from simulator.serving.capacity import capacity_rps, time_compression, unloaded_p95_s
from simulator.serving.fitness import smoothed
from simulator.serving.measure import Cell, measure
from simulator.serving.pipeline import Served, serve
from simulator.serving.profile import ServiceProfile
from simulator.serving.service_times import ProfileServiceTimes

SEED = 7
LOADS = (0.3, 0.6, 0.8)
BUDGET_S = 0.020  # or three times the unloaded P95, where a machine is too slow for that
SAMPLES = 100  # of each part
# How far a replay may lie from live, or as far as live runs lie from each other where that is more.
NEAR_P50, NEAR_P99, NEAR_DEGRADED = 0.05, 0.10, 0.02
Row = dict[str, Any]


class Lanes(ProfileServiceTimes):
    """Charges a batch by its lanes."""

    device = "cpu"

    def score_s(self, requests: Sequence[int], model: str, histories: Sequence[int]) -> float:
        """See `ServiceTimes`."""
        lengths = np.array(histories, np.int64)
        parts = lanes(lengths, self.candidates, self.device)
        return sum(
            super(Lanes, self).score_s([requests[i] for i in part], model, lengths[part].tolist())
            for part in parts
        )


class Machine:
    """The machine measured in both ways at once, part by part.

    Args:
        stack: keeps the stores open.
    """

    def __init__(self, plan: Plan, trained: Trained, folder: Path, quick: bool, stack: ExitStack) -> None:
        grid = Grid(SAMPLES, (plan.prepared.requests.candidates.shape[1],))
        if quick:
            grid = replace(grid, batches=(1, 8))
        self._plan = plan
        served = cells_of(plan, grid, lambda spec: trained[spec].open(), folder / "cells", stack)
        repeated = [_repeated(cell) for cell in served.cells]
        self._ways = {"served": served, "repeated": Cells(repeated, [], served.beyond)}
        self._cells = [*served.cells, *served.helpers, *repeated]
        self._parts = 0

    def measure(self, samples: int) -> None:
        """One more part."""
        measure(self._cells, samples, again=self._parts)
        self._parts += 1

    def profiles(self) -> dict[str, ServiceProfile]:
        """Of all parts so far."""
        return {way: smoothed(profile_of(self._plan, cells)) for way, cells in self._ways.items()}


def _repeated(cell: Cell) -> Cell:
    """The same call with nothing before it but, once, what it needs."""
    due = [cell.before]

    def before() -> None:
        while due:
            due.pop()()

    return Cell(cell.place, cell.point, before, cell.timed)


def replay(
    plan: Plan, arm: Arm, clock: Clock, profile: ServiceProfile, kind: type[ProfileServiceTimes]
) -> Served:
    """One arm's timing plane by a profile."""
    requests = plan.prepared.requests
    times = kind(profile, arm.serving, requests.candidates.shape[1], SEED, requests.request_id)
    return serve(clock.sim_arrival_s, plan.prepared.history_available, arm.serving, times, clock.budget_s)


def summary(served: Served) -> NDArray[np.float64]:
    """P50 and P99 in ms, and the share answered with less than the full history."""
    p50, p99 = np.quantile(served.latency_s, (0.5, 0.99)) * 1e3
    return np.array([p50, p99, float(np.mean(served.step > 0))])


def clocked(plan: Plan, arm: Arm, profile: ServiceProfile, load: float) -> Clock:
    """A load as an arrival rate: from the profile, once, for live runs and replays alike."""
    requests, available = plan.prepared.requests, plan.prepared.history_available
    sizes = arm.serving, profile, requests.candidates.shape[1], available
    rps, p95_s = capacity_rps(*sizes), unloaded_p95_s(*sizes)
    compression = time_compression(requests.arrival_s, load, rps)
    return Clock(requests.arrival_s, compression, p95_s, max(BUDGET_S, 3.0 * p95_s), {arm.name: rps})


def compared(plan: Plan, trained: Trained, folder: Path, runs: int, samples: int, quick: bool) -> list[Row]:
    """Live runs and replays, a row for each arm, load and way."""
    lives: dict[tuple[str, float], list[NDArray[np.float64]]] = {}
    with ExitStack() as stack:
        machine = Machine(plan, trained, folder, quick, stack)
        machine.measure(samples)
        first = machine.profiles()["served"]
        clocks = {(arm.name, load): clocked(plan, arm, first, load) for arm in plan.arms for load in LOADS}
        for run in range(runs):
            if run:
                machine.measure(samples)
            for arm in plan.arms:
                for load in LOADS:
                    experiment = Experiment(plan, trained, first, clocks[arm.name, load])
                    answered = serve_live(experiment, arm, folder / f"{arm.name}-{load}-{run}")[0]
                    lives.setdefault((arm.name, load), []).append(summary(answered))
        profiles = machine.profiles()
    served, repeated = profiles["served"], profiles["repeated"]
    ways: dict[str, tuple[ServiceProfile, type[ProfileServiceTimes]]] = {
        "repeated": (replace(repeated, order={}), ProfileServiceTimes),
        "repeated + runs": (repeated, ProfileServiceTimes),
        "served": (replace(served, order={}), ProfileServiceTimes),
        "served + runs": (served, ProfileServiceTimes),
        "served + runs + lanes": (served, Lanes),
    }
    rows: list[Row] = []
    for arm in plan.arms:
        for load in LOADS:
            clock, live = clocks[arm.name, load], np.array(lives[arm.name, load])
            head: Row = {"arm": arm.name, "load": load, "requests_per_s": load * clock.capacity_rps[arm.name]}
            rows.append(head | {"way": "live", **_named(np.median(live, axis=0)), "runs": live.tolist()})
            for way, (profile, kind) in ways.items():
                found = summary(replay(plan, arm, clock, profile, kind))
                rows.append(head | {"way": way, **_named(found), "outside": _outside(found, live)})
    return rows


def _named(values: NDArray[np.float64]) -> Row:
    return dict(zip(("p50_ms", "p99_ms", "degraded_share"), map(float, values), strict=True))


def _outside(found: NDArray[np.float64], live: NDArray[np.float64]) -> list[str]:
    """Which of the three lie further from live's median than they may."""
    middle, spread = np.median(live, axis=0), np.ptp(live, axis=0)
    may = np.maximum([NEAR_P50 * middle[0], NEAR_P99 * middle[1], NEAR_DEGRADED], spread)
    names = ("p50", "p99", "degraded")
    return [
        name for name, apart, most in zip(names, np.abs(found - middle), may, strict=True) if apart > most
    ]


def measure_all(args: argparse.Namespace) -> Measured:
    """The experiment on the device."""
    sizes = (120, 300, 40) if args.quick else (600, args.requests, 300)
    settings = [
        f"traffic.world.users={sizes[0]}",
        f"traffic.world.requests={sizes[1]}",
        f"traffic.world.history_max={sizes[2]}",
        f"arms.treatment.history={sizes[2]}",
        f"experiment.device={args.device}",
    ]
    plan = make_plan(load_config(DEMO, settings, environment={}), profiled=False)
    Lanes.device = plan.device.partition(":")[0]
    with tempfile.TemporaryDirectory(prefix="laser-ab-against-") as name:
        folder = Path(name)
        trained = weights(plan, folder)
        rows = compared(plan, trained, folder, 2 if args.quick else args.runs, args.samples, args.quick)
    adopted = [row for row in rows if row["way"] == "served + runs"]
    bars = [
        bar(f"profile_{name}", float(sum(name in row["outside"] for row in adopted)), 0.0, better="lower")
        for name in ("p50", "p99", "degraded")
    ]
    return rows, bars


def command() -> int:
    """Parse, measure, print."""
    parser = options(__doc__)
    parser.add_argument("--device", default="auto", help="where requests are scored")
    parser.add_argument("--runs", type=int, default=5, help="live runs of each arm and load")
    parser.add_argument(
        "--samples", type=int, default=SAMPLES, help="of each cell, in each part of the profile"
    )
    parser.add_argument("--requests", type=int, default=2500, help="of the trace")
    args = parser.parse_args()
    show("profile_against_live", SEED, args, measure_all(args))
    return 0


if __name__ == "__main__":
    sys.exit(command())
