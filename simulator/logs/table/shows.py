"""What a log can show: how much history can matter in its truth, and to how many of its requests.

A log's truth may hold no effect of history at all, and its users may have none; an experiment on it then
tells arms of different history lengths apart by noise alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.draws import uniform
from simulator.logs.real_log import RealLog, request_scenes, split_days
from simulator.traffic.examples import history_slices
from simulator.world.fitted import FEATURES, POSITION, FittedResponse, request_features

F8 = NDArray[np.float64]

LENGTHS = (10, 50, 200, 1000)  #: of histories, behaviours
_REQUESTS = 20_000  # a gain of .1 % of the CTR is then some five standard errors
_SEED = 0
_OF_HISTORY = [FEATURES.index(name) for name in ("log_category_clicks", "log_category_skips")]


def what_it_shows(log: RealLog, response: FittedResponse) -> dict[str, Any]:
    """For the manifest, of the experiment's days by the default split.

    Returns:
        "history_can_move_ctr": see `history_can_move`; "requests": how many it was found from;
        "longer_than": the share of requests that find more behaviours than so many.
    """
    requests = log.requests
    rows = np.flatnonzero(requests.day >= split_days(log.days).experiment)
    chosen = rows[np.argsort(uniform(_SEED, "shows", requests.request_id[rows]))[:_REQUESTS]]
    chosen.sort()
    start, end = history_slices(log.behaviours, requests.user_id[rows], requests.arrival_s[rows], 60.0)
    return {
        "history_can_move_ctr": history_can_move(log, response, chosen),
        "requests": len(chosen),
        "longer_than": {str(n): float(np.mean(end - start > n)) for n in LENGTHS},
    }


def history_can_move(log: RealLog, response: FittedResponse, rows: NDArray[np.int64]) -> float:
    """The most that knowing histories can add to the true CTR of the best ad, as a share of it.

    The best candidate with everything known, over the best with everything known but the user's history:
    in its place stands what the history of the others says of the candidate's category. It is a bound: no
    arm knows the truth.

    Args:
        log, response: the log and its truth.
        rows: requests of the log.
    """
    requests = log.requests.take(rows)
    ads = requests.candidates.astype(np.int64)
    category = log.ads.category[ads].astype(np.int64)
    user = np.searchsorted(log.behaviours.users, requests.user_id)
    features = request_features(log.behaviours, user, requests.arrival_s, requests.propensity, category)
    scene = request_scenes(log.impressions, requests).astype(np.int64)
    ids = {
        "video": ads,
        "author": log.ads.author[ads],
        "category": category,
        "scene": scene[:, None],
        "hour": np.floor(requests.hour).astype(np.int64)[:, None],
        POSITION: np.zeros((1, 1), np.int64),
    }
    p = response.click(ids, features)
    blind = features.copy()
    for column in _OF_HISTORY:
        total = np.bincount(category.ravel(), features[..., column].ravel(), log.categories)
        mean = total / np.maximum(np.bincount(category.ravel(), minlength=log.categories), 1)
        blind[..., column] = mean[category]
    guess = response.click(ids, blind)
    at = np.arange(len(p))
    known, unknown = p.max(axis=1).mean(), p[at, guess.argmax(axis=1)].mean()
    return float(known / unknown - 1.0)
