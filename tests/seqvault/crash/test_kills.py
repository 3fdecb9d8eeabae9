"""kill -9 at random moments: nothing acknowledged is lost, torn, reordered, or back from a delete."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from counts import KILLS, some
from killed_writer import KillRounds
from nursery import Nursery
from tally import counted
from vaults import MEMORY

STORES = {
    "packed": {},
    "background": {"background": True, "seal_rows": 150},
    "zstd": {"codec": "zstd", "block_rows": 64},
    "whole tails": {"seal_rows": 1_000_000},
}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("on_device", some([False, True], 2), ids=lambda on: "device" if on else "memory")
def test_kills_at_random_moments_lose_nothing(
    kind: str, on_device: bool, nursery: Nursery, device_path: Path
) -> None:
    rng = np.random.default_rng(1)
    with (
        tempfile.TemporaryDirectory(prefix="kills-", dir=MEMORY) as memory,
        counted("kill -9 at random moments") as part,
    ):
        rounds = KillRounds(device_path if on_device else Path(memory), nursery, STORES[kind])
        for turn in range(-(-KILLS.now // (len(STORES) * len(some([False, True], 2))))):
            # Most live long enough to write, some die while the store recovers.
            opens = turn % 4 != 3
            live_s = float(rng.uniform(0.03, 0.15) if opens else rng.uniform(0.0, 0.02))
            rounds.round(live_s, maintain=turn % 2 == 1, opens=opens)
            part.count += 1
    assert rounds.acknowledged > 0
