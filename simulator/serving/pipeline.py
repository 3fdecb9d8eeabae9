"""The timing plane: one arm serves a trace in simulated time.

    arrival -> store queue -> store turn [policy] -> read -> transport
            -> scorer queue -> batch [policy] -> scoring -> completion

A store worker holds a request through read and transport; a scorer works on one batch at a time, of one
ladder step. Whom a free worker reads and which batch a free scorer takes is the arm's policy to say
(`policy.py`). Start reading at `serve`; two engines stand behind it, `events.py` and `compiled.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.config.settings import Engine
from simulator.serving.arm import ServingArm
from simulator.serving.compiled import serve_compiled
from simulator.serving.events import serve_simpy
from simulator.serving.served import Served as Served
from simulator.serving.service_times import ProfileServiceTimes, ServiceTimes

F8 = NDArray[np.float64]


def serve(
    arrival_s: ArrayLike,
    history_available: ArrayLike,
    arm: ServingArm,
    times: ServiceTimes,
    budget_s: float | None,
    engine: Engine = "compiled",
) -> Served:
    """Serve a trace with one arm.

    Args:
        arrival_s: (R,) timing-plane seconds, ascending, from 0.
        history_available: (R,) behaviours each request's user has.
        arm: servers, batcher and ladder.
        times: the arm's service times.
        budget_s: latency budget, or None for no deadline (then every request takes the first step).
        engine: drawn service times are served by the compiled plane; "simpy" serves them by SimPy too, more
            slowly and to the same bits. Measured ones always are.

    Returns:
        One entry per request, in the trace's order.

    Raises:
        ProfileError: a history is longer than the profile measured, which may not be extrapolated.
        ValueError: arrivals unsorted or negative, lengths that differ, or a budget not above 0.
    """
    arrivals = np.asarray(arrival_s, dtype=np.float64)
    available = np.asarray(history_available)
    _check_trace(arrivals, available, budget_s)
    if isinstance(times, ProfileServiceTimes) and len(available):
        times.check_history(int(available.max()))
    if engine == "compiled" and isinstance(times, ProfileServiceTimes):
        return serve_compiled(arrivals, available, arm, times, budget_s)
    return serve_simpy(arrivals, available, arm, times, budget_s)


def _check_trace(arrivals: F8, available: NDArray[Any], budget_s: float | None) -> None:
    if arrivals.ndim != 1 or arrivals.shape != available.shape:
        raise ValueError(
            f"Found arrivals of shape {arrivals.shape} and histories of shape {available.shape}, "
            "expected two equal (R,). Pass one history length a request."
        )
    if len(arrivals) and not (
        np.isfinite(arrivals).all() and arrivals[0] >= 0.0 and (np.diff(arrivals) >= 0.0).all()
    ):
        raise ValueError(
            "Found arrivals that are negative, infinite or out of order, expected ascending seconds from 0. "
            "Sort the trace and subtract its first arrival."
        )
    if len(available) and (available.dtype.kind not in "iu" or available.min() < 0):
        raise ValueError(
            f"Found history lengths of dtype {available.dtype} or below 0, expected integers of at least 0. "
            "Count the behaviours each request may see."
        )
    if budget_s is not None and not budget_s > 0.0:
        raise ValueError(f"Found a budget of {budget_s} s, expected more than 0, or None for no deadline.")
