"""A reader process that follows a writer which is killed and comes back.

What was acknowledged `staleness_s` before a read began must be in it, what was not issued when it ended must
not be, and no read goes back behind an earlier one.
"""

import time
from collections import deque
from typing import Any

from board import open_board
from streams import Survivors, standard_streams
from vaults import open_vault


def follow(folder: str, board: str, staleness_s: float, options: dict[str, Any]) -> dict[str, int]:
    """Read until the board says to end; the number of reads, and how many lagged behind the writer at all."""
    counts = open_board(board)
    streams = standard_streams()
    survivors = {stream.number: Survivors(stream) for stream in streams}
    samples = deque([(0.0, counts[1].copy())])
    reads = lagging = 0
    with open_vault(folder, read_only=True, staleness_s=staleness_s, **options) as store:
        while not counts[0, 0]:
            number = streams[reads % len(streams)].number
            # The counts before the clock: however late the reader is, they were so by then.
            acknowledged = counts[1].copy()
            now = time.monotonic()
            samples.append((now, acknowledged))
            while len(samples) > 1 and samples[1][0] <= now - staleness_s:
                samples.popleft()
            known = survivors[number]
            due = max(int(samples[0][1][number]), known.operations)
            seen = known.settle(store, due, lambda number=number: int(counts[0, number]))
            lagging += seen < int(samples[-1][1][number])
            reads += 1
            counts[1, 0] = reads
    return {"reads": reads, "lagging": lagging}
