"""A user's mistake and a defect of the program look different; errors survive the way home from a worker."""

import importlib
import inspect
import pickle
import pkgutil
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from laser.errors import LaserError
from seqvault.errors import StoreError
from simulator.commands.errors import DEFECT, FAILURE, USAGE, explain, guarded
from simulator.config.errors import ConfigError, Problem
from simulator.errors import SimulatorError
from simulator.results.errors import ResultsError

BASES = {"laser": LaserError, "seqvault": StoreError, "simulator": SimulatorError}


def modules(package: str) -> list[str]:
    found = pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
    # Kernels need a compiler that a machine may lack, and raise nothing of their own.
    return [module.name for module in found if "kernels" not in module.name]


@pytest.mark.parametrize("package", BASES)
def test_every_error_of_a_package_has_its_base(package: str) -> None:
    errors = {
        value
        for name in modules(package)
        for value in vars(importlib.import_module(name)).values()
        if inspect.isclass(value)
        and issubclass(value, Exception)
        and not issubclass(value, Warning)
        and value.__module__ == name
    }
    assert len(errors) > 5
    strangers = {error.__name__ for error in errors if not issubclass(error, BASES[package])}
    # BlockDamage never leaves the store: whoever meets it answers with DamagedDataError.
    assert strangers <= {"BlockDamage"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SimulatorError("found a, expected b"), FAILURE),
        (LaserError("found a, expected b"), FAILURE),
        (StoreError("found a, expected b"), FAILURE),
        (ConfigError([Problem("unknown key", "file.toml")]), USAGE),
        (ValueError("could not broadcast"), DEFECT),
        (KeyError("ctr"), DEFECT),
    ],
)
def test_what_a_user_can_mend_is_no_defect(error: Exception, code: int) -> None:
    message, found = explain(error)
    assert found == code
    assert ("defect of laser-ab" in message) == (code == DEFECT)


def test_a_shape_that_numpy_refuses_shows_where_it_happened() -> None:
    program = typer.Typer()

    @guarded
    def add() -> None:
        np.zeros(3) + np.zeros(4)

    program.command()(add)
    result = CliRunner().invoke(program, [])
    assert result.exit_code == DEFECT
    assert "in add" in result.stderr
    assert "could not be broadcast" in result.stderr
    assert "report it" in result.stderr


@pytest.mark.parametrize(
    "error",
    [
        ResultsError(Path("run/manifest.json"), "found nothing.", "Choose another."),
        ConfigError([Problem("unknown key `a`", "file.toml"), Problem("unknown key `b`", "file.toml")]),
    ],
)
def test_an_error_comes_home_from_a_worker_as_it_was(error: Exception) -> None:
    error.add_note("continue it: laser-ab run --resume here")
    home = pickle.loads(pickle.dumps(error))
    assert type(home) is type(error)
    assert str(home) == str(error)
    assert home.__notes__ == error.__notes__
