"""Readers beside a writer that is killed again and again: bounded staleness, never a wrong read."""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from board import make_board
from counts import FOLLOWED_KILLS, some
from killed_writer import KillRounds
from nursery import Nursery
from tally import counted
from vaults import MEMORY, open_vault


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("staleness_s", some([0.1, 0.0], 2))
def test_readers_follow_a_killed_writer_within_the_staleness(staleness_s: float, nursery: Nursery) -> None:
    rng = np.random.default_rng(3)
    options = {"background": True, "seal_rows": 200}
    with (
        tempfile.TemporaryDirectory(prefix="followed-", dir=MEMORY) as folder,
        Nursery() as readers,
        ThreadPoolExecutor(1) as pool,
        counted("readers beside a writer that is killed") as part,
    ):
        board = Path(folder) / "board"
        counts = make_board(board)
        with open_vault(Path(folder) / "vault", **options):
            pass
        rounds = KillRounds(Path(folder), nursery, options)
        follower = pool.submit(
            readers.value,
            "followers:follow",
            folder=str(Path(folder) / "vault"),
            board=str(board),
            staleness_s=staleness_s,
            options={},
        )
        try:
            while not counts[1, 0] and not follower.done():
                time.sleep(0.01)
            enough = 10 * FOLLOWED_KILLS.now
            # More where a busy machine has let the reader read little meanwhile.
            while (rounds.rounds < FOLLOWED_KILLS.now or counts[1, 0] <= enough) and not follower.done():
                rounds.round(float(rng.uniform(0.1, 0.4)), maintain=rounds.rounds % 2 == 0, board=str(board))
                part.count += 1
        finally:
            counts[0, 0] = 1
        assert follower.result()["reads"] > enough
