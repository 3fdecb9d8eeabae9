"""What small experiments give when nothing disturbs them, computed once."""

import os

import pytest
from small_runs import GRID, small, whole

from simulator.experiment.run import run_experiment
from simulator.whatif.sweep import run_sweep


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither settings of whoever runs the tests, nor a narrow terminal."""
    for name in os.environ:
        if name.startswith("LASER_AB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return whole(run_experiment(small(), tmp_path_factory.mktemp("undisturbed") / "run"))


@pytest.fixture(scope="session")
def undisturbed_sweep(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return whole(run_sweep(small(), GRID, tmp_path_factory.mktemp("undisturbed") / "sweep"))
