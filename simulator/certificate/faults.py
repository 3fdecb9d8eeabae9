"""`laser-ab validate faults`: faults put into logs, found, and put down to what they are.

The logs are simulated, or those of a run, whose users are split in two again and again, so that the test is a
sound one. Each fault has a stated strength (`STRENGTH`). A simulated user has an activity, a taste and a
speed, which the days and the pre-period share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from scipy import stats

from simulator.analysis.health.checks import Fault, find_fault
from simulator.analysis.health.logs import F8, Logs
from simulator.certificate.rows import CONFIDENCE, Row, at_most

DAYS = 8
_RATE = 0.2  # conversions of a click
_MOST = 0.4  # the largest share of what is shown that a person clicks on
_TIMEOUT = 3.0  # times the median latency, after which a client does not report

#: What is put in, as the rows say it.
STRENGTH: dict[Fault, str] = {
    "lost logs": "treatment answers twice as slowly, and what takes three median latencies is not logged",
    "bots": "five users ask 300 times each and click on 90 %",
    "delayed conversions": "a third of them arrive two days later",
    "missing conversions": "treatment loses 60 % of them from half-time on",
    "novelty": "a lift of 50 % on the first day, a third less each day",
    "calibration drift": "treatment's predictions grow by 5 % a day",
}


def fault_rows(
    replications: int = 200, users: int = 10_000, seed: int = 7, logs: Logs | None = None
) -> Iterator[Row]:
    """How often each fault is found and named rightly, and how often a sound test is suspected.

    Args:
        replications: tests of each kind; sound ones are five times as many.
        users: of an arm, where logs are simulated.
        seed: of the tests.
        logs: of a run's users, to be split at random; None for simulated ones.
    """
    sound = 5 * replications
    alarms = sum(find_fault(*tests) is not None for tests in _tests(seed, sound, users, None, logs))
    yield at_most("a sound test is suspected", alarms, sound, 0.01)
    for number, (fault, strength) in enumerate(STRENGTH.items()):
        found = 0
        for tests in _tests(seed + 1 + number, replications, users, fault, logs):
            finding = find_fault(*tests)
            found += finding is not None and finding.fault == fault
        # At least 95 %: the bound is where a check of exactly that would still be with near certainty.
        low = float(stats.binom.ppf(1 - CONFIDENCE, replications, 0.95)) / replications
        yield Row(f"{fault}: found, named rightly ({strength})", found / replications, low, 1.0, 0.95)


def _tests(
    seed: int, tests: int, users: int, fault: Fault | None, logs: Logs | None
) -> Iterator[tuple[Logs, Logs]]:
    for test in range(tests):
        rng = np.random.default_rng((seed, users, test))
        if logs is None:
            arms = simulate(rng, users), simulate(rng, users)
        else:
            treated = rng.random(len(logs.user_id)) < 0.5
            arms = logs.of(~treated), logs.of(treated)
        yield arms if fault is None else _INJECT[fault](rng, *arms)


def simulate(rng: np.random.Generator, users: int) -> Logs:
    """Logs of an arm.

    Args:
        rng: of all draws.
        users: of the arm.
    """
    activity = rng.gamma(1.0, 0.5, (users, 1))
    taste = np.clip(0.12 * rng.lognormal(0, 0.5, (users, 1)), 0, _MOST)
    requests = rng.poisson(activity, (users, DAYS))
    impressions = rng.binomial(requests, 0.95)
    clicks = rng.binomial(impressions, taste)
    conversions = rng.binomial(clicks, _RATE)
    before = np.where(rng.random(users) < 0.8, rng.lognormal(0.0, 0.6, users), np.nan)
    columns = (requests, impressions, clicks, conversions, impressions * taste)
    made: list[F8] = [np.asarray(column, np.float64) for column in columns]
    return Logs(np.arange(users, dtype=np.uint64), made[0], made[1], made[2], made[3], made[4], before)


def lose_slow_logs(rng: np.random.Generator, logs: Logs, slower: float = 2.0) -> Logs:
    """What is left where answers take so many times as long as before, and a client gives up.

    Args:
        rng: of the draws.
        logs: of an arm. Who was not there before is as slow as somebody who was.
        slower: times the latency before the experiment.
    """
    there = np.isfinite(logs.before_ms)
    speed = np.where(there, logs.before_ms, rng.choice(logs.before_ms[there], len(there)))
    late = stats.norm.sf((np.log(_TIMEOUT * np.median(speed)) - np.log(slower * speed)) / 0.3)

    def kept(counts: F8) -> F8:
        return rng.binomial(counts.astype(np.int64), 1.0 - late[:, None]).astype(np.float64)

    conversions = kept(logs.conversions)
    clicks = conversions + kept(logs.clicks - logs.conversions)
    impressions = clicks + kept(logs.impressions - logs.clicks)
    return replace(
        logs,
        requests=kept(logs.requests),
        impressions=impressions,
        clicks=clicks,
        conversions=conversions,
        predicted=logs.predicted * impressions / np.maximum(logs.impressions, 1),
    )


def _lost(rng: np.random.Generator, control: Logs, treatment: Logs) -> tuple[Logs, Logs]:
    return control, lose_slow_logs(rng, treatment)


def _bots(rng: np.random.Generator, control: Logs, treatment: Logs) -> tuple[Logs, Logs]:
    """A few of each arm's users click on nearly everything and buy nothing."""
    shown, clicks, bought = (
        getattr(treatment, name).copy() for name in ("impressions", "clicks", "conversions")
    )
    shown[:5] = 300 // shown.shape[1]
    clicks[:5] = rng.binomial(shown[:5].astype(np.int64), 0.9)
    bought[:5] = 0
    return control, replace(treatment, impressions=shown, clicks=clicks, conversions=bought)


