"""A small world for the folder."""

import pytest

from simulator.world.config import preset
from simulator.world.world import World, build_world


@pytest.fixture(scope="session")
def world() -> World:
    return build_world(preset("demo", users=500, history_max=300, requests=1500, log_requests=6), 11)
