"""A small world with known truth: users with evergreen and periodic interests, sessions, noise, and ads.

It exists to ask one question of the models: does a longer history pay, and only where it should? Parameters
follow the project's worlds in miniature; nothing here is imported by the package.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from laser.examples import ExampleSet

ACTIONS, SCENES = 3, 3


@dataclass(frozen=True)
class Miniature:
    users: int = 2000
    requests: int = 5  # A user; the last one is for evaluation.
    candidates: int = 8
    length: int = 1000
    categories: int = 200
    ads: int = 2000
    interests: int = 16
    affinity: float = 0.6  # bA
    session: float = 0.35  # bR
    period: tuple[float, float] = (300.0, 1500.0)
    spacing: int = 40


def generate(world: Miniature, seed: int) -> tuple[ExampleSet, ExampleSet]:
    """Training and evaluation examples (the last request of each user), histories shared."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    shared = _shared(world, rng)
    parts = [
        _users(world, shared, rng, first, min(500, world.users - first))
        for first in range(0, world.users, 500)
    ]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    total = world.length + world.requests * world.spacing
    base = columns["user"] * total
    examples = ExampleSet(
        **{name: columns[name].ravel() for name in ("category", "action", "scene", "dwell_s", "time_s")},
        **{
            name: value
            for name, value in columns.items()
            if name not in ("category", "action", "scene", "dwell_s", "time_s", "at")
        },
        history_start=base,
        history_end=base + columns["at"],
    )
    last = np.arange(len(examples)) % world.requests == world.requests - 1
    return examples.take(np.flatnonzero(~last)), examples.take(np.flatnonzero(last))


def _shared(world: Miniature, rng: np.random.Generator) -> dict[str, np.ndarray]:
    zipf = 1.0 / np.arange(1, world.categories + 1) ** 0.7
    popularity = rng.permutation(zipf / zipf.sum())
    clusters = rng.dirichlet(np.full(world.categories, 0.1), size=20)
    return {
        "popularity": popularity,
        "mixture": 0.5 * popularity + 0.5 * clusters,
        "ad_category": rng.choice(world.categories, world.ads, p=popularity),
        "quality": rng.normal(0.0, 0.4, world.ads),
        "category_quality": rng.normal(0.0, 0.3, world.categories),
    }


