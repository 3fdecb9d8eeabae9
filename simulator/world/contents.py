"""What an event is about and what the user did: category, item, action, scene and dwell.

Letters: S sessions, E events of a block of users, ordered by user, then session, then time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.world.catalogue import ITEM_ID_BASE, Categories, next_steps
from simulator.world.config import WorldConfig
from simulator.world.users import UserTable

#: P(short), P(click), P(deep) of a genuine event and of a noise event.
ACTION_MIX = np.array([[0.25, 0.50, 0.25], [0.70, 0.27, 0.03]])
#: P(feed), P(video), P(search): people search for what they care about, noise comes by feed.
SCENE_MIX = np.array([[0.50, 0.35, 0.15], [0.62, 0.33, 0.05]])
#: Median dwell of a short, click and deep behaviour, seconds; lognormal with sd DWELL_SD.
DWELL_MEDIAN_S = np.array([2.5, 15.0, 70.0], dtype=np.float32)
DWELL_SD = 0.7
NO_TOPIC = np.uint16(65_535)  #: topic of a session whose user has no living interest
_SIXTEEN = 65_536

U2 = NDArray[np.uint16]
Bools = NDArray[np.bool_]
#: A generator of its own for a stage of the block: what it draws moves no other draw.
Stream = Callable[[str], np.random.Generator]


@dataclass(frozen=True)
class Events:
    """Per event (E,): user row in the block, session, index on the event axis, time (s, whole)."""

    user: NDArray[np.int64]
    session: NDArray[np.int64]
    index: NDArray[np.int64]
    time_s: NDArray[np.int64]


def draw_contents(
    config: WorldConfig,
    categories: Categories,
    users: UserTable,
    events: Events,
    topics: U2,
    rng: np.random.Generator,
    stream: Stream,
) -> tuple[NDArray[np.uint64], U2, NDArray[np.uint8], NDArray[np.uint8], U2]:
    """item_id, category, action, scene, dwell_s of each event (E,).

    Args:
        config, categories: of the world.
        users: of the block.
        events: what happens when.
        topics: (S, 2) of each session, or NO_TOPIC.
        rng: draws what every world has.
        stream: draws what only some have.
    """
    n = len(events.user)
    # Four 16-bit uniforms per event: probabilities are rounded to 1/65,536.
    kind, which, act, where = rng.integers(0, _SIXTEEN, (4, n), dtype=np.uint16)
    first_cut = np.uint32(round(config.topic_first * _SIXTEEN))
    second_cut = np.uint32(round((config.topic_first + config.topic_second) * _SIXTEEN))
    topic = np.where(kind < first_cut, topics[events.session, 0], topics[events.session, 1])
    noise = (kind >= second_cut) | (topic == NO_TOPIC)
    other = _quantiles(categories.popularity)[which]
    if config.noise_own > 0:
        other = _own_noise(config, users, events, other, stream("noise-own"))
    category = np.where(noise, other, topic)
    if config.follow_share > 0:
        category, noise = _followed(config, events, category, noise, stream("follow"))
    action = _mixed(ACTION_MIX, noise, act)
    scene = _mixed(SCENE_MIX, noise, where)

    n_items = config.items_per_category
    rank = rng.random(n, dtype=np.float32) ** np.float32(1.0 / (1.0 - config.item_zipf)) * n_items
    item = np.minimum(rank.astype(np.int64), n_items - 1) + category.astype(np.int64) * n_items + ITEM_ID_BASE
    if config.item_repeat > 0:
        item = _repeated(config, events.user, category, item, stream("item-repeat"))
    spread = np.exp(np.float32(DWELL_SD) * rng.standard_normal(n, dtype=np.float32))
    dwell = np.minimum(DWELL_MEDIAN_S[action] * spread, np.float32(3600.0))
    return item.astype(np.uint64), category, action, scene, np.rint(dwell).astype(np.uint16)


def _quantiles(popularity: NDArray[np.float64]) -> U2:
    """Category at each of 65,536 quantiles."""
    at = (np.arange(_SIXTEEN) + 0.5) / _SIXTEEN
    found = np.searchsorted(np.cumsum(popularity), at, side="right")
    return np.minimum(found, len(popularity) - 1).astype(np.uint16)


def _own_noise(
    config: WorldConfig, users: UserTable, events: Events, other: U2, rng: np.random.Generator
) -> U2:
    """What noise is about (E,): for a share of it one of the user's interests, each alike, else `other`."""
    own, which = rng.random((2, len(other)), dtype=np.float32)
    interest = np.minimum((which * config.interests).astype(np.int64), config.interests - 1)
    return np.where(own < config.noise_own, users.category[events.user, interest], other)


def _followed(
    config: WorldConfig, events: Events, category: U2, noise: Bools, rng: np.random.Generator
) -> tuple[U2, Bools]:
    """Category and noise (E,) where some events follow from the one before, which they are then like."""
    place = np.arange(len(category))
    first = np.diff(events.session, prepend=-1) != 0
    follows = (rng.random(len(category), dtype=np.float32) < config.follow_share) & ~first
    origin = np.maximum.accumulate(np.where(follows, 0, place))
    return next_steps(config, category[origin], place - origin), noise[origin]


def _repeated(
    config: WorldConfig,
    user: NDArray[np.int64],
    category: U2,
    item: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Items (E,) where some are the user's last in their category."""
    order = np.lexsort((category, user))
    first = (np.diff(user[order], prepend=-1) != 0) | (
        np.diff(category[order].astype(np.int64), prepend=-1) != 0
    )
    repeats = (rng.random(len(item), dtype=np.float32) < config.item_repeat) & ~first
    origin = np.maximum.accumulate(np.where(repeats, 0, np.arange(len(item))))
    found = np.empty_like(item)
    found[order] = item[order[origin]]
    return found


def _mixed(mix: NDArray[np.float64], noise: Bools, u: U2) -> NDArray[np.uint8]:
    """A code per event from the genuine row or the noise row of a mix (2, 3)."""
    cuts = np.rint(np.cumsum(mix, axis=1) * _SIXTEEN).astype(np.uint32)
    row = noise.astype(np.int8)
    code: NDArray[np.uint8] = (u >= cuts[row, 0]).astype(np.uint8) + (u >= cuts[row, 1]).astype(np.uint8)
    return code
