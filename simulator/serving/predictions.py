"""What a policy may know of work before it is done: a profile's means and quantiles.

Between measured histories, predictions are mixed as the spreads themselves are (see `grid.py`), from tables
over the measured ones, so that a question costs two lookups. Start at `Predictions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from simulator.serving.arm import ServingArm
from simulator.serving.grid import Grid, Mixture
from simulator.serving.profile import ProfileError, ServiceProfile

F8 = NDArray[np.float64]

# What the ladder believes a request's own work takes at most. At P99 a heavy tail (3 % of calls
# six times as long) keeps full history out of budgets of twice the unloaded P95; P95 does not,
# and misses stay below 1 % for lognormal spreads up to sigma 0.25.
LADDER_QUANTILE = 0.95
# A spread in few numbers: its quantiles at 0, 1/32, ..., 31/32. The first is the fastest ever measured, and
# the share of them within a time is about the chance of being done by then.
LEVELS = 32


class Predictions(Protocol):
    """What a policy may know before the work is done; seconds."""

    def predict_store_s(self, history: int) -> float:
        """A high quantile of reading `history` behaviours."""
        ...

    def predict_transport_s(self, history: int) -> float:
        """A high quantile of packing and unpacking them."""
        ...

    def predict_score_s(self, model: str, history: int, batch: int) -> float:
        """A high quantile of scoring one batch."""
        ...

    def expected_fetch_s(self, history: int) -> float:
        """The mean of reading and transporting, for the queue: many requests take their mean."""
        ...

    def expected_score_s(self, model: str, history: int, batch: int) -> float:
        """The mean of scoring one batch, likewise."""
        ...

    def fetch_levels_s(self, history: int) -> list[float]:
        """`LEVELS` ascending quantiles of reading and transporting, as if both had the same luck."""
        ...

    def score_levels_s(self, model: str, history: int, batch: int) -> list[float]:
        """`LEVELS` ascending quantiles of scoring one batch."""
        ...


@dataclass(frozen=True)
class ScoreTable:
    """What scoring a batch of one size takes, by measured history (H of them).

    Attributes:
        mean_s, high_s: (H,) mean and stated quantile.
        levels_s: (H, LEVELS).
    """

    mean_s: F8
    high_s: F8
    levels_s: F8


class ProfilePredictions:
    """A profile's quantiles and means for one arm, looked up once per distinct question.

    Args:
        profile: measured spreads.
        arm: whose store and models.
        candidates: per request.
        quantile: what `predict_*` states, in (0, 1).
        extrapolate: whether the profile's largest history, batch and candidates may stand in for larger ones.
            Their times are too short for that.

    Attributes:
        store_grid, transport_grid, score_grids: the profile's spreads; the last by model.
        clamped: draws outside the profile's grid, by stage; they got its edge instead.

    Raises:
        ProfileError: the profile lacks the arm's store or a model of its ladder, or has not measured as many
            candidates or requests in a batch.
        ValueError: the quantile or the candidates are out of range.
    """

    def __init__(
        self,
        profile: ServiceProfile,
        arm: ServingArm,
        candidates: int,
        quantile: float = LADDER_QUANTILE,
        extrapolate: bool = False,
    ) -> None:
        if not 0.0 < quantile < 1.0:
            raise ValueError(
                f"Found a ladder quantile of {quantile}, expected one between 0 and 1, such as 0.95."
            )
        if candidates < 1:
            raise ValueError(
                f"Found {candidates} candidates per request, expected at least 1. See the trace."
            )
        self.quantile = quantile
        self.candidates = candidates
        self.clamped = {"store": 0, "transport": 0, "score": 0}
        self.store_grid = profile.store_grid(arm.store)
        self.transport_grid = profile.transport_grid
        self.score_grids: dict[str, Grid] = {
            step.model: profile.score_grid(step.model) for step in arm.steps if step.model is not None
        }
        self._arm, self._extrapolate = arm, extrapolate
        for model, grid in self.score_grids.items():
            self._check(f"candidates of {model}", candidates, grid.points[1][-1])
            self._check(f"requests in a batch of {model}", arm.max_batch, grid.points[2][-1])
        self._store: dict[int, Mixture] = {}
        self._transport: dict[int, Mixture] = {}
        self._score: dict[tuple[str, int, int], Mixture] = {}
        self._tables: dict[tuple[str, int], ScoreTable] = {}
        self._predicted: dict[Any, float] = {}
        self._levels: dict[Any, list[float]] = {}

    def check_history(self, longest: int) -> None:
        """Whether the profile has measured histories as long as the arm's steps read of one this long.

        Raises:
            ProfileError: it has not, and may not extrapolate.
        """
        full = min(longest, self._arm.full.history)
        self._check(f"behaviours read from {self._arm.store}", full, self.store_grid.points[0][-1])
        self._check("behaviours transported", full, self.transport_grid.points[0][-1])
        for step in self._arm.steps:
            if step.model is not None:
                most = self.score_grids[step.model].points[0][-1]
                self._check(f"behaviours scored by {step.model}", min(longest, step.history), most)

    def _check(self, what: str, found: int, most: int) -> None:
        # A single point was measured where nothing depends on the number: a model that reads no history.
        if found > most > 1 and not self._extrapolate:
            raise ProfileError(
                f"Arm {self._arm.name!r} asks for {found:,} {what}, and the profile measured at most "
                f"{most:,}. Measure it with `laser-ab profile`, ask for less, or set experiment.extrapolate "
                f"= true to let the times of {most:,} stand in, which are too short."
            )

    def store_spread(self, history: int) -> Mixture:
        """The store's spread at a history length."""
        spread = self._store.get(history)
        if spread is None:
            spread = self._store[history] = self.store_grid.at(history)
        return spread

    def transport_spread(self, history: int) -> Mixture:
        """Transport's spread at a history length."""
        spread = self._transport.get(history)
        if spread is None:
            spread = self._transport[history] = self.transport_grid.at(history)
        return spread

    def score_spread(self, model: str, history: int, batch: int) -> Mixture:
        """Scoring's spread for a batch."""
        key = (model, history, batch)
        spread = self._score.get(key)
        if spread is None:
            spread = self._score[key] = self.score_grids[model].at(history, self.candidates, batch)
        return spread

    def score_table(self, model: str, batch: int) -> ScoreTable:
        """What scoring a batch of this size takes, by measured history."""
        table = self._tables.get((model, batch))
        if table is None:
            grid = self.score_grids[model]
            spreads = [grid.at(history, self.candidates, batch) for history in grid.points[0]]
            table = self._tables[model, batch] = ScoreTable(
                np.array([s.mean() for s in spreads]),
                np.array([s.quantile(self.quantile) for s in spreads]),
                # Ascending but for a rounding: then truly.
                np.maximum.accumulate(
                    [[s.quantile(i / LEVELS) for i in range(LEVELS)] for s in spreads], axis=1
                ),
            )
        return table

    def _between(self, model: str, history: int, by_history: F8) -> Any:
        """A table's row at a history between its measured ones."""
        mixed = 0.0
        for place, share in self.score_grids[model].sides(0, history):
            mixed = mixed + share * by_history[place]
        return mixed

    def predict_store_s(self, history: int) -> float:
        """See `Predictions`."""
        seconds = self._predicted.get(history)
        if seconds is None:
            seconds = self._predicted[history] = self.store_spread(history).quantile(self.quantile)
        return seconds

    def predict_transport_s(self, history: int) -> float:
        """See `Predictions`."""
        seconds = self._predicted.get(("transport", history))
        if seconds is None:
            seconds = self.transport_spread(history).quantile(self.quantile)
            self._predicted["transport", history] = seconds
        return seconds

    def predict_score_s(self, model: str, history: int, batch: int) -> float:
        """See `Predictions`."""
        key = (model, history, batch)
        seconds = self._predicted.get(key)
        if seconds is None:
            table = self.score_table(model, batch)
            seconds = self._predicted[key] = float(self._between(model, history, table.high_s))
        return seconds

    def expected_fetch_s(self, history: int) -> float:
        """See `Predictions`."""
        return self.store_spread(history).mean() + self.transport_spread(history).mean()

    def expected_score_s(self, model: str, history: int, batch: int) -> float:
        """See `Predictions`."""
        key = ("mean", model, history, batch)
        seconds = self._predicted.get(key)
        if seconds is None:
            table = self.score_table(model, batch)
            seconds = self._predicted[key] = float(self._between(model, history, table.mean_s))
        return seconds

    def fetch_levels_s(self, history: int) -> list[float]:
        """See `Predictions`."""
        levels = self._levels.get(history)
        if levels is None:
            store, transport = self.store_spread(history), self.transport_spread(history)
            at = [i / LEVELS for i in range(LEVELS)]
            levels = self._levels[history] = [store.quantile(u) + transport.quantile(u) for u in at]
        return levels

    def score_levels_s(self, model: str, history: int, batch: int) -> list[float]:
        """See `Predictions`."""
        key = (model, history, batch)
        levels = self._levels.get(key)
        if levels is None:
            table = self.score_table(model, batch)
            levels = self._levels[key] = self._between(model, history, table.levels_s).tolist()
        return levels
