"""Users and their interests: who they are, and which interests live at which event.

Letters: U users, K interests. Drawn in blocks of `BLOCK_USERS` so that any block can be redrawn alone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from simulator.world.catalogue import Categories
from simulator.world.config import WorldConfig
from simulator.world.streams import block_stream

BLOCK_USERS = 256

DEAD, DORMANT, ACTIVE = 0, 1, 2


@dataclass(frozen=True)
class UserTable:
    """The users' hidden properties, one row per user (U rows, K interests).

    `category` and `weight` (U, K) say what an interest is about and how strong; it lives over events
    [born, death) and within its life is active while frac(event / period + phase) < duty.
    Evergreens and bursts have duty 1.
    """

    activity: NDArray[
        np.float32
    ]  #: mean 1/2, arcsine draw in (0, 1) or log-normal: how often a user is asked
    history_length: NDArray[np.int32]  #: events before the log, the oldest part forgotten
    click_bias: NDArray[np.float32]  #: b_u
    propensity: NDArray[np.float32]  #: b_u + noise, all that models may see
    category: NDArray[np.uint16]
    weight: NDArray[np.float32]
    born: NDArray[np.float32]
    death: NDArray[np.float32]
    period: NDArray[np.float32]
    duty: NDArray[np.float32]
    phase: NDArray[np.float32]

    def rows(self, rows: slice | NDArray[np.int64]) -> UserTable:
        """The table of some users only."""
        return UserTable(*(getattr(self, f.name)[rows] for f in fields(self)))

    def states(self, event: NDArray[np.int64]) -> NDArray[np.int8]:
        """DEAD, DORMANT or ACTIVE for each interest, i1 (U, K), at one event index a row (U,)."""
        at = event[:, None].astype(np.float32)
        alive = (self.born <= at) & (at < self.death)
        cycle = at / self.period + self.phase
        active = cycle - np.floor(cycle) < self.duty
        state: NDArray[np.int8] = alive.astype(np.int8) + (alive & active).astype(np.int8)
        return state


def build_users(config: WorldConfig, categories: Categories, seed: int) -> UserTable:
    """All users of a world."""
    blocks = [
        _user_block(config, categories, seed, b, min(BLOCK_USERS, config.users - b * BLOCK_USERS))
        for b in range(block_count(config))
    ]
    return UserTable(*(np.concatenate([getattr(t, f.name) for t in blocks]) for f in fields(UserTable)))


def block_count(config: WorldConfig) -> int:
    """How many blocks of users a world has; only the last may be smaller."""
    return -(-config.users // BLOCK_USERS)


def pace_of(config: WorldConfig, users: UserTable) -> NDArray[np.float64]:
    """(U,) visits a user pays, the mean being 1."""
    activity = users.activity.astype(np.float64)
    if config.activity_sd > 0:
        return 2.0 * activity
    return config.activity_floor + 2.0 * (1.0 - config.activity_floor) * activity


def _user_block(config: WorldConfig, categories: Categories, seed: int, block: int, users: int) -> UserTable:
    # Whole blocks are drawn even where the last is cut: a larger world keeps the smaller one's users.
    n, k = BLOCK_USERS, config.interests
    rng = block_stream(seed, "users", block)
    activity = np.sin(np.pi / 2 * rng.random(n)) ** 2
    if config.activity_sd > 0:
        # A stream of its own: whatever else is drawn of these users stays as it is.
        z = block_stream(seed, "activity", block).standard_normal(n)
        activity = 0.5 * np.exp(config.activity_sd * (z - 0.5 * config.activity_sd))
    length = np.exp(np.log(config.history_median) + config.history_sd * rng.standard_normal(n))
    bias = config.user_sd * rng.standard_normal(n)
    noise = config.propensity_noise * rng.standard_normal(n)
    category = _interest_categories(config, categories, rng, (n, k))
    weight = np.clip(np.exp(0.5 * rng.standard_normal((n, k))), 0.3, 2.5)
    born, death, period, duty = _lives(config, rng, (n, k))
    phase = rng.random((n, k))
    table = UserTable(
        activity.astype(np.float32),
        np.clip(length, config.history_min, config.history_max).astype(np.int32),
        bias.astype(np.float32),
        (bias + noise).astype(np.float32),
        category,
        *(a.astype(np.float32) for a in (weight, born, death, period, duty, phase)),
    )
    return table.rows(slice(0, users))


def _interest_categories(
    config: WorldConfig, categories: Categories, rng: np.random.Generator, shape: tuple[int, int]
) -> NDArray[np.uint16]:
    cluster = rng.integers(0, config.clusters, shape[0])
    own_taste = rng.random(shape) < config.cluster_share
    u = rng.random(shape)
    common = np.searchsorted(np.cumsum(categories.popularity), u, side="right")
    own = np.empty(shape, dtype=np.int64)
    for c in range(config.clusters):
        own[cluster == c] = np.searchsorted(categories.cluster_cdf[c], u[cluster == c], side="right")
    drawn: NDArray[np.uint16] = np.minimum(np.where(own_taste, own, common), config.categories - 1).astype(
        np.uint16
    )
    return drawn


def _lives(
    config: WorldConfig, rng: np.random.Generator, shape: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(born, death, period, duty), each (U, K), in events; the horizon T is history_max."""
    horizon = float(config.history_max)
    u = rng.random(shape)
    evergreen = u < config.share_evergreen
    burst = u >= 1.0 - config.share_burst
    order = np.arange(shape[1])
    evergreen |= order < config.interests_evergreen
    # A one-off burst cannot be permanent; such a draw becomes periodic.
    permanent = np.broadcast_to(order < config.interests_permanent, shape)
    burst &= ~(evergreen | permanent)
    born = rng.uniform(-0.5 * horizon, horizon, shape)
    life = np.where(burst, config.burst_life, config.life_share * horizon) * rng.standard_exponential(shape)
    period = np.exp(rng.uniform(np.log(config.period_min), np.log(config.period_max), shape))
    duty = rng.uniform(config.duty_min, config.duty_max, shape)
    always = evergreen | burst
    return (
        np.where(permanent, -np.inf, born),
        np.where(permanent, np.inf, born + life),
        np.where(always, 1.0, period),
        np.where(always, 1.0, duty),
    )
