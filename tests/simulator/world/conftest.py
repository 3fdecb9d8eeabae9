"""One demo world for the whole folder: building it takes about a second."""

import pytest

from simulator.world.config import preset
from simulator.world.world import World, build_world


@pytest.fixture(scope="session")
def demo() -> World:
    return build_world(preset("demo"), 7)
