"""pCVR by ad and user: the ad's rate, raised or lowered by the user's affinity to the ad's category.

Learnt on the training log's clicks for all arms alike, whatever they read: which ranker runs changes no
pCVR. Affinity is seen in how many of a user's newest behaviours are of the ad's category. Letters: n
requests, C candidates, A ads. Start with `fit_conversion`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.inputs.prepare import Prepared
from simulator.kept_code import njit_kept
from simulator.traffic.behaviours import Behaviours
from simulator.traffic.examples import history_slices
from simulator.traffic.log import LogImpressions

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

#: Newest behaviours among which those of a category are counted: lifelong interest, and the present one.
WINDOWS = (1000, 50)
# Of a slope, over the logarithm of a count: hardly felt, but a log of a handful of conversions runs away
# without.
_PRIOR = 1.0
_STEPS = 30


@dataclass(frozen=True)
class Conversion:
    """logit pCVR = logit(the ad's rate) + shift + slopes · log(1 + counts).

    Attributes:
        rate: (A,) the ads' smoothed P(conversion | click).
        shift: of every logit.
        slopes: by window, see `WINDOWS`.
    """

    rate: F8
    shift: float
    slopes: tuple[float, ...]

    def pcvr(self, behaviours: Behaviours, start: I8, end: I8, ads: I8, category: NDArray[Any]) -> F8:
        """(n, C) P(conversion | click).

        Args:
            behaviours: of all users.
            start, end: (n,) the slice of them that each request may read.
            ads: (n, C) ad indices, -1 where there is none.
            category: (A,) of the ads.
        """
        counts = _counted(behaviours, start, end, category[np.maximum(ads, 0)])
        logit = _logit(self.rate[np.maximum(ads, 0)]) + self.shift
        for slope, count in zip(self.slopes, counts, strict=True):
            logit += slope * np.log1p(count)
        out: F8 = 1.0 / (1.0 + np.exp(-logit))
        return out


def fit_conversion(log: LogImpressions, behaviours: Behaviours, rate: F8, delay_s: float) -> Conversion:
    """Maximum likelihood on the training log's clicks; with too few of either kind, the ads' rates alone.

    At the optimum the predicted conversions equal those of the training log.

    Args:
        log: with conversions; the training split alone is read.
        behaviours: of the log's users.
        rate: (A,) the ads' smoothed rates, of the same split.
        delay_s: a behaviour is readable so long after it happened.
    """
    log = log.take(log.rows("train"))
    log = log.take(np.flatnonzero(log.click.any(axis=1)))
    clicked = log.click > 0
    converted = log.conversion[clicked].astype(np.float64)
    if not 0 < converted.sum() < len(converted):
        return Conversion(rate, 0.0, tuple(0.0 for _ in WINDOWS))
    start, end = history_slices(behaviours, log.user_id, log.time_s, delay_s)
    counts = _counted(behaviours, start, end, log.ad_category)
    x = np.stack([np.ones(len(converted)), *(np.log1p(count[clicked]) for count in counts)], axis=1)
    theta = _newton(x, _logit(rate[log.ad[clicked]]), converted)
    return Conversion(rate, float(theta[0]), tuple(map(float, theta[1:])))


class TraceConversion:
    """pCVR of the trace's candidates, made for the requests that are asked for.

    Args:
        prepared: the experiment's inputs.
    """

    def __init__(self, prepared: Prepared) -> None:
        world, requests, delay_s = prepared.world, prepared.requests, prepared.source.ingest_delay_s
        self.model = fit_conversion(world.log, world.behaviours, prepared.pcvr, delay_s)
        self._behaviours, self._category = world.behaviours, world.catalogue.category
        self._candidates = requests.candidates
        self._start, self._end = history_slices(
            world.behaviours, requests.user_id, requests.arrival_s, delay_s
        )

    def pcvr(self, rows: I8) -> F8:
        """(n, C) of some requests' candidates."""
        ads = self._candidates[rows].astype(np.int64)
        pcvr = self.model.pcvr(self._behaviours, self._start[rows], self._end[rows], ads, self._category)
        self._behaviours.let_go()
        return pcvr


def held_out(prepared: Prepared, trace: TraceConversion | None) -> tuple[float, int]:
    """How many conversions the pCVR promises of the held-out log's clicks, and how many there were.

    Args:
        prepared: the experiment's inputs.
        trace: pCVR of user and ad; None for the ad's alone.
    """
    world = prepared.world
    log = world.log.take(world.log.rows("holdout"))
    clicked, ads = log.click > 0, log.ad.astype(np.int64)
    pcvr = prepared.pcvr[ads]
    if trace is not None:
        delay_s = prepared.source.ingest_delay_s
        read = history_slices(world.behaviours, log.user_id, log.time_s, delay_s)
        pcvr = trace.model.pcvr(world.behaviours, *read, ads, world.catalogue.category)
    return float(pcvr[clicked].sum()), int(log.conversion[clicked].sum())


def _counted(behaviours: Behaviours, start: I8, end: I8, wanted: NDArray[Any]) -> list[NDArray[np.int32]]:
    """By window, (n, C) how many of the newest behaviours of a slice are of each wanted category."""
    most = int(max(behaviours.category.max(initial=0), wanted.max(initial=0))) + 1
    made = []
    for window in WINDOWS:
        out = np.zeros(wanted.shape, np.int32)
        _count(
            behaviours.category, np.maximum(start, end - window), end, wanted, np.zeros(most, np.int32), out
        )
        made.append(out)
    return made


@njit_kept(nogil=True)
def _count(category: Any, start: Any, end: Any, wanted: Any, seen: Any, out: Any) -> None:
    for r in range(len(start)):
        for i in range(start[r], end[r]):
            seen[category[i]] += 1
        for c in range(wanted.shape[1]):
            out[r, c] = seen[wanted[r, c]]
        for i in range(start[r], end[r]):
            seen[category[i]] = 0


def _newton(x: F8, offset: F8, y: F8) -> F8:
    """(K,) the most probable coefficients; the first column is the intercept, and free."""
    theta, prior = np.zeros(x.shape[1]), np.full(x.shape[1], _PRIOR)
    prior[0] = 0.0
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-(offset + x @ theta)))
        gradient = x.T @ (p - y) + prior * theta
        hessian = (x * (p * (1.0 - p))[:, None]).T @ x + np.diag(prior + 1e-9)
        # Short steps: the first one may leave the region where the likelihood is nearly a parabola.
        step = np.clip(np.linalg.solve(hessian, gradient), -1.0, 1.0)
        theta -= step
        if np.abs(step).max() < 1e-10:
            break
    return theta


def _logit(p: F8) -> F8:
    out: F8 = np.log(p / (1.0 - p))
    return out
