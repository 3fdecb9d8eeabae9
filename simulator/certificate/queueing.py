"""The timing plane against queueing theory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from simulator.certificate.queues import Queue, simulate_queue, theory
from simulator.certificate.rows import CONFIDENCE, Row
from simulator.config.settings import Engine

REPLICATIONS = 10


def queueing_rows(queue: Queue, customers: int, engine: Engine, seed: int) -> list[Row]:
    """A row for each figure that theory knows of a queue; bounds are a t-interval's over `REPLICATIONS` runs.

    Args:
        queue: servers, load, patience, spread of the service times.
        customers: of each run.
        engine: of the timing plane.
        seed: of the draws.

    Raises:
        SimulatorError: see `theory`.
    """
    known = theory(queue)
    runs = [simulate_queue(queue, customers, seed + i, engine) for i in range(REPLICATIONS)]
    return [_row(queue, name, [run[name] for run in runs], value) for name, value in known.items()]


def _row(queue: Queue, name: str, found: Sequence[float], known: float) -> Row:
    mean = float(np.mean(found))
    half = float(stats.t.ppf((1.0 + CONFIDENCE) / 2.0, len(found) - 1) * stats.sem(found))
    kind = "M" if queue.cv2 == 1.0 else "D" if queue.cv2 == 0.0 else "G"
    patience = "" if queue.patience is None else f", patience {queue.patience:g}"
    label = f"M/{kind}/{queue.servers}, load {queue.load:g}{patience}: {name}"
    return Row(label, mean, known - half, known + half, known)
