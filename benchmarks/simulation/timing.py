"""The timing plane: how fast, how it takes bursts, and what its policies answer in time.

    python benchmarks/simulation/timing.py [--quick] [--json] [--out FILE]

Speed: the cpu profile's LASER arm at load .6, both engines at the same load in the same run, for each
policy; the bar `timing_speedup` is the ratio under the default policy, `timing_speedup_least` the least of
the three.

Queue: M/M/4 at load .8 by this plane's engines, by SimPy alone (a turn and a timeout for each customer,
nothing else) and by Ciw (the extra `bench`), requests per CPU second and the mean wait against Erlang C's.
The first three serve the same customers; `queue_apart` is the largest difference of a wait, in mean service
times.

Bursts: all requests at once, 10^5 and 10^6, by SimPy 10^4 and 10^5 (--quick: a tenth); `burst_growth` is the
most that the seconds of a request grow from the smaller burst to the larger.

Policies: both shipped profiles, three arms, loads .3 to 1.1 of the arm's own capacity, Poisson arrivals,
log-normal histories (median 500), 32 candidates, budget twice the arm's own unloaded P95. For each policy the
shares answered in time at full history and with any model, and late. Regret is against the policy that in
hindsight answered most in time at full history; `goodput_least` is goodput's least lead over first come first
served, in full answers.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray
from scipy import stats

from benchmarks.result import Measured, bar, main
from simulator.certificate.queues import WARM_UP, Queue, serve_queue, theory
from simulator.config.settings import PROFILES, Engine
from simulator.serving.arm import POLICIES, ServingArm, build_ladder
from simulator.serving.capacity import capacity_rps, unloaded_p95_s
from simulator.serving.pipeline import serve
from simulator.serving.profile import ServiceProfile, load
from simulator.serving.service_times import ProfileServiceTimes

F8 = NDArray[np.float64]
SEED = 7
CANDIDATES = 32
QUEUE, RUNS = Queue(servers=4, load=3.2), 5
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


def queues(quick: bool) -> tuple[list[dict[str, Any]], float]:
    """M/M/4 at load .8, first come first served: this plane by both engines, SimPy alone, and Ciw.

    Returns:
        A row for each, with the mean wait against Erlang C, and how far the engines' waits are at most from
        those of SimPy alone, in mean service times.
    """
    count = 4_000 if quick else 20_000
    programs: dict[str, Callable[[int], F8]] = {
        "this plane, compiled": lambda seed: _own(count, seed, "compiled"),
        "this plane, SimPy": lambda seed: _own(count, seed, "simpy"),
        "SimPy alone": lambda seed: _bare_simpy(*_customers(count, seed)),
        "Ciw": lambda seed: _bare_ciw(count, seed),
    }
    rows: list[dict[str, Any]] = []
    first: dict[str, F8] = {}
    for name, waits in programs.items():
        what = {"part": "queue", "queue": "M/M/4, load 0.8", "program": name}
        if name == "Ciw" and find_spec("ciw") is None:
            rows.append({**what, "requests_per_cpu_s": None, "note": "not installed: the extra `bench`"})
            continue
        waits(SEED)  # loads and compiles
        start_s = time.process_time()
        runs = [waits(SEED + i) for i in range(RUNS)]
        rate = RUNS * count / (time.process_time() - start_s)
        first[name] = runs[0]
        means = [float(run[int(WARM_UP * count) :].mean()) for run in runs]
        half = float(stats.t.ppf(0.995, RUNS - 1) * stats.sem(means))
        found = {"mean_wait": float(np.mean(means)), "half_99": half, "erlang_c": theory(QUEUE)["mean wait"]}
        rows.append({**what, "requests_per_cpu_s": rate, **found})
    bare = first.pop("SimPy alone")
    apart = max(float(np.abs(first[name] - bare).max()) for name in first if name != "Ciw")
    return rows, apart


def _customers(count: int, seed: int) -> tuple[F8, F8]:
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.exponential(1.0 / QUEUE.load, count)), rng.exponential(1.0, count)


def _own(count: int, seed: int, engine: Engine) -> F8:
    served = serve_queue(QUEUE, *_customers(count, seed), engine)
    waits: F8 = served.score_start_s - served.arrival_s
    return waits


def _bare_simpy(arrivals: F8, work: F8) -> F8:
    env = simpy.Environment()
    servers = simpy.Resource(env, QUEUE.servers)
    waits = np.empty(len(arrivals))

    def customer(row: int, at_s: float, seconds: float) -> Any:
        with servers.request() as turn:
            yield turn
            waits[row] = env.now - at_s
            yield env.timeout(seconds)

    def arrive() -> Any:
        for row, (at_s, seconds) in enumerate(zip(arrivals.tolist(), work.tolist(), strict=True)):
            yield env.timeout(at_s - env.now)
            env.process(customer(row, at_s, seconds))

    env.process(arrive())
    env.run()
    return waits


def _bare_ciw(count: int, seed: int) -> F8:
    import ciw

    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(QUEUE.load)],
        service_distributions=[ciw.dists.Exponential(1.0)],
        number_of_servers=[QUEUE.servers],
    )
    ciw.seed(seed)
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(count, method="Finish")
    found = sorted((record.arrival_date, record.waiting_time) for record in simulation.get_all_records())
    return np.array([wait for _, wait in found])


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
    queue, apart = queues(quick)
    burst, growth = bursts(quick)
    answered, lead, regret = policies(quick)
    bars = [
        bar("timing_speedup", ratios["goodput"], 10.0, 30.0),
        bar("timing_speedup_least", min(ratios.values()), 10.0),
        bar("queue_apart", apart, 1e-6, None, "lower"),
        bar("burst_growth", growth, 1.5, 1.2, "lower"),
        bar("goodput_least", lead, -0.005, 0.0),
        bar("goodput_regret", regret, 0.05, 0.02, "lower"),
    ]
    return [*fast, *queue, *burst, *answered], bars


if __name__ == "__main__":
    main("timing", __doc__, SEED, measure)
