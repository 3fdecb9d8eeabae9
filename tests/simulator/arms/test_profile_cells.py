"""What a profile's cells call, and what comes before it, is what a server does."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from small_runs import small

from laser.models import build_model
from seqvault.store import HistoryBatch
from simulator.arms.live import LiveCalls
from simulator.arms.models import model_config
from simulator.arms.plan import Plan, make_plan
from simulator.arms.profiling import cells as cells_module
from simulator.arms.profiling.cells import Following
from simulator.arms.profiling.machine import Grid, cells_of
from simulator.arms.scores import requests_of


@pytest.fixture(name="plan")
def planned() -> Plan:
    return make_plan(small(), profiled=False)


def test_other_numbers_of_candidates_are_the_traces_again_and_again_laid_out_as_its_own(plan: Plan) -> None:
    rows = np.array([3, 0, 7])
    own = plan.prepared.requests.candidates[rows]
    width = own.shape[1]
    nothing = HistoryBatch(
        plan.prepared.requests.user_id[rows],
        np.zeros(4, np.int64),
        {name: column[:0] for name, column in plan.prepared.world.behaviours.columns.items()},
    )
    for candidates in (None, 1, width, 2 * width + 3):
        ads = requests_of(plan.prepared, rows, nothing, candidates).ad
        expected = np.tile(own, (1, 4))[:, : candidates or width]
        np.testing.assert_array_equal(ads, expected)
        assert ads.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize(
    ("behaviours", "batch", "fresh"), [(10_000, 4, 4), (10_000, 24, 16), (20, 8, 4), (2, 8, 1)]
)
def test_a_scored_batch_was_just_read_up_to_a_limit(
    plan: Plan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    behaviours: int,
    batch: int,
    fresh: int,
) -> None:
    history = 5
    monkeypatch.setattr(cells_module, "_FRESH_BEHAVIOURS", behaviours)
    done: list[str] = []
    read, score = Following.read, LiveCalls.score

    def noted_read(self: Following, history: int) -> object:
        done.append("read")
        return read(self, history)

    def noted_score(self: LiveCalls, requests: Sequence[int], *rest: object) -> object:
        done.append("score")
        assert len(requests) == batch
        return score(self, requests, *rest)

    monkeypatch.setattr(Following, "read", noted_read)
    monkeypatch.setattr(LiveCalls, "score", noted_score)
    sizes = plan.prepared.world.sizes
    grid = Grid(100, (8,), (batch,), (history,))
    with ExitStack() as stack:
        found = cells_of(plan, grid, lambda spec: build_model(model_config(sizes, spec), 1), tmp_path, stack)
        cell = next(c for c in found.cells if c.place.startswith("score/laser") and c.point == (5, 8, batch))
        for _ in range(3):
            cell.sample()
    assert done == [*["read"] * fresh, "score"] * 3
