"""The timing plane against queueing theory. Start at `queueing_rows`."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from scipy import stats

from simulator.certificate.queues import WARM_UP, Queue, simulate_queue, theory
from simulator.certificate.rows import CONFIDENCE, Row
from simulator.config.settings import Engine
from simulator.results.numbers import about, count

REPLICATIONS = 10
_SEEN = 100  # times that what is counted should be seen in all runs; of ten, a t-interval may miss by chance


def queueing_rows(queue: Queue, customers: int, engine: Engine, seed: int) -> list[Row]:
    """A row for each figure that theory knows of a queue; bounds are a t-interval's over `REPLICATIONS` runs.

    With fewer customers than `customers_needed` the rows say so, and that nothing can be told.

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
    needed = customers_needed(queue)
    untold = ""
    if customers < needed:
        untold = (
            f"found {count(customers)} customers of each run, expected about {about(needed)}: the queue "
            "still remembers that it began empty, or what is counted is too rare"
        )
    return [_row(queue, name, [run[name] for run in runs], value, untold) for name, value in known.items()]


def customers_needed(queue: Queue) -> float:
    """How many customers of each run can be held against theory.

    Those that are left out must outlast the relaxation time, in which a queue forgets that it began empty.
    With a tenth of that, 6 of 100 right simulations of M/M/1 were refused, at loads of .9 and of .95; with
    half of it, 1 of 200. And what is counted must happen often enough to have a spread.

    Source: Morse, "Stochastic properties of waiting lines", Operations Research 3 (1955), of M/M/c; other
    service times in proportion to 1 + cv2, as in heavy traffic. With patience b the longest way, b, takes no
    longer than b².
    """
    c, a, b = queue.servers, queue.load, queue.patience
    settled = (1.0 + queue.cv2) / 2.0 / (sqrt(c) - sqrt(a)) ** 2
    if b is not None:
        settled = min(settled + b / abs(1.0 - a), b * b)
    share = next(iter(theory(queue).values()))
    rare = max(min(share, 1.0 - share), 1e-99)  # with a long patience nobody is lost
    return max(a * max(settled, 1.0) / WARM_UP, _SEEN / (REPLICATIONS * (1.0 - WARM_UP) * rare))


def _row(queue: Queue, name: str, found: Sequence[float], known: float, untold: str) -> Row:
    mean = float(np.mean(found))
    half = float(stats.t.ppf((1.0 + CONFIDENCE) / 2.0, len(found) - 1) * stats.sem(found))
    kind = "M" if queue.cv2 == 1.0 else "D" if queue.cv2 == 0.0 else "G"
    patience = "" if queue.patience is None else f", patience {queue.patience:g}"
    label = f"M/{kind}/{queue.servers}, load {queue.load:g}{patience}: {name}"
    return Row(label, mean, known - half, known + half, known, untold)
