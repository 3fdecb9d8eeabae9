"""The cells of a profile for arms that keep summaries: making one, and scoring from those that were made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from laser.scoring.summaries import Summaries, SummaryScorer
from seqvault.store import HistoryBatch
from simulator.arms.arm import SUMMARY_PARTS
from simulator.arms.histories.asked import MODEL_COLUMNS
from simulator.arms.profiling.cells import Bench
from simulator.arms.scores import requests_of
from simulator.serving.measure import Cell

_READ, _BUILD = SUMMARY_PARTS


def summary_cells(
    bench: Bench,
    model: str,
    scorer: SummaryScorer,
    histories: Sequence[int],
    candidates: Sequence[int],
    batches: Sequence[int],
) -> Iterator[Cell]:
    """What `summary_times` puts together.

    Args:
        model: the model's key.
        histories: lengths that summaries are made of.
        candidates, batches: of requests that are scored from summaries.
    """
    for history in histories:
        yield _build_cell(bench, model, scorer, history)
    for width in candidates:
        for batch in batches:
            yield _read_cell(bench, model, scorer, max(histories), (0, width, batch))


def _build_cell(bench: Bench, model: str, scorer: SummaryScorer, history: int) -> Cell:
    rows: Iterator[int] = bench.rows(history)
    read: dict[int, tuple[int, HistoryBatch]] = {}

    def before() -> None:
        row = next(rows)
        read[0] = row, bench.whole.transport(bench.whole.read(row, history)[0])

    def timed() -> None:
        row, payload = read[0]
        scorer.make(requests_of(bench.prepared, np.array([row]), payload, 1).batch())

    return Cell(f"score/{model}{_BUILD}", (history, 1, 1), before, timed)


def _read_cell(
    bench: Bench, model: str, scorer: SummaryScorer, history: int, point: tuple[int, int, int]
) -> Cell:
    _, candidates, batch = point
    rows, chosen = bench.rows(history), np.zeros(batch, np.int64)
    kept: list[Summaries] = []

    def before() -> None:
        chosen[:] = [next(rows) for _ in range(batch)]
        if not kept:  # whose summaries they are changes no time
            payload = bench.whole.read(int(chosen[0]), history)[0]
            one = requests_of(bench.prepared, chosen[:1], payload, 1).batch()
            kept.append(scorer.beside([scorer.make(one)] * batch))

    def timed() -> None:
        requests = requests_of(bench.prepared, chosen, _nothing(bench, chosen), candidates)
        scorer.score(requests.batch(), kept[0])

    return Cell(f"score/{model}{_READ}", point, before, timed)


def _nothing(bench: Bench, rows: NDArray[np.int64]) -> HistoryBatch:
    """The histories of requests of which none is read."""
    columns = bench.prepared.world.behaviours.columns
    empty = {name: columns[name][:0] for name in MODEL_COLUMNS}
    return HistoryBatch(bench.prepared.requests.user_id[rows], np.zeros(len(rows) + 1, np.int64), empty)
