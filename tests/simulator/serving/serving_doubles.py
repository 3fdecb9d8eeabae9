"""Synthetic profiles, arms and arrivals, and service times that are textbook distributions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.serving.arm import LadderStep, ServingArm, build_ladder
from simulator.serving.predictions import LEVELS, Predictions
from simulator.serving.profile import Machine, Samples, ServiceProfile

HISTORIES = (0, 10, 50, 100, 250, 500, 1000)
BATCHES = (1, 2, 4, 8, 16)
CANDIDATES = (4, 16)


def lognormal(seed: int, mean_s: float, sigma: float, count: int = 200) -> Samples:
    """Sorted lognormal samples of about the mean."""
    rng = np.random.default_rng(seed)
    samples = np.sort(mean_s * np.exp(sigma * rng.standard_normal(count) - 0.5 * sigma**2))
    return tuple(float(s) for s in samples)


def synthetic_profile(sigma: float = 0.25) -> ServiceProfile:
    """A store that is read-heavy ("wide") and one that is not ("lean"); a light and a heavy model."""
    stores = {"slow": (100e-6, 3e-6), "wide": (60e-6, 1.5e-6), "lean": (30e-6, 0.05e-6)}
    models = {"light": (250e-6, 0.3e-6, 40e-6), "heavy": (500e-6, 1.0e-6, 150e-6)}
    return ServiceProfile(
        machine=Machine("synthetic", 1, 1.0, None),
        versions={},
        commit="none",
        date="2025-01-01",
        store={
            key: {h: lognormal(h, base + each * h, sigma) for h in HISTORIES}
            for key, (base, each) in stores.items()
        },
        transport={h: lognormal(7 + h, 20e-6 + 0.02e-6 * h, sigma) for h in HISTORIES},
        score={
            model: {
                (h, c, b): lognormal(h + 31 * c + 7 * b, base + b * (row + each * h) + 1e-6 * b * c, sigma)
                for h in HISTORIES
                for c in CANDIDATES
                for b in BATCHES
            }
            for model, (base, each, row) in models.items()
        },
    )


def short_arm(**settings: int) -> ServingArm:
    """Light model on 50 behaviours of the read-heavy store."""
    sizes = {"store_workers": 1, "scorers": 1, "max_batch": 8} | settings
    return ServingArm("short", "wide", build_ladder("light", 50, "light", 50), **sizes)


def long_arm(**settings: int) -> ServingArm:
    """Heavy model on 1,000 behaviours of the lean store, light model as its light step."""
    sizes = {"store_workers": 1, "scorers": 1, "max_batch": 8} | settings
    return ServingArm("long", "lean", build_ladder("heavy", 1000, "light", 50), **sizes)


def history_lengths(count: int, seed: int = 3) -> NDArray[np.int64]:
    """Skewed history lengths up to 1,000."""
    rng = np.random.default_rng(seed)
    return np.minimum(np.exp(rng.normal(5.5, 1.2, count)), 1000.0).astype(np.int64)


def daily_arrivals(
    rate: float, count: int, seed: int, days: int = 4, bursts: int = 12
) -> NDArray[np.float64]:
    """Arrivals at a mean rate with a daily curve (peak 1.6 x mean) and short bursts on top of it."""
    rng = np.random.default_rng(seed)
    grid = np.linspace(0.0, 1.0, 20_001)
    intensity = 1.0 + 0.6 * np.sin(2.0 * np.pi * days * grid)
    for centre in rng.uniform(0.0, 1.0, bursts):
        intensity += 1.0 * (np.abs(grid - centre) < 0.002)
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (intensity[1:] + intensity[:-1]))])
    positions = np.cumsum(rng.exponential(1.0, count))
    unit = np.interp(positions / positions[-1], cumulative / cumulative[-1], grid)
    arrivals: NDArray[np.float64] = unit * (count / rate)
    return arrivals


class DrawnTimes:
    """Service times given by row, one array a stage; predictions as told, else the means.

    Args:
        store_s: (R,) reading.
        score_s: (R,) scoring; a batch takes its first request's. Zero if left out.
        predicted_store_s, predicted_score_s: what the ladder is given.
    """

    def __init__(
        self,
        store_s: ArrayLike,
        score_s: ArrayLike | None = None,
        predicted_store_s: float | None = None,
        predicted_score_s: float | None = None,
    ) -> None:
        store = np.asarray(store_s, dtype=np.float64)
        score = np.zeros_like(store) if score_s is None else np.asarray(score_s, dtype=np.float64)
        self._store: list[float] = store.tolist()
        self._score: list[float] = score.tolist()
        self._store_told = float(store.mean()) if predicted_store_s is None else predicted_store_s
        self._score_told = float(score.mean()) if predicted_score_s is None else predicted_score_s

    @property
    def predictions(self) -> Predictions:
        return self

    def store_s(self, request: int, history: int) -> float:
        return self._store[request]

    def transport_s(self, request: int, history: int) -> float:
        return 0.0

    def score_s(self, requests: Sequence[int], model: str, histories: Sequence[int]) -> float:
        return self._score[requests[0]]

    def predict_store_s(self, history: int) -> float:
        return self._store_told

    def predict_transport_s(self, history: int) -> float:
        return 0.0

    def predict_score_s(self, model: str, history: int, batch: int) -> float:
        return self._score_told

    def expected_fetch_s(self, history: int) -> float:
        return self._store_told

    def expected_score_s(self, model: str, history: int, batch: int) -> float:
        return self._score_told

    def fetch_levels_s(self, history: int) -> list[float]:
        return [self._store_told] * LEVELS

    def score_levels_s(self, model: str, history: int, batch: int) -> list[float]:
        return [self._score_told] * LEVELS


def plain_arm(
    store_workers: int = 1, scorers: int = 1, max_batch: int = 1, max_wait_s: float = 0.0
) -> ServingArm:
    """One step and the prior order."""
    steps = (LadderStep("full", "model", 1), LadderStep("prior", None, 0))
    return ServingArm("plain", "store", steps, store_workers, scorers, max_batch, max_wait_s)
