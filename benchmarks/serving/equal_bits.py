"""Whether a request's logits are the same bits whoever shares its batch, and in whatever place.

`differing` draws requests, scores them all together, then some of them among other neighbours, in another
order, alone, and in a scorer of their own, and counts those whose bits changed. The tests call it on the CPU,
`value_plane.py` on the device that it measures.
"""

from collections.abc import Callable
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from laser.models import ModelConfig
from laser.scoring.buckets import BucketScorer
from laser.scoring.requests import Requests


def drawn_requests(
    config: ModelConfig, lengths: NDArray[np.int64], candidates: int, rng: np.random.Generator
) -> Requests:
    """Requests with histories of these lengths, their columns as wide as a store's.

    Ages fall towards the newest behaviour; one request in eight has fewer candidates than there is room for.
    """
    count, behaviours = len(lengths), int(lengths.sum())
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    back = np.repeat(offsets[1:], lengths) - np.arange(behaviours)
    short = rng.random(count) < 0.125
    shape = (count, candidates)
    return Requests(
        category=rng.integers(config.categories, size=behaviours).astype(np.uint16),
        action=rng.integers(config.actions, size=behaviours).astype(np.uint8),
        scene=rng.integers(config.scenes, size=behaviours).astype(np.uint8),
        age_s=(back * rng.uniform(200.0, 5000.0, behaviours)).astype(np.float32),
        dwell_s=rng.integers(300, size=behaviours).astype(np.uint16),
        offsets=offsets,
        ad=rng.integers(config.ads, size=shape).astype(np.int32),
        ad_category=rng.integers(config.categories, size=shape).astype(np.uint16),
        position=np.zeros(shape, np.uint8),
        candidate_count=np.where(short, rng.integers(candidates + 1, size=count), candidates),
        hour=rng.uniform(0.0, 24.0, count).astype(np.float32),
        propensity=rng.normal(size=count).astype(np.float32),
    )


def beside(one: Requests, other: Requests) -> Requests:
    """The requests of both, in their order."""
    joined = {f.name: np.concatenate([getattr(one, f.name), getattr(other, f.name)]) for f in fields(one)}
    joined["offsets"] = np.concatenate([one.offsets, one.offsets[-1] + other.offsets[1:]])
    return Requests(**joined)


def differing(
    make: Callable[[], BucketScorer], history: int, requests: Requests, rng: np.random.Generator
) -> dict[str, int]:
    """How many requests' bits changed, by what was changed around them.

    Args:
        make: a scorer of the model; another call makes what another process would.
        history: that the step reads.
        requests: at least two.
        rng: draws places and neighbours.
    """
    scorer, count = make(), len(requests)
    expected = scorer.score(requests, history).logits

    def changed(found: NDArray[np.float32], rows: NDArray[np.int64]) -> int:
        return int((found.view(np.uint32) != expected[rows].view(np.uint32)).any(axis=1).sum())

    order = rng.permutation(count)
    some = np.sort(rng.choice(count, size=max(count // 3, 1), replace=False))
    config = scorer.snapshot.model.config
    lengths = rng.integers(history + 1, size=len(some))
    strangers = drawn_requests(config, lengths, requests.candidates, rng)
    ahead = beside(strangers, requests.take(some, history))
    alone = rng.choice(count, size=min(count, 4), replace=False)
    return {
        "in another place": changed(scorer.score(requests.take(order, history), history).logits, order),
        "among strangers": changed(scorer.score(ahead, history).logits[len(some) :], some),
        "among fewer": changed(make().score(requests.take(some, history), history).logits, some),
        "alone": sum(
            changed(scorer.score(requests.take(np.array([row]), history), history).logits, np.array([row]))
            for row in alone
        ),
    }
