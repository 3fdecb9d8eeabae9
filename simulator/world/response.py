"""The truth: how probable a click and a conversion are, for any user, moment, ad and position.

click logit = b0 + b_u + q_ad + q_cat - slope position + amplitude sqrt2 sin(2 pi hour / 24)
              + bA a + bR 1[ad's category = first topic of the session under way]
a = min(cap, sum over interests k of r_k w_k s_k), s = 1 active, 0.7 dormant, 0 dead
r_k = 1 where c_k is the ad's category, `related` where it is another of its department, else 0
conversion logit = cvr0 + offset of the ad + cvr_affinity a

Letters: n requests, k ads of each, K interests.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.world.catalogue import AdTruth, Catalogue
from simulator.world.clock import hour_of_day
from simulator.world.config import WorldConfig
from simulator.world.generate import Moments
from simulator.world.users import ACTIVE, DORMANT, UserTable

#: Rows handled at once: the (rows, k, K) comparison then stays in a few MiB.
_ROWS = 4096


def affinity(
    config: WorldConfig, users: UserTable, moments: Moments, category: NDArray[np.uint16]
) -> NDArray[np.float64]:
    """Affinity a (n, k) of each moment's user to the categories (n, k) at that moment."""
    strength = np.zeros(3, dtype=np.float32)
    strength[DORMANT], strength[ACTIVE] = config.dormant_click, 1.0
    total = np.zeros(category.shape)
    for begin in range(0, len(category), _ROWS):
        part = slice(begin, begin + _ROWS)
        owners = users.rows(moments.user[part])
        felt = owners.weight * strength[owners.states(moments.event[part].astype(np.int64))]
        # One interest after another: no (n, k, K) array is ever held.
        for j in range(felt.shape[1]):
            own = owners.category[:, j : j + 1]
            match = category[part] == own
            total[part] += np.where(match, felt[:, j : j + 1], np.float32(0.0))
            if config.related > 0:
                near = (category[part] // config.department == own // config.department) & ~match
                total[part] += np.where(near, config.related * felt[:, j : j + 1], 0.0)
    return np.minimum(total, config.affinity_cap)


def response(
    config: WorldConfig,
    users: UserTable,
    catalogue: Catalogue,
    truth: AdTruth,
    moments: Moments,
    ads: NDArray[np.int64],
    position: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """True (p_click, p_convert given a click), each f8 (n, k), of ads (n, k) at positions (n, k)."""
    category = catalogue.category[ads]
    a = affinity(config, users, moments, category)
    hour = hour_of_day(moments.time_s).astype(np.float64)
    of_request = (
        config.b0
        + users.click_bias[moments.user].astype(np.float64)
        + config.hour_amplitude * np.sqrt(2.0) * np.sin(2.0 * np.pi * hour / 24.0)
    )
    click = (
        of_request[:, None]
        + truth.click_logit[ads]
        - config.position_slope * position
        + config.bA * a
        + config.bR * (category == moments.topic[:, None])
    )
    conversion = truth.conversion_logit[ads] + config.cvr_affinity * a
    return _logistic(click), _logistic(conversion)


def _logistic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    p: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-x))
    return p