def _pick(cumulative: np.ndarray, rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """Indices drawn from rows of a cumulative distribution, (rows, K) -> (rows, ...)."""
    draws = rng.random(size)
    return np.stack(
        [
            np.searchsorted(row, draw).clip(max=len(row) - 1)
            for row, draw in zip(cumulative, draws, strict=True)
        ]
    )


def _users(
    world: Miniature, shared: dict[str, np.ndarray], rng: np.random.Generator, first: int, users: int
) -> dict[str, np.ndarray]:
    total, k = world.length + world.requests * world.spacing, world.interests
    cluster = rng.integers(20, size=users)
    interest = _pick(shared["mixture"].cumsum(1)[cluster], rng, (users, k))
    weight = rng.lognormal(0.0, 0.5, (users, k)).clip(0.3, 2.5)
    kind = rng.random((users, k))
    evergreen, burst = kind < 0.15, kind > 0.85
    evergreen[:, :2], burst[:, :2] = True, False
    born = rng.uniform(-0.5 * total, total, (users, k))
    dies = born + rng.exponential(np.where(burst, 400.0, 1.5 * total))
    born[:, :4], dies[:, :4] = -np.inf, np.inf
    period = np.exp(rng.uniform(*np.log(world.period), (users, k)))
    duty, phase = rng.uniform(0.05, 0.2, (users, k)), rng.random((users, k))

    starts = rng.random((users, total)) < 0.1  # Sessions of geometric length, mean 10.
    starts[:, 0] = True
    session = starts.cumsum(1) - 1
    sessions = int(session.max()) + 1
    begin = np.full((users, sessions), total)
    who, when = np.nonzero(starts)
    begin[who, session[who, when]] = when

    alive = (begin[..., None] >= born[:, None]) & (begin[..., None] < dies[:, None])
    open_now = (
        evergreen[:, None]
        | burst[:, None]
        | ((begin[..., None] / period[:, None] + phase[:, None]) % 1.0 < duty[:, None])
    )
    state = np.where(open_now, 1.0, 0.02) * alive * weight[:, None]
    cumulative = state.cumsum(2)
    topics = [
        (rng.random((users, sessions, 1)) * cumulative[..., -1:] > cumulative).sum(2).clip(max=k - 1)
        for _ in range(2)
    ]
    rows = np.arange(users)[:, None]
    topic = [interest[rows, chosen][rows, session] for chosen in topics]

    part = rng.random((users, total))
    noise = np.searchsorted(shared["popularity"].cumsum(), rng.random((users, total))).clip(
        max=world.categories - 1
    )
    category = np.where(part < 0.525, topic[0], np.where(part < 0.7, topic[1], noise))
    draw = rng.random((users, total))
    genuine = part < 0.7
    action = np.where(
        genuine, (draw > 0.25).astype(int) + (draw > 0.75), (draw > 0.70).astype(int) + (draw > 0.97)
    )
    gap = np.where(starts, rng.lognormal(9.5, 1.0, (users, total)), rng.lognormal(3.5, 0.8, (users, total)))
    time = (1_700_000_000 + gap.cumsum(1)).astype(np.int64)

    n, c = world.requests, world.candidates
    at = total - world.spacing * np.arange(n, 0, -1) + world.spacing - 1
    now = np.broadcast_to(at, (users, n))
    lifelong = interest[rows[..., None], rng.integers(k, size=(users, n, c))]
    by_category = _ads_by_category(shared["ad_category"], world.categories)
    ad = rng.integers(world.ads, size=(users, n, c))
    related = by_category[lifelong, rng.integers(by_category.shape[1], size=lifelong.shape)]
    ad = np.where((rng.random(ad.shape) < 0.35) & (related >= 0), related, ad)
    ad_category = shared["ad_category"][ad]
    position = np.broadcast_to(np.arange(c), ad.shape)

    ready = (now[..., None] >= born[:, None]) & (now[..., None] < dies[:, None])
    active = (
        evergreen[:, None]
        | burst[:, None]
        | ((now[..., None] / period[:, None] + phase[:, None]) % 1.0 < duty[:, None])
    )
    strength = np.where(active, 1.0, 0.7) * ready * weight[:, None]
    same = ad_category[..., None] == interest[:, None, None, :]
    affinity = np.minimum((same * strength[:, :, None, :]).sum(3), 2.5)
    in_session = ad_category == topic[0][rows, now][..., None]
    hour = rng.uniform(0.0, 24.0, (users, n))
    user_bias = rng.normal(0.0, 1.1, users)
    logit = (
        -3.3 + user_bias[:, None, None] + shared["quality"][ad] + shared["category_quality"][ad_category]
        - 0.15 * position + 0.15 * np.sqrt(2.0) * np.sin(hour * np.pi / 12.0)[..., None]
        + world.affinity * affinity + world.session * in_session
    )  # fmt: skip
    p = 1.0 / (1.0 + np.exp(-logit))
    flat = {"category": category.astype(np.uint16), "action": action.astype(np.uint8)}
    flat["scene"] = rng.integers(SCENES, size=category.shape).astype(np.uint8)
    flat["dwell_s"] = (5 + 20 * action).astype(np.uint16)
    flat["time_s"] = time
    request_time = time[rows, now - 1] + 10.0
    noisy = user_bias + rng.normal(0.0, 0.35, users)
    user = first + np.repeat(np.arange(users), n)
    return flat | {
        "user": user, "at": now.reshape(-1).copy(), "request_time_s": request_time.reshape(-1),
        "hour": hour.reshape(-1).astype(np.float32), "propensity": np.repeat(noisy, n).astype(np.float32),
        "ad": ad.reshape(-1, c).astype(np.int32), "ad_category": ad_category.reshape(-1, c).astype(np.int16),
        "position": position.reshape(-1, c).astype(np.int8),
        "label": (rng.random(p.shape) < p).reshape(-1, c).astype(np.uint8), "p_true": p.reshape(-1,
        c).astype(np.float32),
    }  # fmt: skip


def _ads_by_category(ad_category: np.ndarray, categories: int) -> np.ndarray:
    """(categories, 16) ads of each category, cycled; -1 where a category has none."""
    table = np.full((categories, 16), -1)
    for category in range(categories):
        ads = np.flatnonzero(ad_category == category)
        if len(ads):
            table[category] = np.resize(ads, 16)
    return table