def _delayed(rng: np.random.Generator, control: Logs, treatment: Logs) -> tuple[Logs, Logs]:
    found = []
    for logs in (control, treatment):
        bought = logs.conversions.astype(np.int64)
        late = rng.binomial(bought[:, -2:], 1 / 3)  # two days later is after the end
        kept = bought.astype(np.float64)
        kept[:, -2:] -= late
        found.append(replace(logs, conversions=kept))
    return found[0], found[1]


def _missing(rng: np.random.Generator, control: Logs, treatment: Logs) -> tuple[Logs, Logs]:
    kept = treatment.conversions.copy()
    late = slice(kept.shape[1] // 2, None)
    kept[:, late] = rng.binomial(kept[:, late].astype(np.int64), 0.4)
    return control, replace(treatment, conversions=kept)


def _novelty(rng: np.random.Generator, control: Logs, treatment: Logs) -> tuple[Logs, Logs]:
    """Beside the clicks that there are, more of what was not clicked is, and converts as they do."""
    more = 0.5 * (2 / 3) ** np.arange(treatment.clicks.shape[1])
    rate = treatment.predicted / np.maximum(treatment.impressions, 1)
    left = (treatment.impressions - treatment.clicks).astype(np.int64)
    extra = rng.binomial(left, np.clip(rate * more / np.maximum(1 - rate, 1e-9), 0, 1))
    bought = treatment.conversions + rng.binomial(extra, _RATE)
    return control, replace(treatment, clicks=treatment.clicks + extra, conversions=bought)


def _drift(rng: np.random.Generator, control: Logs, treatment: Logs) -> tuple[Logs, Logs]:
    growing = 1.05 ** np.arange(treatment.clicks.shape[1])
    return control, replace(treatment, predicted=treatment.predicted * growing)


_Injected = Callable[[np.random.Generator, Logs, Logs], tuple[Logs, Logs]]
_INJECT: dict[Fault, _Injected] = {
    "lost logs": _lost,
    "bots": _bots,
    "delayed conversions": _delayed,
    "missing conversions": _missing,
    "novelty": _novelty,
    "calibration drift": _drift,
}
