"""How a log's users answer, brought to a generated world: repeats of items, click levels, ads, interests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.draws import uniform
from simulator.logs.calibration.statistics import item_repeats, user_click_sd
from simulator.logs.calibration.trials import TRIAL_SEED, TRIAL_USERS, trial
from simulator.world.config import WorldConfig
from simulator.world.fitted import LogWorld
from simulator.world.protocol import ExperimentWorld
from simulator.world.world import World

_CLICK_STEPS, _CLICK_SHOWN = 10, 60
_LEVEL_STEPS = 2  # the last: interests and ads move the level, so it comes to rest after them
_REQUESTS = 20_000  # whose best ad is looked at, as in an import
_SEED = 0
_REPEAT_STEPS = 3
_MOST_STRENGTH = 4.0  # times the preset's: what moves more is no interest
_MOST_SPREAD = 4.0  # times the preset's: a logit of 1.6 between ads that no user tells apart


def with_repeats(overrides: dict[str, Any], world: LogWorld) -> dict[str, Any]:
    """item_repeat, moved until users of a trial come back to items as often as the log's."""
    chosen = {**overrides, "item_repeat": 0.0}
    asked, plain = item_repeats(world.behaviours), 0.0
    for step in range(_REPEAT_STEPS):
        found = item_repeats(trial(chosen, TRIAL_USERS, TRIAL_SEED).behaviours)
        plain = found if step == 0 else plain
        # Nearly linear in the parameter: from what chance alone repeats up to all that can be repeated.
        slope = (found - plain) / chosen["item_repeat"] if chosen["item_repeat"] > 0 else 1.0 - plain
        chosen["item_repeat"] = float(np.clip((asked - plain) / max(slope, 1e-6), 0.0, 1.0))
    return chosen


def click_level(overrides: dict[str, Any], world: LogWorld, gain: float | None) -> dict[str, Any]:
    """b0, user_sd, cvr0, ad_sd with category_sd, and bA with bR, moved until a trial answers as the log does.

    These are the rates of clicks and conversions, the spread of users' click levels, the true CTR of the best
    candidate, and what knowing histories can add to it.
    """
    answers = world.log.shown
    rate, sd = float(world.log.click[answers].mean()), user_click_sd(world.log)
    converted = float(world.log.conversion[answers].sum() / max(world.log.click[answers].sum(), 1))
    best = best_ctr(world)
    names = ("b0", "user_sd", "ad_sd", "category_sd", "bA", "bR", "cvr0")
    chosen = {**overrides, **{name: getattr(WorldConfig, name) for name in names}}
    shown = chosen.get("log_candidates", WorldConfig.log_candidates)
    for step in range(_CLICK_STEPS):
        # Enough impressions of each user to see a level.
        made = trial(chosen, TRIAL_USERS, TRIAL_SEED, log_requests=-(-_CLICK_SHOWN // shown))
        found, found_sd = float(made.log.click.mean()), user_click_sd(made.log)
        moved = float(_logit(rate) - _logit(max(found, 1e-6)))
        chosen["b0"] += moved
        if sd is not None and found_sd is not None:
            # Interests add to the level's variance; what is left is the user's own.
            chosen["user_sd"] = float(np.sqrt(max(0.0, chosen["user_sd"] ** 2 + sd**2 - found_sd**2)))
        if 0 < converted < 1:
            found = float(made.log.conversion.sum() / max(made.log.click.sum(), 1))
            chosen["cvr0"] += float(_logit(converted) - _logit(min(max(found, 1e-6), 1 - 1e-6)))
        if step >= _CLICK_STEPS - _LEVEL_STEPS:
            continue
        chosen |= _spread(chosen, made, best, moved)
        if gain is not None:
            # What a small interest adds to the best of many grows as its square.
            factor = np.sqrt(max(gain, 0.0) / max(interest_gain(made), 1e-9))
            for name in ("bA", "bR"):
                most = _MOST_STRENGTH * getattr(WorldConfig, name)
                chosen[name] = float(min(chosen[name] * factor, most))
    return {name: round(v, 4) if isinstance(v, float) else v for name, v in chosen.items()}


def _spread(chosen: dict[str, Any], made: World, best: float, moved: float) -> dict[str, float]:
    """Spreads of ads and categories by which the best candidate's CTR would be `best`.

    The distance of the best of so many from their mean goes with the spread of all that tells them apart.
    Interests are a part of that; what is left is the ads' own.
    """
    p = np.clip(_responses(made), 1e-9, 1.0 - 1e-9)
    logits = np.log(p / (1.0 - p))
    mean = _logit(float(p.mean()))
    found = _logit(float(p.max(axis=1).mean())) - mean
    # The level is on its way too, and takes the mean with it.
    ratio = max(_logit(best) - mean - moved, 0.0) / max(found, 1e-6)
    own = chosen["ad_sd"] ** 2 + chosen["category_sd"] ** 2
    asked = max(0.0, own + float(logits.var(axis=1).mean()) * (ratio**2 - 1.0))
    whole = WorldConfig.ad_sd**2 + WorldConfig.category_sd**2
    factor = float(min(np.sqrt(asked / whole), _MOST_SPREAD))
    return {name: factor * getattr(WorldConfig, name) for name in ("ad_sd", "category_sd")}


def best_ctr(world: ExperimentWorld) -> float:
    """The mean true CTR of the best of a request's candidates, at the first position."""
    return float(_responses(world).max(axis=1).mean())


def _responses(world: ExperimentWorld) -> NDArray[np.float64]:
    """(n, C) true CTR of the candidates of some requests."""
    draws = uniform(_SEED, "best", np.arange(len(world.requests)))
    rows = np.sort(np.argsort(draws)[:_REQUESTS])
    return world.response(rows, world.requests.candidates[rows].astype(np.int64), 0)[0]


def interest_gain(world: World) -> float:
    """What `simulator.logs.table.shows.history_can_move` is in a generated world, over all its requests."""
    rows, ads = np.arange(len(world.requests)), world.requests.candidates.astype(np.int64)
    blind = replace(world, config=replace(world.config, bA=0.0, bR=0.0))
    p, plain = (each.response(rows, ads, 0)[0] for each in (world, blind))
    interest = np.log(p / (1.0 - p)) - np.log(plain / (1.0 - plain))
    category = world.catalogue.category[ads].astype(np.int64)
    total = np.bincount(category.ravel(), interest.ravel(), world.config.categories)
    mean = total / np.maximum(np.bincount(category.ravel(), minlength=world.config.categories), 1)
    # The order that knows all but the user's history: others' interest in the category in place of it.
    guess = (np.log(plain / (1.0 - plain)) + mean[category]).argmax(axis=1)
    return float(p.max(axis=1).mean() / p[rows, guess].mean() - 1.0)


def _logit(p: float) -> float:
    return float(np.log(p / (1.0 - p)))
