"""The A/B simulator: composes stores and models, and knows the truth. Start at `experiment/run.py`.

The names below are what a script or a notebook needs; each is imported when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.api import resume as resume
    from simulator.api import run as run
    from simulator.api import sweep as sweep
    from simulator.config.errors import ConfigError as ConfigError
    from simulator.config.load import load_config as load_config
    from simulator.config.load import parse_config as parse_config
    from simulator.config.load import to_toml as to_toml
    from simulator.config.settings import ExperimentConfig as ExperimentConfig
    from simulator.errors import SimulatorError as SimulatorError
    from simulator.results.axes import Axis as Axis
    from simulator.results.errors import ResultsError as ResultsError
    from simulator.results.read import Run as Run
    from simulator.results.read import Sweep as Sweep
    from simulator.results.read import list_runs as list_runs
    from simulator.results.read import list_sweeps as list_sweeps
    from simulator.results.read import read_run as read_run
    from simulator.results.read import read_sweep as read_sweep
    from simulator.whatif.resimulation import Answer as Answer
    from simulator.whatif.resimulation import Resimulation as Resimulation

_HOMES = {
    "Answer": "simulator.whatif.resimulation",
    "Axis": "simulator.results.axes",
    "ConfigError": "simulator.config.errors",
    "ExperimentConfig": "simulator.config.settings",
    "Resimulation": "simulator.whatif.resimulation",
    "ResultsError": "simulator.results.errors",
    "Run": "simulator.results.read",
    "SimulatorError": "simulator.errors",
    "Sweep": "simulator.results.read",
    "list_runs": "simulator.results.read",
    "list_sweeps": "simulator.results.read",
    "load_config": "simulator.config.load",
    "parse_config": "simulator.config.load",
    "read_run": "simulator.results.read",
    "read_sweep": "simulator.results.read",
    "resume": "simulator.api",
    "run": "simulator.api",
    "sweep": "simulator.api",
    "to_toml": "simulator.config.load",
}
__all__ = list(_HOMES)


# PEP 562: `laser-ab --help` imports this package too, and must not wait for torch.
def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
