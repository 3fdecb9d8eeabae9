"""Which fixed shape scores a request: planned for a model and a history length, once.

One shape has one order of additions, so a request's logits are the same bits whoever shares its batch. For
that the shape must follow from the request alone: from its model, the history length that its ladder step
reads, its number of candidates, and how many behaviours it has; never from load or neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laser.models import RankingModel

# Histories go to the full length, a half or a quarter of it; shorter rungs than this save nothing.
_RUNGS, _SHORTEST = 3, 64
# Places for behaviours and candidates come in multiples of it, so that each request begins at a multiple
# of 64 bytes: a product of one row (HSTU, 73 behaviours, 1 candidate) added up in another order where they
# began between.
_MULTIPLE = 8
# Requests of a batch, at most, and (behaviour, candidate) pairs. On one core of a CPU batches of 16 were the
# best or near it for all models at 1,000 behaviours and 32 candidates, beyond what the cache holds they cost
# more; with fewer pairs a request 64 are, by a fifth to a half (DIN on 50 behaviours, 8 candidates). A GPU is
# full with some 2^23 pairs.
_MOST = {"cpu": 64, "cuda": 256}
_PAIRS = {"cpu": 1 << 19, "cuda": 1 << 24}
# Twice as many requests where they have no more pairs than this: a batch so small is mostly calls (DIN on 12
# and 25 behaviours, 8 candidates: a sixth less; on 50 nothing).
_SMALL = {"cpu": 1 << 15, "cuda": 0}
# Of a self-attention's pairs of behaviours, how many count as one of those: a GPU's fused kernel has none in
# memory.
_BEHAVIOURS = {"cpu": 1, "cuda": 8}
# What a call costs beside its places, in (behaviour, candidate) pairs: in service two short batches are
# dearer than one unless they save more. One core of a CPU, 32 candidates: 2.7 ms and 1.8 ms for each LASER
# of 1,000 behaviours, 1.4 and .2 for each DIN of 50; an H200 some .2 ms, and 5e9 pairs a second.
_CALL = {"cpu": 1 << 15, "cuda": 1 << 20}
# Requests for a call of a scorer: of those of one shape the last batch is not full. On a CPU the slowest
# models take seconds for as many, and between calls a run that is to end does.
_AT_A_TIME = {"cpu": 256, "cuda": 4096}


@dataclass(frozen=True, order=True)
class Shape:
    """A batch of fixed shape.

    Attributes:
        requests: B. history: L, places for behaviours. candidates: C.
    """

    requests: int
    history: int
    candidates: int

    def __str__(self) -> str:
        return f"{self.requests} x {self.history} x {self.candidates}"

    def smaller(self) -> Shape:
        """Half as many requests.

        Raises:
            ValueError: there is but one.
        """
        if self.requests < 2:
            raise ValueError(f"the shape {self} has one request, expected two or more to take fewer.")
        return Shape(self.requests // 2, self.history, self.candidates)


@dataclass(frozen=True)
class Plan:
    """The shapes of one (model, history length, candidates), shortest histories first."""

    shapes: tuple[Shape, ...]

    def of(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """(R,) which shape serves requests of so many behaviours; the last one those that are longer."""
        rungs = np.array([shape.history for shape in self.shapes[:-1]])
        return np.searchsorted(rungs, lengths)


def plan(model: RankingModel, history: int, candidates: int, device: str) -> Plan:
    """The shapes for requests of up to `history` behaviours.

    Args:
        device: "cpu" or "cuda".
    """
    lengths = (-(-history // 2**i) for i in range(_RUNGS))
    rungs = {_rounded(length) for i, length in enumerate(lengths) if i == 0 or length >= _SHORTEST}
    wide = _rounded(candidates)
    return Plan(tuple(Shape(_requests(model, rung, wide, device), rung, wide) for rung in sorted(rungs)))


def lanes(lengths: NDArray[np.int64], candidates: int, device: str) -> list[NDArray[np.int64]]:
    """A batch as it came in service, parted so that nobody's short history is padded to a much longer one.

    Args:
        lengths: (R,) behaviours of each request.

    Returns:
        Places in `lengths`, the longest histories' lane first.
    """
    order = np.argsort(-lengths, kind="stable")
    found, call = [], _CALL[device] / max(candidates, 1)
    while len(order) > 1:
        ordered = lengths[order]
        first = np.arange(1, len(order))
        costs = first * ordered[0] + (len(order) - first) * ordered[1:] + call
        cut = int(costs.argmin())
        if costs[cut] >= len(order) * ordered[0]:
            break
        found.append(order[: cut + 1])
        order = order[cut + 1 :]
    return [*found, order] if len(order) else found


def live_shape(
    model: RankingModel, requests: int, longest: int, full: int, candidates: int, device: str
) -> Shape:
    """A lane's shape: B the next power of two, L the full history or the last half of a half that holds it.

    Args:
        requests: in the lane.
        longest: its longest history.
        full: the longest history that is served.

    Returns:
        A shape that may hold fewer than all its requests: then it is used several times.
    """
    history = max(full, longest)
    while history // 2 >= max(longest, _SHORTEST):
        history = -(-history // 2)
    rung, wide = _rounded(history), _rounded(candidates)
    most = _requests(model, rung, wide, device)
    return Shape(min(1 << (requests - 1).bit_length(), most), rung, wide)


def live_shapes(model: RankingModel, most: int, full: int, candidates: int, device: str) -> list[Shape]:
    """All shapes that batches of up to `most` requests can ask for, those of the longest histories first."""
    lengths, history = [full], full
    while history // 2 >= _SHORTEST:
        lengths.append(history // 2)
        history = -(-history // 2)
    found: list[Shape] = []
    for longest in lengths:
        for exponent in range((most - 1).bit_length() + 1):
            shape = live_shape(model, 1 << exponent, longest, full, candidates, device)
            if shape not in found:
                found.append(shape)
    return found


def _rounded(places: int) -> int:
    return -(-places // _MULTIPLE) * _MULTIPLE


def at_a_time(device: str) -> int:
    """Requests worth gathering for a call."""
    return _AT_A_TIME[device]


def _requests(model: RankingModel, history: int, candidates: int, device: str) -> int:
    """B, a power of two."""
    beside = candidates + (history // _BEHAVIOURS[device] if model.SELF_ATTENTION else 0)
    pairs = max(history * beside, 1)
    most = min(_MOST[device], max(_PAIRS[device] // pairs, 1))
    if 2 * most * pairs <= _SMALL[device]:
        most *= 2
    return 1 << (most.bit_length() - 1)
