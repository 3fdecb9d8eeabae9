"""The logs of a finished run, from the tables in its folder."""

from __future__ import annotations

import numpy as np

from simulator.analysis.columns import columns
from simulator.analysis.health.logs import Logs, logs_of
from simulator.results.days import DAY_S
from simulator.results.read import Run


def logs_of_run(run: Run) -> Logs:
    """Everybody's logs, whichever arm served them; see `logs_of`.

    Args:
        run: with its long tables; one that was made small has none.

    Raises:
        ResultsError: a table is missing or damaged.
    """
    names = ["request_id", "user_id", "assigned", "period", "arrival_s", "latency_ms"]
    served = run.table("served", names)
    served = served.filter(served["assigned"])
    day = (columns(served, "arrival_s")["arrival_s"] // DAY_S).astype(np.int64)
    shown = run.table("impressions", ["request_id", "user_id", "period", "pctr", "click", "conversion"])
    request = columns(served, "request_id")["request_id"]
    order = np.argsort(request)
    place = order[np.searchsorted(request[order], columns(shown, "request_id")["request_id"])]
    return logs_of(
        served.append_column("day", [day]),
        shown.append_column("day", [day[place]]),
    )
