"""What small experiments give when nothing disturbs them, computed once."""

import os
from dataclasses import dataclass

import pytest
from small_runs import ALONE, GRID, asked_after, small, whole

from simulator.experiment.run import run_experiment
from simulator.whatif.sweep import run_sweep


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither settings of whoever runs the tests, nor a narrow terminal."""
    for name in os.environ:
        if name.startswith("LASER_AB_"):
            monkeypatch.delenv(name)
    for name, value in ALONE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")


@dataclass(frozen=True)
class Undisturbed:
    """A small run: its bytes, and how many moments it had at which it could have ended."""

    bytes: dict[str, bytes]
    looks: int


@pytest.fixture(scope="session")
def undisturbed_run(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    with asked_after(1 << 40) as countdown:
        folder = run_experiment(small(), tmp_path_factory.mktemp("undisturbed") / "run")
    return Undisturbed(whole(folder), (1 << 40) - countdown.left)


@pytest.fixture(scope="session")
def undisturbed(undisturbed_run: Undisturbed) -> dict[str, bytes]:
    return undisturbed_run.bytes


@pytest.fixture(scope="session")
def last_look(undisturbed_run: Undisturbed) -> int:
    """After it a run is interrupted when all is served, and before any table is written."""
    return undisturbed_run.looks - 1


@pytest.fixture(scope="session")
def undisturbed_sweep(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return whole(run_sweep(small(), GRID, tmp_path_factory.mktemp("undisturbed") / "sweep"))
