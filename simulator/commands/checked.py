"""An experiment file, loaded and looked through before any work. Start at `load_checked`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.config.errors import Problem
    from simulator.config.load import ExperimentConfig


def load_checked(
    path: Path,
    overrides: Sequence[str] | None,
    seed: int | None,
    *,
    profiled: bool = True,
    budgeted: bool = True,
) -> "ExperimentConfig":
    """`load_config` for work to be done here, with what `findings` says of it; warnings go to stderr.

    Raises:
        ConfigError: the file cannot be used.
    """
    config, warnings = look_through(path, overrides, seed, profiled=profiled, budgeted=budgeted, here=True)
    for warning in warnings:
        print(warning.render(), end="\n\n", file=sys.stderr)
    return config


def look_through(
    path: Path,
    overrides: Sequence[str] | None,
    seed: int | None,
    *,
    profiled: bool = True,
    budgeted: bool = True,
    here: bool = False,
) -> tuple["ExperimentConfig", list["Problem"]]:
    """The configuration, and the warnings about it.

    Raises:
        ConfigError: the file cannot be used.
    """
    from simulator.arms.outlook import findings
    from simulator.config.errors import ConfigError
    from simulator.config.load import read_config

    config, origin = read_config(path, overrides or [], seed)
    found = findings(config, profiled=profiled, budgeted=budgeted, here=here)
    problems = [origin.at(f.path, f.message, f.help, warning=f.warning) for f in found]
    if any(not problem.warning for problem in problems):
        raise ConfigError(problems)
    return config, problems
