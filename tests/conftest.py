"""For all tests: a small log in KuaiRand's format, and what no test may leave behind for the others.

Being here puts the log's maker on the path.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from kuairand_files import write_kuairand

# A test works by itself and finds nothing that another left, unless it asks for that; see `small_runs.ALONE`.
os.environ |= {"LASER_AB_CACHE_GB": "0", "LASER_AB_JOBS": "1"}

# Nothing that hypothesis tries fails for having taken long: the machine may be slow, or busy.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
# For mutate.py: that a test fails is enough; looking for the smallest example took up to five minutes.
settings.register_profile(
    "unshrunk", settings.get_profile("any machine"), phases=[p for p in Phase if p != Phase.shrink]
)

CLOCKS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "process_time", "sleep")
GLOBALS = (
    ("simulator.execution.interrupts", "_flag"),
    ("simulator.execution.interrupts", "asked"),
    ("simulator.execution.checkpoints", "EVERY_S"),
)
# The most work, or the most waiting, first: begun last, one of them would leave the other cores without any.
LONGEST = (
    "test_browser.py",
    "test_interruption.py",
    "test_fault_matrix.py",
    "test_run.py",
    "test_serving_bottleneck.py",
    "test_sweep_over_any_setting.py",
    "test_readme.py",
    "test_resume.py",
    "test_wal_cuts.py",
    "test_truth_page.py",
    "test_resimulation.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Several processes take the tests by file (`make test`), in this order."""
    if hasattr(config, "workerinput"):
        order = {name: place for place, name in enumerate(LONGEST)}
        items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """A test that leaves work asked to end, a signal answered otherwise, or a clock changed, fails itself.

    Everything is put back, so that no later test fails for it.
    """
    before = surroundings()
    yield
    left = [place for place, value in surroundings().items() if before.get(place, value) is not value]
    for place in left:
        put_back(place, before[place])
    interrupts: Any = sys.modules.get("simulator.execution.interrupts")
    if interrupts is not None and interrupts.asked():
        interrupts._asked.value = False
        left.append(("simulator.execution.interrupts", "asked() is True"))
    if left:
        pytest.fail(f"the test leaves these changed: {left}. Undo it in the test, even when it fails.")


Place = tuple[str, str | signal.Signals]


def surroundings() -> dict[Place, Any]:
    """Clocks, answers to signals, and the simulator's own switches, as far as they are loaded."""
    found: dict[Place, Any] = {("time", name): getattr(time, name) for name in CLOCKS}
    found |= {("signal", number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    loaded = [(module, name) for module, name in GLOBALS if module in sys.modules]
    return found | {(module, name): getattr(sys.modules[module], name) for module, name in loaded}


def put_back(place: Place, value: Any) -> None:
    module, name = place
    if isinstance(name, signal.Signals):
        signal.signal(name, value)
    else:
        setattr(sys.modules[module], name, value)


@pytest.fixture(scope="session")
def kuairand_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log folder of six days; do not change it."""
    from simulator.logs.table.shipped import import_kuairand

    folder = tmp_path_factory.mktemp("kuairand")
    write_kuairand(folder / "published")
    import_kuairand(folder / "published", folder / "log")
    return folder / "log"
