"""The tables of a small made-up run whose requests, impressions, truth and users belong together."""

import numpy as np
import pyarrow as pa

from simulator.analysis.aggregate import aggregate_users
from simulator.metrics import OUTCOMES

ARMS = ("control", "treatment")
DAYS, DAY_S = 5, 86_400


def tables(users: int = 1_000, requests: int = 12_000, seed: int = 3) -> dict[str, pa.Table]:
    """A made-up run: a day before the experiment and DAYS of it; users come back on several days."""
    rng = np.random.default_rng(seed)
    user = np.sort(rng.integers(0, users, requests)) * 7 + 5
    rng.shuffle(user)
    arrival = np.sort(rng.uniform(0, (DAYS + 1) * DAY_S, requests)) + 3 * DAY_S
    treated = (user // 7) % 2 == 1
    ids = np.arange(requests)
    period = np.where(arrival < 4 * DAY_S, "pre", "experiment")
    served = [
        {
            "arm": np.full(requests, arm), "request_id": ids, "user_id": user, "period": period,
            "assigned": np.where(period == "pre", arm == "control", treated == (arm == "treatment")),
            "arrival_s": arrival, "history_available": 20 + (user % 400), "step": np.zeros(requests, int),
            "missed": np.zeros(requests, bool), "latency_ms": rng.exponential(3, requests),
        }
        for arm in ARMS
    ]  # fmt: skip
    shown = np.repeat(ids, rng.integers(1, 3, requests))
    click = rng.random(len(shown)) < 0.15 + 0.05 * treated[shown]
    conversion = click & (rng.random(len(shown)) < 0.4)
    impressions = {
        "request_id": shown, "user_id": user[shown], "period": period[shown],
        "arm": np.where(treated[shown], "treatment", "control"), "click": click, "conversion": conversion,
        "charged": click * 0.5, "value": conversion * rng.lognormal(1, 0.4, len(shown)),
    }  # fmt: skip
    inside = period == "experiment"
    truth = []
    for k, arm in enumerate(ARMS):
        rows = {"arm": np.full(inside.sum(), arm), "request_id": ids[inside], "user_id": user[inside]}
        expected = {f"expected_{name}": rng.gamma(2 + 0.3 * k, 1, inside.sum()) for name in OUTCOMES}
        truth.append(pa.table(rows | expected))
    whole = pa.concat_tables([pa.table(one) for one in served])
    return {
        "served": whole,
        "impressions": pa.table(impressions),
        "truth": pa.concat_tables(truth),
        "users": pa.table(aggregate_users(whole, impressions, ARMS)),
    }
