"""The timing plane: how fast, how it takes bursts, and what its policies answer in time.

    python benchmarks/simulation/timing.py [--quick] [--json] [--out FILE]

Speed: the cpu profile's LASER arm at load .6, both engines at the same load in the same run, for each
policy; the bar `timing_speedup` is the ratio under the default policy, `timing_speedup_least` the least of
the three. Beside them SimPy alone with an M/M/4 queue (a turn and a timeout for each customer, nothing
else), and Ciw on the same queue where it is installed.

Bursts: all requests at once, 10^5 and 10^6, by SimPy 10^4 and 10^5 (--quick: a tenth); `burst_growth` is the
most that the seconds of a request grow from the smaller burst to the larger.

Policies: both shipped profiles, three arms, loads .3 to 1.1 of the arm's own capacity, Poisson arrivals,
log-normal histories (median 500), 32 candidates, budget twice the arm's own unloaded P95. For each policy the
shares answered in time at full history and with any model, and late. Regret is against the policy that in
hindsight answered most in time at full history; `goodput_least` is goodput's least lead over first come first
served, in full answers.
"""

import time
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import simpy

from benchmarks.result import Measured, bar, main
from simulator.config.settings import PROFILES, Engine
from simulator.serving.arm import POLICIES, ServingArm, build_ladder
from simulator.serving.capacity import capacity_rps, unloaded_p95_s
from simulator.serving.pipeline import serve
from simulator.serving.profile import ServiceProfile, load
from simulator.serving.service_times import ProfileServiceTimes

SEED = 7
CANDIDATES = 32
LOADS = (0.3, 0.6, 0.8, 1.1)
ENGINES: tuple[Engine, ...] = ("simpy", "compiled")
# Name, model, history, store, scorers.
ARMS: tuple[tuple[str, str, int, str, int], ...] = (
    ("DIN-50", "din/16", 50, "lastn/chunks", 1),
    ("LASER-1000", "laser/16", 1000, "seqvault", 1),
    ("LASER-1000, 2 scorers", "laser/16", 1000, "seqvault", 2),
)


def arm_of(model: str, history: int, store: str, scorers: int) -> ServingArm:
    """An arm with the usual ladder."""
    return ServingArm("arm", store, build_ladder(model, history, "din/16", 50), 2 * scorers, scorers, 8)


class Trace:
    """Poisson arrivals at a share of an arm's capacity."""

    def __init__(self, arm: ServingArm, profile: ServiceProfile, load: float, count: int) -> None:
        rng = np.random.default_rng(1)
        self.arm, self.profile, self.count = arm, profile, count
        self.available = np.minimum(rng.lognormal(np.log(500), 0.8, count).astype(np.int64) + 20, 5000)
        rate = load * capacity_rps(arm, profile, CANDIDATES, self.available)
        self.budget_s = 2.0 * unloaded_p95_s(arm, profile, CANDIDATES, self.available)
        self.arrivals = np.cumsum(rng.exponential(1.0 / rate, count))

    def served(self, policy: Any, engine: Engine = "compiled") -> Any:
        """The trace served by a policy."""
        arm = replace(self.arm, policy=policy)
        ids = np.arange(self.count, dtype=np.uint64)
        times = ProfileServiceTimes(self.profile, arm, CANDIDATES, SEED, ids)
        return serve(self.arrivals, self.available, arm, times, self.budget_s, engine)


def cpu_s(work: Any) -> float:
    """CPU seconds of a call."""
    start_s = time.process_time()
    work()
    return time.process_time() - start_s


def speed(quick: bool) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Requests per CPU second by engine and policy, and the ratios."""
    counts = {"simpy": 1_000 if quick else 5_000, "compiled": 20_000 if quick else 200_000}
    profile, arm = load(PROFILES / "cpu.json"), arm_of(*ARMS[1][1:])
    traces = {engine: Trace(arm, profile, 0.6, counts[engine]) for engine in ENGINES}
    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    for policy in POLICIES:
        rates: dict[str, float] = {}
        for engine in ENGINES:
            traces[engine].served(policy, "compiled")  # compiled and loaded before the clock starts
            rounds = 1 if engine == "simpy" else 3
            spent_s = min(cpu_s(partial(traces[engine].served, policy, engine)) for _ in range(rounds))
            rates[engine] = counts[engine] / spent_s
            what = {"part": "speed", "engine": engine, "policy": policy, "requests": counts[engine]}
            rows.append({**what, "requests_per_cpu_s": rates[engine]})
        ratios[policy] = rates["compiled"] / rates["simpy"]
    return rows, ratios


def bare_queues(quick: bool) -> list[dict[str, Any]]:
    """M/M/4 at load .8 with nothing but the library's own queue."""
    count = 5_000 if quick else 20_000
    rows = [
        {"part": "bare", "library": "SimPy", "requests_per_cpu_s": count / cpu_s(lambda: _bare_simpy(count))}
    ]
    if find_spec("ciw") is None:
        return [
            *rows,
            {"part": "bare", "library": "Ciw", "requests_per_cpu_s": None, "note": "not installed"},
        ]
    return [
        *rows,
        {"part": "bare", "library": "Ciw", "requests_per_cpu_s": count / cpu_s(lambda: _bare_ciw(count))},
    ]


