"""The policies of the compiled timing plane: twins of `policy.py`, `goodput.py` and `ladder.py`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.serving.goodput import FULL, HALF, LOWER, QUARTER
from simulator.serving.predictions import LEVELS
from simulator.serving.queues import between, draw, hold_s, inlined, insert, remove_oldest

FIFO, GOODPUT, LADDER = 0, 1, 2
GIVEN_UP = -1


class Line(NamedTuple):
    """Everything of a run that changes; R requests, K steps with a model, C scorers.

    Attributes:
        links, ends, counts: the lists of who waits for a scorer; see `queues.py`.
        place: (R,) of the history that a request has, then of what is read of it, or to be scored.
        step, batch: (R,).
        times_s: (6, R) store start and end, transport end, scoring start and end, completion.
        window: rows that are weighed for a batch.
        levels_s: (LEVELS,) of the batch that is weighed.
        alone_s: (H, 2) the least that any step takes alone: at the fastest, and in the middle.
        committed: (K,) requests on their way to a scorer, by step.
        free_at: (C,) predicted end of what each scorer does; NaN is idle.
    """

    links: NDArray[np.int32]
    ends: NDArray[np.int64]
    counts: NDArray[np.int64]
    place: NDArray[np.int32]
    step: NDArray[np.int8]
    batch: NDArray[np.int32]
    times_s: NDArray[np.float64]
    window: NDArray[np.int64]
    levels_s: NDArray[np.float64]
    alone_s: NDArray[np.float64]
    committed: NDArray[np.int64]
    free_at: NDArray[np.float64]


STORE_START, STORE_END, READY, SCORE_START, SCORE_END, DONE = range(6)


@inlined
def give_up(line: Any, row: int, at_s: float, arrival_s: float) -> None:
    """Answer with the prior order."""
    line.step[row] = GIVEN_UP
    line.times_s[DONE, row] = max(at_s, arrival_s)


# Goodput


@inlined
def score_alone(line: Any, t: Any) -> None:
    """Fill `alone_s`; see `Goodput._score_alone_s`."""
    for place in range(len(t.histories)):
        line.alone_s[place, 0] = line.alone_s[place, 1] = np.inf
        for k in range(t.cut.shape[0]):
            _levels(line.levels_s, t, k, t.cut[k, place], 1)
            line.alone_s[place, 0] = min(line.alone_s[place, 0], line.levels_s[0])
            line.alone_s[place, 1] = min(line.alone_s[place, 1], line.levels_s[HALF])


@inlined
def _levels(levels_s: Any, t: Any, step: int, place: int, size: int) -> None:
    """See `ProfilePredictions.score_levels_s`."""
    shares, sides = t.grids.history_share[step + 2, place], t.grids.history[step + 2, place]
    low, high = t.known.levels_s[step, sides[0], size], t.known.levels_s[step, sides[1], size]
    for i in range(LEVELS):
        levels_s[i] = shares[0] * low[i]
        if shares[1] != 0.0:
            levels_s[i] = levels_s[i] + shares[1] * high[i]


@inlined
def goodput_turn(line: Any, t: Any, row: int, deadline_s: float, now: float, others_wait: bool) -> float:
    """See `Goodput.at_turn`; the moment at which the request is given up, NaN to read it."""
    place = t.cut[0, line.place[row]]
    fastest_s = draw(t.grids, 0, place, 1, 0.0) + draw(t.grids, 1, place, 1, 0.0)
    last_s = deadline_s - (fastest_s + line.alone_s[place, 0])
    if last_s < now:
        return float(last_s)
    if others_wait:
        u = HALF / LEVELS
        median_s = draw(t.grids, 0, place, 1, u) + draw(t.grids, 1, place, 1, u)
        if now + (median_s + line.alone_s[place, 1]) > deadline_s:
            return now
    return float(np.nan)


@inlined
def goodput_batch(line: Any, t: Any, arrival_s: Any, budget_s: float, max_batch: int, wait_s: float, now: float) -> tuple[int, int]:  # fmt: skip  # noqa: E501
    """See `Goodput.next_batch`: (step, size), the passed over removed; size 0 to stay idle."""
    while line.counts[0]:
        row = line.ends[0, 0]
        last_s = arrival_s[row] + budget_s - line.alone_s[line.place[row], 0]
        if last_s >= now:
            break
        give_up(line, row, max(last_s, line.times_s[READY, row]), arrival_s[row])
        remove_oldest(line.links, line.ends, line.counts, 0)
    if not line.counts[0]:
        return 0, 0
    waiting, row = 0, line.ends[0, 0]
    while row >= 0 and waiting < 2 * max_batch:
        line.window[waiting] = row
        row = line.links[row, 1]
        waiting += 1
    hold = hold_s(line.links, line.ends, line.counts, 0, line.times_s[READY], max_batch, wait_s, now)
    if hold > 0.0 and _may_wait(line, t, waiting, arrival_s, budget_s, now, now + hold):
        return 0, 0
    step, skipped, size = _best_plan(line, t, waiting, arrival_s, budget_s, max_batch, now)
    for _ in range(skipped):
        row = remove_oldest(line.links, line.ends, line.counts, 0)
        give_up(line, row, now, arrival_s[row])
    for row in line.window[skipped : skipped + size]:
        line.place[row] = t.cut[step, line.place[row]]
    return step, size


@inlined
def _may_wait(line: Any, t: Any, waiting: int, arrival_s: Any, budget_s: float, now: float, later: float) -> bool:  # fmt: skip  # noqa: E501
    """Whether nobody in the batch loses a chance until later."""
    longest = 0
    for row in line.window[:waiting]:
        longest = max(longest, line.place[row])
    _levels(line.levels_s, t, 0, t.cut[0, longest], waiting)
    for row in line.window[:waiting]:
        deadline_s = arrival_s[row] + budget_s
        if _chance(line.levels_s, deadline_s - later) < _chance(line.levels_s, deadline_s - now):
            return False
    return True


@inlined
def _chance(levels_s: Any, slack_s: float) -> int:
    """How many of the levels lie within the slack."""
    low, high = 0, LEVELS
    while low < high:
        middle = (low + high) // 2
        if slack_s < levels_s[middle]:
            high = middle
        else:
            low = middle + 1
    return low


@inlined
def _worth(line: Any, first: int, size: int, arrival_s: Any, budget_s: float, now: float) -> int:
    """Sum of chances; deadlines ascend with age, so the levels are gone through once."""
    total, level = 0, 0
    for i in range(first, first + size):
        slack_s = arrival_s[line.window[i]] + budget_s - now
        while level < LEVELS and line.levels_s[level] <= slack_s:
            level += 1
        total += level
    return total


@inlined
def _best_plan(line: Any, t: Any, waiting: int, arrival_s: Any, budget_s: float, max_batch: int, now: float) -> tuple[int, int, int]:  # fmt: skip  # noqa: E501
    """See `Goodput._best_plan`. A batch that could not be worth more at best is not looked at."""
    best_step, best_skipped, best_size, best = 0, 0, 1, -1
    for step in range(t.cut.shape[0]):
        counts = FULL if step == 0 else LOWER
        skipped = 0
        while skipped < min(waiting, max_batch):
            most = min(waiting - skipped, max_batch)
            too_good = HALF if line.counts[0] - skipped <= max_batch else QUARTER
            size, longest, seen = 1, 0, 0
            while True:
                while seen < size:
                    longest = max(longest, line.place[line.window[skipped + seen]])
                    seen += 1
                if counts * LEVELS * size > best:
                    _levels(line.levels_s, t, step, t.cut[step, longest], size)
                    ahead_s = arrival_s[line.window[max(skipped - 1, 0)]] + budget_s - now
                    if not skipped or _chance(line.levels_s, ahead_s) < too_good:
                        worth = counts * _worth(line, skipped, size, arrival_s, budget_s, now)
                        if worth > best:
                            best_step, best_skipped, best_size, best = step, skipped, size, worth
                if size == most:
                    break
                size = min(most, size + max(1, 2 * size // 5))
            skipped += max(1, skipped // 2)
    return best_step, best_skipped, best_size


# Ladder


@inlined
def _own_s(t: Any, step: int, place: int, size: int) -> tuple[float, float]:
    """See `Ladder.own_s`."""
    mean_s = between(t.grids, step, place, size, t.known.mean_s)
    spread_s = max(between(t.grids, step, place, size, t.known.high_s) - mean_s, 0.0)
    fetch_spread_s = t.known.fetch_s[place, 1]
    return t.known.fetch_s[place, 0], mean_s + np.sqrt(fetch_spread_s * fetch_spread_s + spread_s * spread_s)


@inlined
def ladder_turn(
    line: Any, t: Any, row: int, deadline_s: float, max_batch: int, wait_s: float, now: float
) -> tuple[int, float]:
    """See `Ladder.at_turn`: (step, NaN), or (GIVEN_UP, the moment)."""
    steps, has = t.cut.shape[0], line.place[row]
    if deadline_s == np.inf:
        line.committed[0] += 1
        return 0, np.nan
    cheapest_s = np.inf
    for k in range(steps):
        own = _own_s(t, k, t.cut[k, has], 1)
        cheapest_s = min(cheapest_s, own[0] + own[1])
    if deadline_s - cheapest_s < now:
        return GIVEN_UP, deadline_s - cheapest_s
    free_s, queued_s, scorers = _scorer_wait_s(line, now), 0.0, len(line.free_at)
    for k in range(steps):
        if line.committed[k]:
            whole, rest = line.committed[k] // max_batch, line.committed[k] % max_batch
            queued_s += whole * t.known.batch_s[k, max_batch] + t.known.batch_s[k, rest]
    budget_s = deadline_s - now - wait_s
    for k in range(steps):
        ahead = line.committed[k] % max_batch
        waits_s = free_s + (queued_s - t.known.batch_s[k, ahead]) / scorers
        own = _own_s(t, k, t.cut[k, has], ahead + 1)
        if max(own[0], waits_s) + own[1] <= budget_s:
            line.committed[k] += 1
            return k, np.nan
    return GIVEN_UP, now


@inlined
def _scorer_wait_s(line: Any, now: float) -> float:
    least = np.inf
    for at in line.free_at:
        if np.isnan(at):
            return 0.0
        least = min(least, at)
    return max(0.0, least - now)


@inlined
def ladder_batch(line: Any, t: Any, arrival_s: Any, budget_s: float, max_batch: int, wait_s: float, now: float) -> tuple[int, int]:  # fmt: skip  # noqa: E501
    """See `Ladder.next_batch`: (step, size); size 0 to stay idle."""
    while True:
        step = -1
        for k in range(t.cut.shape[0]):
            held = hold_s(line.links, line.ends, line.counts, k, line.times_s[READY], max_batch, wait_s, now)
            if line.counts[k] and held == 0.0 and (step < 0 or line.ends[k, 0] < line.ends[step, 0]):
                step = k
        if step < 0:
            return 0, 0
        oldest = line.ends[step, 0]
        deadline_s = arrival_s[oldest] + budget_s
        size = _fitting(line, t, step, deadline_s, max_batch, now)
        if size:
            return step, size
        remove_oldest(line.links, line.ends, line.counts, step)
        _demote(line, t, oldest, step, arrival_s[oldest], deadline_s, max_batch, now)


@inlined
def _fitting(line: Any, t: Any, step: int, deadline_s: float, max_batch: int, now: float) -> int:
    """The most of the oldest whose batch is predicted to end by a deadline; 0 if not even one does."""
    size, row = 0, line.ends[step, 0]
    while row >= 0 and size < max_batch:
        # Longest history of each number of the oldest.
        longest = line.place[row] if size == 0 else max(line.window[size - 1], line.place[row])
        line.window[size] = longest
        row = line.links[row, 1]
        size += 1
    if deadline_s == np.inf:
        return size
    while size and now + between(t.grids, step, line.window[size - 1], size, t.known.high_s) > deadline_s:
        size -= 1
    return size


@inlined
def _demote(line: Any, t: Any, row: int, step: int, arrival_s: float, deadline_s: float, max_batch: int, now: float) -> None:  # fmt: skip  # noqa: E501
    """See `Ladder._demote`."""
    steps, has = t.cut.shape[0], line.place[row]
    line.committed[step] -= 1
    cheapest_s = np.inf
    for k in range(step, steps):
        cheapest_s = min(cheapest_s, between(t.grids, k, t.cut[k, has], 1, t.known.high_s))
    if deadline_s - cheapest_s < now:
        give_up(line, row, max(deadline_s - cheapest_s, line.times_s[READY, row]), arrival_s)
        return
    for k in range(step + 1, steps):
        size = min(line.counts[k] + 1, max_batch)
        if now + between(t.grids, k, t.cut[k, has], size, t.known.high_s) <= deadline_s:
            line.place[row] = t.cut[k, has]
            line.committed[k] += 1
            insert(line.links, line.ends, line.counts, k, row)
            return
    give_up(line, row, now, arrival_s)
