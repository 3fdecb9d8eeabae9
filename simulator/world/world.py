"""A whole world: catalogue, users, behaviours, the log, the trace and the truth behind them.

Start with `build_world(preset("demo"), seed=7)`. Same configuration and seed, same world, to the byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.draws import uniform
from simulator.scratch import gathered, mapped
from simulator.traffic.behaviours import ACTIONS, SCENES, Behaviours
from simulator.traffic.log import HOLDOUT, TRAIN, LogImpressions
from simulator.traffic.trace import EXPERIMENT, PRE, Requests
from simulator.world.blocks import drawn_blocks
from simulator.world.candidates import draw_candidates
from simulator.world.catalogue import AdTruth, Catalogue, build_catalogue, departments_of
from simulator.world.clock import DAY_S, Timeline, Warp, hour_of_day
from simulator.world.config import WorldConfig
from simulator.world.demand import draw_demand
from simulator.world.generate import Moments, Plan, generate_block
from simulator.world.protocol import Sizes
from simulator.world.response import response
from simulator.world.users import block_count, build_users

_LOGGED_AT_ONCE = 1 << 14  # requests of the log whose answers are drawn together


@dataclass(frozen=True)
class World:
    """A generated world; make it with `build_world`.

    Public: `config`, `seed`, `timeline`, `catalogue`, `requests`, `log`, `behaviours`. The rest is
    hidden truth, reached through `response` and `log_response`.
    """

    config: WorldConfig
    seed: int
    timeline: Timeline
    catalogue: Catalogue
    requests: Requests
    log: LogImpressions
    _plan: Plan
    _ad_truth: AdTruth
    _trace_moments: Moments
    _log_moments: Moments
    _behaviours: Behaviours | None

    @property
    def sizes(self) -> Sizes:
        """How many categories, ads, scenes and actions there are, and which department a category is of."""
        return Sizes(self.config.categories, self.config.ads, SCENES, ACTIONS, departments_of(self.config))

    @property
    def behaviours(self) -> Behaviours:
        """All behaviours, history to the experiment's end.

        Raises:
            ValueError: the world was built with keep_behaviours=False.
        """
        if self._behaviours is None:
            raise ValueError(
                "This world was built with keep_behaviours=False and holds no behaviours. "
                "Iterate behaviour_blocks(), or build it with keep_behaviours=True."
            )
        return self._behaviours

    @property
    def blocks(self) -> int:
        """Blocks of users that `behaviour_blocks` can make."""
        return block_count(self.config)

    def behaviour_blocks(self, first: int = 0, last: int | None = None) -> Iterator[Behaviours]:
        """Behaviours of blocks [first, last) of users, redrawn one block at a time.

        Together they equal `behaviours`; only one block is in memory.
        """
        for block in range(first, self.blocks if last is None else last):
            yield generate_block(self._plan, block).behaviours

    def response(
        self, rows: ArrayLike, ads: ArrayLike, position: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The truth of requests of the trace.

        Args:
            rows: (n,) row numbers in `requests`.
            ads: (n, k) or (n,) ad ids; any ads, candidates or not.
            position: slots counted from 0, broadcast to the shape of ads.

        Returns:
            (p_click, p_convert), f8 of the shape of ads: P(click | shown), P(conversion | click).

        Raises:
            ValueError: a row, ad or position is outside its range.
        """
        return self._truth(self._trace_moments, rows, ads, position)

    def log_response(
        self, rows: ArrayLike, ads: ArrayLike, position: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """As `response`, for requests of the log."""
        return self._truth(self._log_moments, rows, ads, position)

    def _truth(
        self, moments: Moments, rows: ArrayLike, ads: ArrayLike, position: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        row = _indices(rows, len(moments.user), "row")
        ad = _indices(ads, self.config.ads, "ad")
        if row.ndim != 1 or ad.ndim not in (1, 2) or len(ad) != len(row):
            raise ValueError(
                f"Rows have shape {row.shape} and ads {ad.shape}, expected (n,) and (n, k) or (n,). "
                "Give one row of ads for each request."
            )
        place = _indices(position, 2**31, "position")
        shape = ad.shape
        if place.ndim > ad.ndim or any(
            p not in (1, a) for p, a in zip(place.shape[::-1], shape[::-1], strict=False)
        ):
            raise ValueError(
                f"Positions have shape {place.shape} and ads {shape}, expected one position or one per ad. "
                "Give position the shape of ads."
            )
        if ad.size == 0:
            return np.empty(shape), np.empty(shape)
        place = np.broadcast_to(place, shape)
        taken = moments.take(row)
        ad, place = ad.reshape(len(row), -1), place.reshape(len(row), -1)
        click, convert = response(
            self.config, self._plan.users, self.catalogue, self._ad_truth, taken, ad, place
        )
        return click.reshape(shape), convert.reshape(shape)


def _indices(values: ArrayLike, size: int, what: str) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind not in "iu" or int(array.min()) < 0 or int(array.max()) >= size:
        raise ValueError(
            f"The {what} numbers span {array.min()} to {array.max()} ({array.dtype}), "
            f"expected whole numbers in [0, {size}). Check what they index."
        )
    return array.astype(np.int64)


def build_world(config: WorldConfig, seed: int, *, keep_behaviours: bool = True, jobs: int = 1) -> World:
    """Generate a world.

    Args:
        config: see `preset`.
        seed: any integer; another seed is another world of the same kind.
        keep_behaviours: False holds no behaviours (the full-size presets need 9 GB for them);
            `World.behaviour_blocks` then makes them one block at a time.
        jobs: processes that draw the blocks, then threads that draw candidates; the world is the same for
            any number.

    Raises:
        ValueError: the seed is not an integer.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise ValueError(f"The world's seed is {seed!r}, expected an integer. Give one such as 7.")
    seed = int(seed)
    catalogue, ad_truth, categories = build_catalogue(config, seed)
    users = build_users(config, categories, seed)
    plan = Plan(config, seed, users, categories, Warp.of(config), draw_demand(config, users, seed))
    log_parts: list[Moments] = []
    trace_parts: list[Moments] = []

    def behaviours() -> Iterator[Behaviours]:
        for block in drawn_blocks(plan, jobs):
            log_parts.append(block.log)
            trace_parts.append(block.trace)
            yield block.behaviours

    kept = None
    if keep_behaviours:
        kept = Behaviours.concatenate(behaviours())
    else:
        for _ in behaviours():
            pass
    log_moments, trace_moments = _in_time_order(log_parts), _in_time_order(trace_parts)
    return World(
        config,
        seed,
        Timeline.of(config),
        catalogue,
        _requests(plan, trace_moments, jobs),
        _log(plan, catalogue, ad_truth, log_moments),
        plan,
        ad_truth,
        trace_moments,
        log_moments,
        kept,
    )


def _in_time_order(parts: list[Moments]) -> Moments:
    """All moments, in a temporary file."""
    moments = Moments.concatenate(parts)
    parts.clear()
    order = np.argsort(moments.time_s, kind="stable")
    return Moments(**mapped({name: column[order] for name, column in vars(moments).items()}))


def _requests(plan: Plan, moments: Moments, jobs: int) -> Requests:
    config, n = plan.config, len(moments.user)
    ids = np.arange(n, dtype=np.uint64)
    candidates = draw_candidates(
        config,
        plan.seed,
        "candidate",
        plan.users,
        plan.categories,
        moments.user,
        ids,
        config.candidates,
        jobs,
    )
    started = moments.time_s >= Timeline.of(config).experiment_start_s
    columns: dict[str, NDArray[Any]] = {
        "request_id": ids,
        "arrival_s": moments.time_s,
        "user_id": moments.user.view(np.uint64),
        "candidates": candidates,
        "slots": np.full(n, config.slots, dtype=np.uint8),
        "hour": hour_of_day(moments.time_s),
        "propensity": plan.users.propensity[moments.user],
        "period": np.where(started, EXPERIMENT, PRE).astype(np.uint8),
        "day": (moments.time_s // DAY_S).astype(np.int32),
    }
    return Requests(**mapped(columns))


def _log(plan: Plan, catalogue: Catalogue, ad_truth: AdTruth, moments: Moments) -> LogImpressions:
    config, seed, n = plan.config, plan.seed, len(moments.user)
    ids = np.arange(n, dtype=np.uint64)
    # "Random candidates": the same sources as in the trace, shown in the order drawn.
    drawn = draw_candidates(
        config, seed, "log-candidate", plan.users, plan.categories, moments.user, ids, config.log_candidates
    )

    def shown(first: int) -> dict[str, NDArray[Any]]:
        rows = slice(first, first + _LOGGED_AT_ONCE)
        ads, request = drawn[rows].astype(np.int64), ids[rows, None]
        position = np.broadcast_to(np.arange(config.log_candidates), ads.shape)
        p_click, p_convert = response(
            config, plan.users, catalogue, ad_truth, moments.take(rows), ads, position
        )
        click = uniform(seed, "log-click", request, ads, position) < p_click
        conversion = click & (uniform(seed, "log-conversion", request, ads, position) < p_convert)
        return {
            "ad": ads.astype(np.int32),
            "ad_category": catalogue.category[ads],
            "position": position.astype(np.int8),
            "click": click.astype(np.uint8),
            "conversion": conversion.astype(np.uint8),
            "p_true": p_click.astype(np.float32),
        }

    later = moments.time_s >= Timeline.of(config).holdout_start_s
    of_requests: dict[str, NDArray[Any]] = {
        "request_id": ids,
        "time_s": moments.time_s,
        "user_id": moments.user.view(np.uint64),
        "hour": hour_of_day(moments.time_s),
        "propensity": plan.users.propensity[moments.user],
        "split": np.where(later, HOLDOUT, TRAIN).astype(np.uint8),
    }
    return LogImpressions(**mapped(of_requests), **gathered(map(shown, range(0, max(n, 1), _LOGGED_AT_ONCE))))