def _bare_simpy(count: int) -> None:
    rng = np.random.default_rng(1)
    gaps, work = rng.exponential(1 / 3.2, count).tolist(), rng.exponential(1.0, count).tolist()
    env = simpy.Environment()
    servers = simpy.Resource(env, 4)

    def customer(seconds: float) -> Any:
        with servers.request() as turn:
            yield turn
            yield env.timeout(seconds)

    def arrive() -> Any:
        for gap, seconds in zip(gaps, work, strict=True):
            yield env.timeout(gap)
            env.process(customer(seconds))

    env.process(arrive())
    env.run()


def _bare_ciw(count: int) -> None:
    import ciw  # type: ignore[import-not-found,unused-ignore]

    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(3.2)],
        service_distributions=[ciw.dists.Exponential(1.0)],
        number_of_servers=[4],
    )
    ciw.seed(1)
    ciw.Simulation(network).simulate_until_max_customers(count, method="Finish")


def bursts(quick: bool) -> tuple[list[dict[str, Any]], float]:
    """Everything at once, and the most that a request's seconds grow from the smaller burst to the larger."""
    sizes = {"simpy": (10_000, 100_000), "compiled": (100_000, 1_000_000)}
    profile, arm = load(PROFILES / "cpu.json"), arm_of(*ARMS[1][1:])
    rows, growths = [], []
    for engine in ENGINES:
        for policy in POLICIES:
            each: list[float] = []
            for count in sizes[engine]:
                trace = Trace(arm, profile, 1.0, count // 10 if quick else count)
                trace.arrivals[:] = 0.0
                each.append(cpu_s(partial(trace.served, policy, engine)) / trace.count)
                what = {"part": "burst", "engine": engine, "policy": policy, "requests": trace.count}
                rows.append({**what, "cpu_us_per_request": 1e6 * each[-1]})
            growths.append(each[-1] / each[0])
    return rows, max(growths)


def policies(quick: bool) -> tuple[list[dict[str, Any]], float, float]:
    """What each policy answers, goodput's least lead over fifo, and its greatest regret."""
    rows, leads, regrets = [], [], []
    for name in ("cpu", "h200", "h100"):
        profile = load(PROFILES / f"{name}.json")
        for title, model, history, store, scorers in ARMS:
            for share in LOADS:
                trace = Trace(
                    arm_of(model, history, store, scorers), profile, share, 5_000 if quick else 20_000
                )
                found = {
                    policy: _answers(trace.served(policy), len(trace.arm.steps) - 1) for policy in POLICIES
                }
                full = {policy: answers["full_in_time"] for policy, answers in found.items()}
                leads.append(full["goodput"] - full["fifo"])
                regrets.append(max(full.values()) - full["goodput"])
                for policy, answers in found.items():
                    what = {
                        "part": "policies",
                        "profile": name,
                        "arm": title,
                        "load": share,
                        "policy": policy,
                    }
                    rows.append({**what, **answers, "regret": max(full.values()) - full[policy]})
    return rows, min(leads), max(regrets)


def _answers(served: Any, prior: int) -> dict[str, float]:
    batches = served.batch[served.batch > 0]
    return {
        "full_in_time": float(served.full_history.mean()),
        "any_in_time": float(((served.step < prior) & ~served.missed).mean()),
        "late": float(served.missed.mean()),
        "batch": float(len(batches) / (1.0 / batches).sum()) if len(batches) else 0.0,
    }


def measure(quick: bool) -> Measured:
    """All parts."""
    fast, ratios = speed(quick)
    burst, growth = bursts(quick)
    answered, lead, regret = policies(quick)
    bars = [
        bar("timing_speedup", ratios["goodput"], 10.0, 30.0),
        bar("timing_speedup_least", min(ratios.values()), 10.0),
        bar("burst_growth", growth, 1.5, 1.2, "lower"),
        bar("goodput_least", lead, -0.005, 0.0),
        bar("goodput_regret", regret, 0.05, 0.02, "lower"),
    ]
    return [*fast, *bare_queues(quick), *burst, *answered], bars


if __name__ == "__main__":
    main("timing", __doc__, SEED, measure)
