"""Queues with known answers, run through the timing plane: is what it simulates what theory says?

The scorers are the servers, batches are of one, and reading takes no time. Service rate 1: seconds are mean
service times. Start at `simulate_queue`; `theory` has the answers,
and `queueing.py` holds one against the other.

Sources: Erlang C; Pollaczek and Khinchine; Barrer, "Queuing with impatient customers and ordered service",
Operations Research 5 (1957).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, factorial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.config.settings import Engine, Policy
from simulator.errors import SimulatorError
from simulator.serving.arm import LadderStep, ServingArm
from simulator.serving.pipeline import Served, serve
from simulator.serving.predictions import LEVELS, ScoreTable
from simulator.serving.profile import Machine, ServiceProfile
from simulator.serving.service_times import ProfileServiceTimes

F8 = NDArray[np.float64]
WARM_UP = 0.1  # share of the customers left out, since a queue starts empty
_PIECES = 128


class GivenTimes(ProfileServiceTimes):
    """Service times given by row, exactly; predicted as 0, so that nobody is given up before its time.

    A cell whose quantiles are a straight line from 0 to a power of two gives back any number below it.

    Args:
        arm: one step and the prior order.
        score_s: (R,) seconds of scoring; a batch takes its first request's.
        store_s: (R,) seconds of reading; none by default.
    """

    def __init__(self, arm: ServingArm, score_s: ArrayLike, store_s: ArrayLike | None = None) -> None:
        score = np.asarray(score_s, np.float64)
        store = np.zeros_like(score) if store_s is None else np.asarray(store_s, np.float64)
        most = 2.0 ** np.ceil(np.log2(1.0 + max(score.max(initial=0.0), store.max(initial=0.0))))
        line = tuple((np.arange(_PIECES + 1) * (most / _PIECES)).tolist())
        model, history = arm.full.model or "", arm.full.history
        profile = ServiceProfile(
            Machine("given", 1, 1.0, None), {}, "", "",
            store={arm.store: {history: line}},
            transport={history: (0.0,) * (_PIECES + 1)},
            score={model: {(history, 1, size): line for size in {1, arm.max_batch}}},
        )  # fmt: skip
        super().__init__(profile, arm, 1, 0, np.arange(len(score), dtype=np.uint64))
        self.luck = np.stack([store / most, np.zeros_like(score), score / most])

    def score_table(self, model: str, batch: int) -> ScoreTable:
        """Nothing takes time, as far as a policy knows."""
        return ScoreTable(np.zeros(1), np.zeros(1), np.zeros((1, LEVELS)))


@dataclass(frozen=True)
class Queue:
    """M/G/c, with patience where it is given.

    Attributes:
        servers: c.
        load: offered, in erlangs: arrivals in a mean service time.
        patience: mean service times that a customer waits before it leaves; None for ever.
        cv2: squared coefficient of variation of the service times (gamma): 1 exponential, 0 all equal.
    """

    servers: int
    load: float
    patience: float | None = None
    cv2: float = 1.0


def simulate_queue(queue: Queue, customers: int, seed: int, engine: Engine) -> dict[str, float]:
    """Share who wait, mean wait and share lost, of one run.

    Returns:
        "P(wait)" and "mean wait" over those served, or "P(lost)" where there is patience.
    """
    rng = np.random.default_rng([seed, 11])
    arrivals = np.cumsum(rng.exponential(1.0 / queue.load, customers))
    work = rng.gamma(1.0 / queue.cv2, queue.cv2, customers) if queue.cv2 > 0.0 else np.ones(customers)
    served = serve_queue(queue, arrivals, work, engine)
    late = slice(int(WARM_UP * customers), None)
    if queue.patience is not None:
        return {"P(lost)": float((served.step[late] == 1).mean())}
    wait = (served.score_start_s - served.arrival_s)[late]
    return {"P(wait)": float((wait > 1e-9).mean()), "mean wait": float(wait.mean())}


def serve_queue(queue: Queue, arrivals: F8, work: F8, engine: Engine) -> Served:
    """Serve given customers.

    Args:
        arrivals: (R,) ascending.
        work: (R,) service times.
    """
    steps = (LadderStep("full", "service", 1), LadderStep("prior", None, 0))
    policy: Policy = "fifo" if queue.patience is None else "goodput"
    arm = ServingArm("queue", "none", steps, 1, queue.servers, 1, policy=policy)
    ones = np.ones(len(arrivals), np.int64)
    return serve(arrivals, ones, arm, GivenTimes(arm, work), queue.patience, engine)


def theory(queue: Queue) -> dict[str, float]:
    """What `simulate_queue` should find on average, as far as a formula is known.

    Raises:
        SimulatorError: none is known, or the queue grows for ever.
    """
    c, a = queue.servers, queue.load
    if queue.patience is not None:
        if c != 1 or queue.cv2 != 1.0 or a == 1.0:
            raise SimulatorError(
                f"Found patience with {c} servers, load {a:g} and squared variation {queue.cv2:g}; the "
                "loss is known for 1 server, exponential service and a load other than 1. Change these."
            )
        # Of the two forms of the fraction the one whose exponential vanishes, and does not overflow.
        e = exp(-abs(1.0 - a) * queue.patience)
        lost = (1.0 - a) * a * e / (1.0 - a * a * e) if a < 1.0 else (a - 1.0) * a / (a * a - e)
        return {"P(lost)": lost}
    if not 0.0 < a < c:
        raise SimulatorError(
            f"Found a load of {a:g} erlangs on {c} servers, expected above 0 and below {c}: the queue would "
            "grow for ever. Lower the load, or give customers patience."
        )
    if queue.cv2 == 1.0:
        top = a**c / factorial(c) * c / (c - a)
        waits = top / (sum(a**n / factorial(n) for n in range(c)) + top)
        return {"P(wait)": waits, "mean wait": waits / (c - a)}
    if c == 1:
        return {"P(wait)": a, "mean wait": a * (1.0 + queue.cv2) / (2.0 * (1.0 - a))}
    raise SimulatorError(
        f"Found {c} servers and a squared variation of {queue.cv2:g}; waits are known for 1 server, or for "
        "exponential service. Set one of them to 1."
    )
