"""Small generated worlds by which a search looks at parameters: `trial`."""

from __future__ import annotations

from typing import Any

from simulator.world.config import preset
from simulator.world.world import World, build_world

BASE = "demo"  #: the preset whose other parameters are kept
TRIAL_USERS = 512
TRIAL_SEED = 11


def trial(overrides: dict[str, Any], users: int, seed: int, **changed: Any) -> World:
    """A world of these parameters and at most so many users, with their share of the requests.

    Raises:
        SimulatorError: parameters that no world can have.
    """
    most = min(users, int(overrides["users"]))
    share = most / overrides["users"]
    values = {**overrides, "users": most, "requests": max(1, round(overrides["requests"] * share)), **changed}
    return build_world(preset(BASE, **values), seed)
