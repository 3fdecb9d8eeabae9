"""A profile, an arm and a trace as arrays, for the compiled timing plane. Start at `tables_of`.

Histories are named by their place among the distinct ones, H of them, so that a lookup between measured
points costs no search. `G` grids: the store's, transport's, then one for each of the `K` steps with a model.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.serving.arm import ServingArm
from simulator.serving.grid import Grid
from simulator.serving.ladder import Backlog, Ladder
from simulator.serving.policy import Requests
from simulator.serving.predictions import LEVELS
from simulator.serving.service_times import ProfileServiceTimes

F8 = NDArray[np.float64]
I4 = NDArray[np.int32]
I8 = NDArray[np.int64]
_AT_ONCE = 1 << 18  # requests whose histories are looked at together


class Grids(NamedTuple):
    """Sorted samples by cell, and each coordinate's neighbours; a second share of 0 means there is one.

    Attributes:
        values: samples, cell after cell.
        start, samples: (cells,) where a cell's begin in `values`, and how many they are.
        cell: (G, 3) a grid's first cell, and the cells between neighbours in history and in candidates.
        history, history_share: (G, H, 2).
        candidates, candidates_share: (G, 2).
        batch, batch_share: (G, max_batch + 1, 2).
        outside: (G, H) beyond what was measured, whatever the batch and candidates.
    """

    values: F8
    start: I8
    samples: I8
    cell: I8
    history: I4
    history_share: F8
    candidates: I4
    candidates_share: F8
    batch: I4
    batch_share: F8
    outside: NDArray[np.bool_]


class Known(NamedTuple):
    """What policies know; see `predictions.py` and `ladder.py`.

    Attributes:
        levels_s: (K, measured histories, max_batch + 1, LEVELS).
        mean_s, high_s: (K, measured histories, max_batch + 1).
        fetch_s: (H, 2) mean of reading and transporting, and the stated quantile above it.
        batch_s: (K, max_batch + 1) mean of a batch with the longest history of as many draws.
    """

    levels_s: F8
    mean_s: F8
    high_s: F8
    fetch_s: F8
    batch_s: F8


class Tables(NamedTuple):
    """All of it.

    Attributes:
        histories: (H,) distinct lengths, ascending, at most the longest step's.
        cut: (K, H) place of the history that a step makes of one.
    """

    grids: Grids
    known: Known
    histories: I8
    cut: I4


def tables_of(arm: ServingArm, times: ProfileServiceTimes, available: NDArray[Any]) -> Tables:
    """The arrays of one arm and trace."""
    steps = [s for s in arm.steps if s.model is not None]
    limits = np.array([s.history for s in steps], np.int64)
    most, parts = limits.max(), range(0, len(available), _AT_ONCE)
    found = [np.unique(np.minimum(available[first : first + _AT_ONCE], most)) for first in parts]
    histories = np.unique(np.concatenate([*found, limits]).astype(np.int64))
    cut = np.searchsorted(histories, np.minimum(histories, limits[:, None])).astype(np.int32)
    grids = [times.store_grid, times.transport_grid, *(times.score_grids[s.model or ""] for s in steps)]
    return Tables(
        _grids(grids, histories, times.candidates, arm.max_batch),
        _known(arm, times, available, histories),
        histories,
        cut,
    )


def places_of(tables: Tables, available: NDArray[Any]) -> I4:
    """Of what each of some requests has, as far as the longest step reads."""
    read = np.minimum(available, tables.histories[-1])
    places: I4 = np.searchsorted(tables.histories, read).astype(np.int32)
    return places


def _sides(grid: Grid, axis: int, values: Any) -> tuple[I4, F8]:
    """(V, 2) neighbours of each value and their shares; an axis that the grid lacks has one point."""
    places, shares = np.zeros((len(values), 2), np.int32), np.zeros((len(values), 2))
    shares[:, 0] = 1.0
    if axis < len(grid.axes):
        for i, value in enumerate(values):
            for side, (place, share) in enumerate(grid.sides(axis, value)):
                places[i, side], shares[i, side] = place, share
    return places, shares


def _grids(grids: list[Grid], histories: I8, candidates: int, max_batch: int) -> Grids:
    samples = [grid.samples() for grid in grids]
    count = np.array([len(s) for cells in samples for s in cells], np.int64)
    first = np.cumsum([0, *(len(cells) for cells in samples)])[:-1]
    points = [[len(p) for p in grid.points] + [1] * (3 - len(grid.points)) for grid in grids]
    lengths = histories.tolist()
    history, shares = zip(*(_sides(g, 0, lengths) for g in grids), strict=True)
    wide, wide_shares = zip(*(_sides(g, 1, [candidates]) for g in grids), strict=True)
    batch, batch_shares = zip(*(_sides(g, 2, range(max_batch + 1)) for g in grids), strict=True)
    fixed = [len(g.axes) > 1 and g.outside(1, candidates) for g in grids]
    return Grids(
        np.concatenate([np.array(s) for cells in samples for s in cells]),
        np.cumsum(np.concatenate([[0], count]))[:-1].astype(np.int64),
        count,
        np.array([[f, p[1] * p[2], p[2]] for f, p in zip(first, points, strict=True)], np.int64),
        np.stack(history),
        np.stack(shares),
        np.concatenate(wide),
        np.concatenate(wide_shares),
        np.stack(batch),
        np.stack(batch_shares),
        np.array([[out or g.outside(0, h) for h in lengths] for g, out in zip(grids, fixed, strict=True)]),
    )


def _known(arm: ServingArm, times: ProfileServiceTimes, available: NDArray[Any], histories: I8) -> Known:
    """Only what the arm's policy asks for is filled; a whole table of it may be large."""
    steps = [s for s in arm.steps if s.model is not None]
    deep = max(len(times.score_grids[s.model or ""].points[0]) for s in steps)
    shape = (len(steps), deep, arm.max_batch + 1)
    levels_s = np.zeros((*shape, LEVELS) if arm.policy == "goodput" else (0, 0, 0, 0))
    mean_s, high_s = (np.zeros(shape if arm.policy == "ladder" else (0, 0, 0)) for _ in range(2))
    fetch_s, batch_s = np.zeros((0, 2)), np.zeros((0, 0))
    for k, step in enumerate(steps):
        for size in range(1, arm.max_batch + 1) if arm.policy != "fifo" else ():
            table = times.score_table(step.model or "", size)
            measured = len(table.mean_s)
            if arm.policy == "goodput":
                levels_s[k, :measured, size] = table.levels_s
            else:
                mean_s[k, :measured, size], high_s[k, :measured, size] = table.mean_s, table.high_s
    if arm.policy == "ladder":
        ladder = Ladder(arm, times, Requests([], [], [], [], [], _nobody))
        fetch_s = np.array([ladder.fetch_s(h) for h in histories.tolist()])
        batch_s = np.array(Backlog(arm, times, available).batch_s)
    return Known(levels_s, mean_s, high_s, fetch_s, batch_s)


def _nobody(row: int, at_s: float) -> None:
    """A table gives up no request."""
