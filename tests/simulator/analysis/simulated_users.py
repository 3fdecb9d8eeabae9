"""Users whose true metrics are known, many experiments at once."""

from __future__ import annotations

import numpy as np

from simulator.certificate.users import draw
from simulator.certificate.users import moments_of_each as batch_moments

__all__ = ["NAMES", "ab_tables", "batch_moments", "draw", "stack", "users_table"]

NAMES = ("old", "new")


def stack(users: dict[str, np.ndarray], *names: str) -> np.ndarray:
    return np.stack([users[name].astype(float) for name in names], axis=-1)


def users_table(
    seed: int, n: int, lift: float = 0.0, treated: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """A users table of n users, half of them treated."""
    rng = np.random.default_rng(seed)
    treated = np.arange(n) % 2 == 1 if treated is None else treated
    control, other = draw(rng, (n,)), draw(rng, (n,), lift)
    table = {name: np.where(treated, other[name], control[name]) for name in control}
    table["user_id"] = np.arange(n, dtype=np.uint64) * np.uint64(17)
    table["arm"] = np.where(treated, "new", "old").astype(object)
    table["missed"] = np.zeros(n, np.int64)
    table["degraded"] = np.zeros(n, np.int64)
    return table


def ab_tables(seed: int = 1, n: int = 1_200, lift: float = 0.0, arms: tuple[str, ...] = NAMES):
    """users, served and truth of an A/B whose arms share every request."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) % len(arms)
    users = users_table(seed, n, lift, treated=group > 0)
    users["arm"] = np.array(arms, dtype=object)[group]
    user = np.repeat(users["user_id"], users["requests"])
    own = np.repeat(group, users["requests"])
    request = np.arange(len(user), dtype=np.uint64)
    base = rng.lognormal(0, 0.3, len(user)) + np.repeat(rng.lognormal(0, 0.3, n), users["requests"])
    clicks = rng.uniform(0.05, 0.15, len(user))
    served, truth = [], []
    for i, arm in enumerate(arms):
        gain = 1 + lift * (i > 0)
        served.append(
            {
                "arm": np.full(len(user), arm),
                "user_id": user,
                "assigned": own == i,
                "period": np.full(len(user), "experiment"),
                "step": np.zeros(len(user), np.int8),
                "missed": base > 4,
                "latency_ms": base * (1 + 0.5 * (i > 0)),
            }
        )
        truth.append(
            {
                "arm": np.full(len(user), arm),
                "request_id": request,
                "user_id": user,
                "expected_impressions": np.ones(len(user)),
                "expected_clicks": clicks * gain,
                "expected_conversions": clicks * gain * 0.2,
                "expected_revenue": clicks * gain * 0.4,
                "expected_advv": clicks * gain * 4,
            }
        )
    join = [{k: np.concatenate([t[k] for t in part]) for k in part[0]} for part in (served, truth)]
    return users, join[0], join[1]
