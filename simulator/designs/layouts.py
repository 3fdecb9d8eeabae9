"""The designs. A new one is a dataclass with `draw`, and one more entry of `designs`.

Sources: budget split: Liu, Mao and Kang, arXiv:2012.08724. Switchback: Bojinov, Simchi-Levi and Zhao,
"Design and analysis of switchback experiments", Management Science 2023. Two sides: Johari, Li, Liskovich and
Weintraub, "Experimental design in two-sided platforms", Management Science 2022. Layers: Tang, Agarwal,
O'Brien and Meyer, "Overlapping experiment infrastructure", KDD 2010.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.assignment import assign
from simulator.designs.design import I8, Assignment, B, Design, Population
from simulator.draws import uniform
from simulator.errors import SimulatorError

_HOUR_S = 3600.0


@dataclass(frozen=True)
class UserSplit:
    """Users are assigned; requests of one are all ranked by one arm.

    Attributes:
        share: the treatment's, of the users in the experiment.
        ramp: shares of the users on the first days, a day each, before it is `share`. A user moves once, from
            control to treatment, and only the days after the ramp are compared.
        layer: the part of all users that the experiment may have, by a hash of its own, so that other
            experiments may have the rest. The others are served by control, and left out.
        split_budgets: whether each arm pays from its own part of every budget.
    """

    share: float = 0.5
    ramp: tuple[float, ...] = ()
    layer: tuple[float, float] = (0.0, 1.0)
    split_budgets: bool = False

    @property
    def name(self) -> str:
        """By what is particular to it."""
        if self.split_budgets:
            return "budget split"
        if self.ramp:
            return "ramp"
        return "user split" if self.layer == (0.0, 1.0) else "hold-out"

    @property
    def why(self) -> str:
        """See `Design`."""
        if self.split_budgets:
            return "a part of a budget holds fewer clicks than the whole, and runs out sooner"
        return "both arms pay from the same budgets, so what one arm's clicks spend the other cannot earn"

    def draw(self, population: Population, salt: str, seed: int) -> Assignment:
        """See `Design`."""
        ids = population.user_ids
        # One number a user: a larger share keeps the users of a smaller one.
        place = uniform(seed, f"assign/{salt}", ids)
        inside = in_layer(ids, self.layer, seed)
        shares = np.append(np.asarray(self.ramp), self.share)[np.clip(population.day, 0, len(self.ramp))]
        user = population.user
        rows = (place[user] >= 1.0 - shares) & inside[user] & population.inside
        counts = population.inside & inside[user] & (population.day >= len(self.ramp))
        if not counts.any():
            raise SimulatorError(
                f"A ramp of {len(self.ramp)} days leaves no day to compare, expected a shorter one. Shorten "
                "it, or lengthen experiment.days."
            )
        return Assignment(
            "user",
            rows,
            _all_ads(population),
            np.where(counts, user, -1),
            (1.0 - self.share, self.share) if self.split_budgets else None,
        )


def in_layer(user_ids: np.ndarray, part: tuple[float, float], seed: int, layer: str = "layer") -> B:
    """Which users an experiment of a layer may have; parts that do not overlap share no user.

    Args:
        user_ids: any shape.
        part: from and to, in [0, 1].
        seed: the experiment's.
        layer: its name; layers of other names are independent.
    """
    place = uniform(seed, f"layer/{layer}", user_ids)
    return np.asarray((place >= part[0]) & (place < part[1]))


@dataclass(frozen=True)
class Switchback:
    """Time is assigned: one arm ranks everything for a window, one window of every two neighbours each.

    Attributes:
        window_hours: of a window, from the experiment's first midnight.
        washout_hours: at a window's beginning, which is served and not compared.
    """

    window_hours: float = 24.0
    washout_hours: float = 1.0

    @property
    def name(self) -> str:
        """With its windows."""
        return f"switchback, {self.window_hours:g} h"

    @property
    def why(self) -> str:
        """See `Design`."""
        if self.window_hours % 24 == 0:
            return "windows are few, and a day of one arm is not like a day of the other"
        return "a window finds the day's budgets as the window before left them, which no washout restores"

    def draw(self, population: Population, salt: str, seed: int) -> Assignment:
        """See `Design`."""
        length_s, washout_s = self.window_hours * _HOUR_S, self.washout_hours * _HOUR_S
        if not 0 <= washout_s < length_s:
            raise SimulatorError(
                f"Found a washout of {self.washout_hours:g} h in windows of {self.window_hours:g} h, "
                "expected 0 or more and less than the window. Shorten it."
            )
        window = np.floor(population.since_s / length_s).astype(np.int64)
        if int(window.max()) + 1 < 4:
            raise SimulatorError(
                f"Found {int(window.max()) + 1} windows of {self.window_hours:g} h, expected at least 4. "
                "Shorten the windows, or lengthen experiment.days."
            )
        first = uniform(seed, f"switchback/{salt}", np.maximum(window, 0) // 2) < 0.5
        rows = ((window % 2 == 0) == first) & population.inside
        counts = population.inside & (population.since_s - window * length_s >= washout_s)
        return Assignment("window", rows, _all_ads(population), np.where(counts, window, -1))


@dataclass(frozen=True)
class AdvertiserSplit:
    """Advertisers are assigned: on every page the ads of treated ones are predicted by the treatment."""

    share: float = 0.5
    name: str = "advertiser split"
    why: str = "ads of both arms compete for the same slots, so what one wins the other loses"

    def draw(self, population: Population, salt: str, seed: int) -> Assignment:
        """See `Design`."""
        ads = _treated_ads(population, self.share, salt, seed)
        return Assignment("advertiser", population.inside, ads, np.where(population.inside, 0, -1))


@dataclass(frozen=True)
class TwoSided:
    """Users and advertisers are assigned: treated advertisers' ads are treated for treated users."""

    share: float = 0.5
    name: str = "two-sided"
    why: str = "on a treated user's page ads of both arms compete for the same slots"

    def draw(self, population: Population, salt: str, seed: int) -> Assignment:
        """See `Design`."""
        treated = _assigned(population.user_ids, self.share, salt, seed)
        ads = _treated_ads(population, self.share, salt, seed)
        rows = treated[population.user] & population.inside
        counted: I8 = np.where(population.inside, population.user, -1)
        return Assignment("user and advertiser", rows, ads, counted)


def designs(share: float = 0.5, window_hours: float = 24.0, washout_hours: float = 1.0) -> tuple[Design, ...]:
    """All of them, the simplest first.

    Args:
        share: the treatment's, of users or advertisers.
        window_hours, washout_hours: of the switchback.
    """
    return (
        UserSplit(share),
        UserSplit(share, ramp=(share / 10,)),
        UserSplit(share, layer=(0.0, 0.8)),
        UserSplit(share, split_budgets=True),
        Switchback(window_hours, washout_hours),
        AdvertiserSplit(share),
        TwoSided(share),
    )


def _treated_ads(population: Population, share: float, salt: str, seed: int) -> B:
    advertisers = _assigned(np.arange(population.advertisers), share, f"{salt}/advertisers", seed)
    return np.asarray(advertisers[population.advertiser])


def _assigned(ids: np.ndarray, share: float, salt: str, seed: int) -> B:
    return np.asarray(assign(ids, salt, (1.0 - share, share), seed) == 1)


def _all_ads(population: Population) -> B:
    return np.ones(len(population.advertiser), np.bool_)
