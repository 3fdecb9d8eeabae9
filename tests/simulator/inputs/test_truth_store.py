"""The truth of a trace's candidates: the world's, whatever is asked for and in which order, and made once."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from small_runs import small

from simulator.arms.plan import make_plan
from simulator.inputs import truth as module
from simulator.inputs.truth import Truth


def test_any_rows_in_any_order_are_the_worlds_and_each_block_is_made_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_ROWS", 16)
    prepared = make_plan(small("traffic.world.slots=3")).prepared
    world, requests, asked = prepared.world, prepared.requests, []

    class Counted:
        def response(self, rows: np.ndarray, ads: np.ndarray, slot: int) -> tuple[np.ndarray, np.ndarray]:
            asked.extend((int(row), slot) for row in rows)
            return world.response(rows, ads, slot)

    truth = Truth(Counted(), requests)  # type: ignore[arg-type]
    rng = np.random.default_rng(1)
    parts = [rng.permutation(len(requests))[:40] for _ in range(60)] + [np.zeros(0, np.int64)]
    with ThreadPoolExecutor(3) as pool:  # as worlds do, side by side
        found = list(pool.map(truth.of, parts))
    for rows, (click, convert) in zip(parts, found, strict=True):
        for slot in range(3):
            expected = world.response(rows, requests.candidates[rows], slot)
            assert np.array_equal(click[:, :, slot], expected[0])
            assert np.array_equal(convert, expected[1])
    assert len(asked) == len(set(asked)) == 3 * len(requests)
