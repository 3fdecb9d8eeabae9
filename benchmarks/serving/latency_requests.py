"""Requests to time: full histories whose categories are as popular as the worlds', ages growing backwards."""

import numpy as np

from laser.batch import RankingBatch
from simulator.traffic.behaviours import ACTIONS, SCENES
from simulator.world.config import WorldConfig

CATEGORIES, ADS = WorldConfig.categories, WorldConfig.ads
BEHAVIOUR_GAP_S = 0.3 * 86_400.0  # the worlds' histories take 0.3 days per behaviour


def requests_of(history: int, candidates: int, count: int, seed: int) -> list[RankingBatch]:
    """So many requests on the host, one per batch, all different."""
    rng = np.random.default_rng([seed, history, candidates])
    weights = np.arange(1, CATEGORIES + 1) ** -WorldConfig.category_zipf
    popularity = rng.permutation(weights / weights.sum())
    return [_request(rng, popularity, history, candidates) for _ in range(count)]


def _request(rng: np.random.Generator, popularity: np.ndarray, history: int, candidates: int) -> RankingBatch:
    gaps_s = rng.exponential(BEHAVIOUR_GAP_S, history)
    return RankingBatch.from_numpy(
        category=rng.choice(CATEGORIES, history, p=popularity),
        action=rng.integers(0, ACTIONS, history),
        scene=rng.integers(0, SCENES, history),
        age_s=gaps_s[::-1].cumsum()[::-1],
        dwell_s=rng.exponential(30.0, history),
        offsets=np.array([0, history]),
        ad=rng.choice(ADS, (1, candidates), replace=False),
        ad_category=rng.choice(CATEGORIES, (1, candidates), p=popularity),
        position=np.arange(candidates)[None, :],
        hour=rng.uniform(0.0, 24.0, 1),
        propensity=rng.normal(0.0, 1.0, 1),
    )
