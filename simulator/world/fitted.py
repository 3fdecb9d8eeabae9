"""A world fitted on a real log: its users and ads are real, its truth is a regression on the whole log.

The truth of a request and an ad is a logit, for a click and for a conversion given a click,

    logit = bias + video + author + category + scene + hour (+ position) + weights · features
    features = (propensity, log(1 + behaviours), log(1 + clicks in the ad's category),
                log(1 + skips in the ad's category)),

counts over the user's whole history before the request. It shares nothing with any arm's model:
no embedding, no attention, no limit on the history. Positions matter where the log records them.

Letters: n requests, k ads of each, A ads, F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.draws import normal
from simulator.traffic.behaviours import CLICK, Behaviours
from simulator.traffic.log import LogImpressions
from simulator.traffic.trace import Requests
from simulator.world.catalogue import Catalogue
from simulator.world.protocol import Sizes

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

FEATURES = ("propensity", "log_behaviours", "log_category_clicks", "log_category_skips")
TABLES = ("video", "author", "category", "scene", "hour")
POSITION = "position"  #: a further table, of logs that record it
TCPA_MEDIAN, TCPA_SD = 20.0, 0.4  #: of the log-normal tCPA, as in the generated world
_FLAT = 1 << 22  # behaviours counted at once


@dataclass(frozen=True)
class FittedLogit:
    """One outcome's regression: a weight for each feature, an effect for each id of each table."""

    bias: float
    weights: F8  #: (F,)
    tables: dict[str, F8]  #: by the names in TABLES, and maybe POSITION

    def __call__(self, ids: dict[str, I8], features: F8) -> F8:
        """P(outcome) for ids (...) by table and features (..., F); ids broadcast."""
        # One feature after another: a matrix product's order of summation differs between machines.
        logit: F8 = np.full(features.shape[:-1], self.bias)
        for name, effects in self.tables.items():
            logit = logit + effects[ids[name]]
        for f, weight in enumerate(self.weights):
            logit = logit + weight * features[..., f]
        p: F8 = 1.0 / (1.0 + np.exp(-logit))
        return p


@dataclass(frozen=True)
class FittedResponse:
    """The truth of a log's world: P(click | shown) and P(conversion | click)."""

    click: FittedLogit
    convert: FittedLogit


@dataclass(frozen=True)
class LogWorld:
    """A world whose traffic is a real log; see `simulator.world.protocol.ExperimentWorld`.

    Attributes beside the protocol's:
        scene: (R,) the scene each request of the trace came from.
        author: (A,) row of each ad's author.
        truth: the fitted response.
    """

    sizes: Sizes
    catalogue: Catalogue
    requests: Requests
    log: LogImpressions
    behaviours: Behaviours
    scene: NDArray[np.uint8]
    author: I8
    truth: FittedResponse

    def response(self, rows: ArrayLike, ads: ArrayLike, position: ArrayLike) -> tuple[F8, F8]:
        """The fitted truth; see the protocol. A position beyond the log's last counts as its last."""
        row, ad = np.asarray(rows), np.asarray(ads)
        _check(row, len(self.requests), "row")
        _check(ad, self.sizes.ads, "ad")
        _check(np.asarray(position), 2**31, "position")
        if row.ndim != 1 or ad.ndim not in (1, 2) or len(ad) != len(row):
            raise ValueError(
                f"Rows have shape {row.shape} and ads {ad.shape}, expected (n,) and (n, k) or (n,). "
                "Give one row of ads for each request."
            )
        flat = ad.astype(np.int64).reshape(len(row), -1)
        at = np.broadcast_to(np.asarray(position, np.int64), ad.shape).reshape(len(row), -1)
        click, convert = self._truth(row.astype(np.int64), flat, at)
        return click.reshape(ad.shape), convert.reshape(ad.shape)

    def _truth(self, row: I8, ad: I8, position: I8) -> tuple[F8, F8]:
        requests = self.requests
        category = self.catalogue.category[ad].astype(np.int64)
        user = np.searchsorted(self.behaviours.users, requests.user_id[row])
        features = request_features(
            self.behaviours, user, requests.arrival_s[row], requests.propensity[row], category
        )
        ids = {
            "video": ad,
            "author": self.author[ad],
            "category": category,
            "scene": self.scene[row].astype(np.int64)[:, None],
            "hour": np.floor(requests.hour[row]).astype(np.int64)[:, None],
        }
        if POSITION in self.truth.click.tables:
            ids[POSITION] = np.minimum(position, len(self.truth.click.tables[POSITION]) - 1)
        return self.truth.click(ids, features), self.truth.convert(ids, features)


def request_features(
    behaviours: Behaviours,
    user_row: I8,
    time_s: F8,
    propensity: NDArray[np.float32],
    category: I8,
) -> F8:
    """The features of requests and categories, (n, k, F) f8; only whole seconds before the request count.

    Args:
        user_row: (n,) rows in `behaviours.users`.
        time_s, propensity: (n,) of the requests.
        category: (n, k).
    """
    # Behaviours carry whole seconds: without the floor a request would see what it itself led to.
    known = behaviours.count_before(user_row, np.floor(time_s))
    start = behaviours.offsets[user_row]
    features = np.empty((*category.shape, len(FEATURES)))
    features[..., 0] = propensity[:, None]
    features[..., 1] = np.log1p(known)[:, None]
    for rows in _chunks(known):
        clicks, skips = _category_counts(behaviours, start[rows], known[rows], category[rows])
        features[rows, :, 2], features[rows, :, 3] = np.log1p(clicks), np.log1p(skips)
    return features


def _category_counts(behaviours: Behaviours, start: I8, known: I8, category: I8) -> tuple[I8, I8]:
    """(n, k) clicked and skipped behaviours in each category among the first `known` after `start`."""
    owner = np.repeat(np.arange(len(start)), known)
    flat = np.arange(len(owner)) - np.repeat(np.cumsum(known) - known, known) + np.repeat(start, known)
    seen = behaviours.category[flat].astype(np.int64)
    clicked = behaviours.action[flat] >= CLICK
    width = int(max(category.max(initial=0), seen.max(initial=0))) + 1
    cell, size = owner * width + seen, len(start) * width
    rows = np.arange(len(start))[:, None]
    clicks = np.bincount(cell[clicked], minlength=size).reshape(-1, width)[rows, category]
    skips = np.bincount(cell[~clicked], minlength=size).reshape(-1, width)[rows, category]
    return clicks, skips


def _chunks(known: I8) -> list[slice]:
    """Consecutive rows whose histories together stay in memory."""
    total = np.cumsum(known + 64)  # the tables of categories take room too
    edges = np.searchsorted(total, np.arange(_FLAT, int(total[-1]) if len(total) else 0, _FLAT)) + 1
    bounds = np.unique(np.concatenate([[0], edges, [len(known)]]))
    return [slice(int(a), int(b)) for a, b in pairwise(bounds)]


def draw_tcpa(seed: int, advertisers: int) -> F8:
    """(advertisers,) target costs per conversion [currency], log-normal: a log does not record them."""
    return TCPA_MEDIAN * np.exp(TCPA_SD * normal(seed, "tcpa", np.arange(advertisers)))


def _check(values: NDArray[Any], size: int, what: str) -> None:
    if values.size and (values.dtype.kind not in "iu" or int(values.min()) < 0 or int(values.max()) >= size):
        raise ValueError(
            f"The {what} numbers span {values.min()} to {values.max()} ({values.dtype}), "
            f"expected whole numbers in [0, {size}). Check what they index."
        )
