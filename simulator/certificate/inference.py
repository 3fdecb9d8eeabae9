"""`laser-ab validate inference`: published vectors to their digits, then calibrations on known truths."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from simulator.analysis.log_ratio import Moments, log_ratio
from simulator.analysis.sequential import always_valid_factor, bounds, crossing, tightest_at
from simulator.analysis.several import dunnett_factor
from simulator.analysis.srm import check_split
from simulator.certificate import calibrations as simulate
from simulator.certificate.rows import Row, at_most, digits, share


def inference_rows(replications: int = 2_000, users: int = 200, seed: int = 7) -> Iterator[Row]:
    """Vectors, then calibrations.

    Args:
        replications: simulated experiments of each calibration.
        users: of an arm.
        seed: of the experiments.
    """
    yield from vectors()
    for name, hits in simulate.rejections(seed, replications, users).items():
        yield share(f"type-I error, {name}, {users} users an arm", hits, replications, 0.05)
    for name, hits in simulate.coverage(seed, replications, users).items():
        yield share(f"coverage of a lift of 20 %, {name}, {users} users an arm", hits, replications, 0.95)
    hits = simulate.planned_power(seed, replications, 2 * users)
    yield share(f"power at the planned MDE, {2 * users} users an arm", hits, replications, 0.8)
    lift, se, units = simulate.stream(seed, replications, 14, 14 * 25)
    for rule, most in (("always-valid", 0.05), ("group-sequential", 0.05)):
        hits = int(simulate.stops(lift, se, units, rule).any(1).sum())
        yield at_most(f"error of 14 looks, {rule}", hits, replications, most)
    traces = max(1, replications // 4)
    own, of_lift = simulate.latency_coverage(seed, traces)
    yield share("coverage of P99, clustered by user", own, traces, 0.95)
    yield share("coverage of the lift of P99", of_lift, traces, 0.95)
    own, _ = simulate.share_coverage(seed, traces, 0.01)
    yield Row("coverage of a share of 1 %", own / traces, share("", own, traces, 0.95).low, 1.0, 0.95)


def vectors() -> Iterator[Row]:
    """Published values (docs/metrics.md has the formulas)."""
    result = log_ratio(_mean(1396.87, 52377.9767, 3407), _mean(2422.7, 134698.29, 3461))
    low, high = (float(x) for x in result.difference_interval(0.95))
    yield digits("GrowthBook: difference", float(result.difference), 0.29, 5e-5)
    yield digits("GrowthBook: difference, low", low, 0.04538, 5e-6)
    yield digits("GrowthBook: difference, high", high, 0.53462, 5e-6)
    yield digits("GrowthBook: p-value of the difference", float(result.difference_p_value), 0.020158, 5e-7)
    low, high = (float(x) for x in result.interval(0.95))
    yield digits("GrowthBook: lift", float(result.lift), 0.70732, 5e-6)
    yield digits("GrowthBook: lift, low (log-ratio)", low, 0.10517, 5e-6)
    yield digits("GrowthBook: lift, high (log-ratio)", high, 1.63754, 5e-6)
    result = log_ratio(_mean(1396.87, 52377.9767, 3000), _mean(2422.7, 134698.29, 3461))
    half = float(always_valid_factor(6461, 1000) * (1 + result.lift) * result.se_log)
    yield digits("always valid: rho at 1,000 units", tightest_at(1000, 0.95), 0.0890851, 5e-8)
    yield digits("always valid: lift", float(result.lift), 0.50336, 5e-6)
    yield digits("always valid: lift, low", float(result.lift) - half, -0.55844, 5e-6)
    yield digits("always valid: lift, high", float(result.lift) + half, 1.56516, 5e-6)
    for times, published in ((0.1, 1.967), (0.5, 1.573), (1.0, 1.549), (2.0, 1.562), (10.0, 1.654)):
        wider = float(always_valid_factor(times * 1e6, 1e6)) / 1.959964
        yield digits(f"always valid: width at {times:g} times the plan", wider, published, 5e-4)
    yield digits("Pocock's bound, 5 looks", bounds(5, shape="pocock")[0], 2.4132, 5e-5)
    published_bounds = (4.562, 3.226, 2.634, 2.281, 2.040)
    for look, (own, published) in enumerate(zip(bounds(5), published_bounds, strict=True), 1):
        yield digits(f"O'Brien and Fleming's bound, look {look} of 5", own, published, 5e-4)
    for looks, published in ((1, 5.0), (2, 8.3), (5, 14.2), (10, 19.3), (20, 24.8)):
        error = 100 * crossing(np.arange(1, looks + 1), [1.959964] * looks)
        yield digits(f"peeking at 1.96: error of {looks} looks [%]", error, published, 0.06)
    for counts, published in (
        ((821_588, 815_482), 1.8218e-6),
        ((4_950, 5_050), 0.317311),
        ((1_000, 1_200), 2.008e-5),
    ):
        p = check_split(dict(zip("ab", counts, strict=True)), {"a": 0.5, "b": 0.5}).p_value or 0.0
        yield digits(f"SRM of {counts[0]:,} and {counts[1]:,}", p, published, 3e-4 * published)
    yield digits(
        "Dunnett: three treatments, 20 degrees of freedom", dunnett_factor([0.5] * 3, [20.0] * 3), 2.54, 5e-3
    )


def _mean(total: float, squares: float, n: int) -> Moments:
    """Moments of a mean: its column, and a constant 1."""
    cov = np.zeros((2, 2))
    cov[0, 0] = (squares - total**2 / n) / (n - 1)
    return Moments(np.asarray(float(n)), np.array([total / n, 1.0]), cov)
