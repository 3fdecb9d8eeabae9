"""How often intervals and tests are wrong: counts over simulated experiments whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from simulator.analysis.arm_values import clustered_ratio, clustered_share
from simulator.analysis.latency import clustered_quantile, quantile_lift
from simulator.analysis.log_ratio import LogRatio, log_ratio
from simulator.analysis.power import mde
from simulator.analysis.sequential import always_valid_factor, spending_bounds
from simulator.certificate.users import F8, draw, moments_of_each, totals, true_lift
from simulator.metrics import RATIOS, Ratio

B = NDArray[np.bool_]
_AT_ONCE = 250_000  # users of the experiments held at once


def known_effect(
    seed: int, experiments: int, users: int, lift: float
) -> Iterator[tuple[Ratio, float, LogRatio]]:
    """Every metric's estimates in experiments of `users` an arm, in parts: metric, true lift, estimates."""
    step = max(1, _AT_ONCE // users)
    for part, start in enumerate(range(0, experiments, step)):
        rng = np.random.default_rng((seed, users, part))
        shape = (min(step, experiments - start), users)
        arms = [draw(rng, shape, each) for each in (0.0, lift)]
        for metric in RATIOS:
            found = log_ratio(*(moments_of_each(totals(arm, metric)) for arm in arms))
            yield metric, true_lift(metric, lift), found


def coverage(seed: int, experiments: int, users: int, lift: float = 0.2) -> dict[str, int]:
    """By metric, in how many experiments the 95 % interval covers the true lift."""
    hits: dict[str, int] = {metric.name: 0 for metric in RATIOS}
    for metric, true, found in known_effect(seed, experiments, users, lift):
        low, high = found.interval(0.95)
        hits[metric.name] += int(((low <= true) & (true <= high)).sum())
    return hits


def rejections(seed: int, experiments: int, users: int, lift: float = 0.0) -> dict[str, int]:
    """By metric, in how many experiments the 5 % test finds a lift."""
    hits: dict[str, int] = {metric.name: 0 for metric in RATIOS}
    for metric, _, found in known_effect(seed, experiments, users, lift):
        hits[metric.name] += int((found.p_value < 0.05).sum())
    return hits


def planned_power(seed: int, experiments: int, users: int) -> int:
    """In how many experiments clicks per impression are found to differ at the planned effect's size."""
    (ctr,) = (metric for metric in RATIOS if metric.name == "ctr")
    pilot = [found.se_log for metric, _, found in known_effect(seed + 1, 200, users, 0.0) if metric is ctr]
    planned = mde(float(np.concatenate(pilot).mean()))
    return rejections(seed, experiments, users, planned)["ctr"]


def stream(seed: int, experiments: int, looks: int, users: int, lift: float = 0.0) -> tuple[F8, F8, F8]:
    """One metric, clicks per impression, estimated at every look at tests whose users come evenly.

    Returns:
        lift, its standard error (delta method) and the units so far: (experiments, looks) twice, (looks,).
    """
    (ctr,) = (metric for metric in RATIOS if metric.name == "ctr")
    each = max(2, users // looks)
    step, lifts, errors = max(1, _AT_ONCE // (each * looks)), [], []
    for part, start in enumerate(range(0, experiments, step)):
        rng = np.random.default_rng((seed, looks, part))
        shape = (min(step, experiments - start), each * looks)
        arms = [totals(draw(rng, shape, one), ctr, cuped=False) for one in (0.0, lift)]
        found = [
            log_ratio(*(moments_of_each(arm[:, : each * (look + 1)]) for arm in arms))
            for look in range(looks)
        ]
        lifts.append(np.stack([one.lift for one in found], axis=1))
        errors.append(np.stack([(1 + one.lift) * one.se_log for one in found], axis=1))
    units = 2.0 * each * np.arange(1, looks + 1, dtype=np.float64)
    return np.concatenate(lifts), np.concatenate(errors), np.asarray(units, np.float64)


def stops(lift: F8, se: F8, units: F8, rule: str) -> B:
    """(experiments, looks) whether a stopping rule calls a difference at the look.

    Args:
        lift, se, units: as `stream` gives them.
        rule: "fixed" (the interval of one look), "group-sequential" (O'Brien and Fleming's spending) or
            "always-valid" (tightest at half of the plan).
    """
    distance = np.abs(lift) / se
    if rule == "fixed":
        return np.asarray(distance > stats.norm.isf(0.025))
    if rule == "group-sequential":
        return np.asarray(distance > np.array(spending_bounds(len(units))))
    return np.asarray(distance > always_valid_factor(units, float(units[-1]) / 2))


RULES = ("fixed", "group-sequential", "always-valid")


def latency_coverage(seed: int, traces: int, users: int = 1_000) -> tuple[int, int]:
    """Of so many traces, how often the intervals of P99 and of its lift cover the truth.

    About 21 requests of each user, lognormal with user spread 0.5 and request spread 0.3.
    """
    true = math.exp(float(stats.norm.ppf(0.99)) * math.sqrt(0.5**2 + 0.3**2))
    own, of_lift = 0, 0
    for trace in range(traces):
        rng, arms = np.random.default_rng((seed, trace)), []
        for factor in (1.0, 1.2):
            user = np.repeat(np.arange(users, dtype=np.uint64), rng.poisson(21, users))
            slow = rng.normal(0, 0.5, users)[user.astype(np.int64)]
            arms.append(clustered_quantile(factor * np.exp(slow + rng.normal(0, 0.3, len(user))), user, 0.99))
        control, treatment = arms
        assert control is not None
        assert treatment is not None
        assert control.ci is not None
        own += control.ci[0] <= true <= control.ci[1]
        ci = quantile_lift(control, treatment).ci
        of_lift += ci is not None and ci[0] <= 0.2 <= ci[1]
    return own, of_lift


def share_coverage(seed: int, samples: int, rate: float, users: int = 200) -> tuple[int, int]:
    """How often a share's interval covers it, and how often a t interval would."""
    own, symmetric = 0, 0
    for sample in range(samples):
        rng = np.random.default_rng((seed, sample))
        user = np.repeat(np.arange(users, dtype=np.uint64), rng.integers(1, 12, users))
        chance = rng.beta(20 * rate, 20 * (1 - rate), users)[user.astype(np.int64)]
        hit = rng.random(len(user)) < chance
        for interval, counts in ((clustered_share, True), (clustered_ratio, False)):
            low, high = interval(hit, np.ones(len(user)), user).ci or (1.0, 0.0)
            own += counts and low <= rate <= high
            symmetric += not counts and low <= rate <= high
    return own, symmetric
