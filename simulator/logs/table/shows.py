"""What a log can show: how much history can matter in its truth, and to how many of its requests.

A log's truth may hold no effect of history at all, and its users may have none; an experiment on it then
tells arms of different history lengths apart by noise alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.draws import uniform
from simulator.logs.real_log import split_days
from simulator.logs.table.convert import Converted
from simulator.scratch import slices_of, taken
from simulator.traffic.examples import history_slices
from simulator.traffic.trace import Requests
from simulator.world.fitted import FEATURES, POSITION, FittedResponse, request_features

F8 = NDArray[np.float64]

LENGTHS = (10, 50, 200, 1000)  #: of histories, behaviours
_REQUESTS = 20_000  # a gain of .1 % of the CTR is then some five standard errors
_AT_ONCE = 1 << 10  # requests whose histories are looked at together
_SEED = 0
_OF_HISTORY = [FEATURES.index(name) for name in ("log_category_clicks", "log_category_skips")]


class Shows:
    """What a log can show, found while its requests pass.

    Args:
        log: the log.
    """

    def __init__(self, log: Converted) -> None:
        self._log, self._first_day = log, split_days(log.rows.days).experiment
        self._asked, self._longer = 0, np.zeros(len(LENGTHS), np.int64)
        self._draws = np.empty(0)
        self._chosen = dict[str, NDArray[Any]]()  # columns of the requests with the lowest draws

    def requests(self) -> Iterator[Requests]:
        """All requests of the log, part by part."""
        for part in self._log.requests():
            self._look(part)
            yield part

    def _look(self, part: Requests) -> None:
        rows = np.flatnonzero(part.day >= self._first_day)
        if len(rows) == 0:
            return
        behaviours = self._log.rows.behaviours
        start, end = history_slices(behaviours, part.user_id[rows], part.arrival_s[rows], 60.0)
        self._asked += len(rows)
        self._longer += [int((end - start > n).sum()) for n in LENGTHS]
        draws = np.concatenate([self._draws, uniform(_SEED, "shows", part.request_id[rows])])
        best = np.sort(np.argsort(draws)[:_REQUESTS])
        old, new = best[best < len(self._draws)], rows[best[best >= len(self._draws)] - len(self._draws)]
        own = vars(part.take(new))
        kept = {name: column[old] for name, column in self._chosen.items()}
        self._chosen = {n: np.concatenate([kept[n], c]) if kept else c for n, c in own.items()}
        self._draws = draws[best]

    def found(self, response: FittedResponse) -> dict[str, Any]:
        """For the manifest, of the experiment's days by the default split, once all requests have passed.

        Returns:
            "history_can_move_ctr": see `history_can_move`; "requests": how many it was found from;
            "longer_than": the share of requests that find more behaviours than so many.
        """
        chosen = Requests(**self._chosen)
        longer = zip(LENGTHS, self._longer.tolist(), strict=True)
        return {
            "history_can_move_ctr": history_can_move(self._log, response, chosen),
            "requests": len(chosen),
            "longer_than": {str(n): rows / self._asked for n, rows in longer},
        }


def history_can_move(log: Converted, response: FittedResponse, requests: Requests) -> float:
    """The most that knowing histories can add to the true CTR of the best ad, as a share of it.

    The best candidate with everything known, over the best with everything known but the user's history:
    in its place stands what the history of the others says of the candidate's category. It is a bound: no
    arm knows the truth.

    Args:
        log, response: the log and its truth.
        requests: some of the log's.
    """
    rows = log.rows
    ads = requests.candidates.astype(np.int64)
    category = rows.ads.category[ads].astype(np.int64)
    features = _features(log, requests, category)
    first = taken(log.first, requests.request_id.astype(np.int64))
    ids = {
        "video": ads,
        "author": rows.ads.author[ads],
        "category": category,
        "scene": taken(rows.impressions.scene, first).astype(np.int64)[:, None],
        "hour": np.floor(requests.hour).astype(np.int64)[:, None],
        POSITION: np.zeros((1, 1), np.int64),
    }
    p = response.click(ids, features)
    blind = features.copy()
    for column in _OF_HISTORY:
        total = np.bincount(category.ravel(), features[..., column].ravel(), rows.categories)
        mean = total / np.maximum(np.bincount(category.ravel(), minlength=rows.categories), 1)
        blind[..., column] = mean[category]
    guess = response.click(ids, blind)
    at = np.arange(len(p))
    known, unknown = p.max(axis=1).mean(), p[at, guess.argmax(axis=1)].mean()
    return float(known / unknown - 1.0)


def _features(log: Converted, requests: Requests, category: NDArray[np.int64]) -> F8:
    """(n, C, F) as the response reads them."""
    behaviours = log.rows.behaviours
    user = np.searchsorted(behaviours.users, requests.user_id)
    features = np.empty((*category.shape, len(FEATURES)))
    # By user, so that what is looked at of histories in files lies together.
    order = np.argsort(user, kind="stable")
    for part in slices_of(len(order), _AT_ONCE, *behaviours.columns.values()):
        some = order[part]
        features[some] = request_features(
            behaviours, user[some], requests.arrival_s[some], requests.propensity[some], category[some]
        )
    return features
