"""A trace is gone through part by part: how it is parted, and where that ends by a kill, changes nothing."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_runs import ALONE, ROOT, asked_after, interrupted_run, small, whole

from simulator.experiment import outcomes
from simulator.experiment.run import resume_experiment, run_experiment
from simulator.results.read import read_run

# Base trains in a second; two arms that differ, slots that stay empty, budgets that run out.
ARMS = (
    "arms.control.model=base",
    "arms.treatment.model=base",
    "arms.control.light_model=none",
    "arms.treatment.light_model=none",
    "traffic.world.slots=2",
    "market.budget_tau=-1",
    "market.budget_clicks=0",
    "traffic.load=1.2",
    "traffic.world.log_requests=4",
)


@dataclass(frozen=True)
class Undisturbed:
    """A run in parts as large as they are: its bytes, the moments at which it could end, what it kept."""

    bytes: dict[str, bytes]
    looks: int
    kept: dict[str, str]


@pytest.fixture(scope="module")
def undisturbed_parts(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("streaming")
    kept = {**ALONE, "LASER_AB_CACHE_GB": "1", "LASER_AB_CACHE": str(folder / "cache")}
    with pytest.MonkeyPatch.context() as patch, asked_after(1 << 40) as countdown:
        for name, value in kept.items():
            patch.setenv(name, value)
        run_experiment(small(*ARMS), folder / "first")  # trains, and keeps what it learnt
        countdown.left = 1 << 40
        run = run_experiment(small(*ARMS), folder / "run")
    return Undisturbed(whole(run), (1 << 40) - countdown.left, kept)


@pytest.fixture
def kept(undisturbed_parts: Undisturbed, monkeypatch: pytest.MonkeyPatch) -> Undisturbed:
    """The same, with what it kept at hand."""
    for name, value in undisturbed_parts.kept.items():
        monkeypatch.setenv(name, value)
    return undisturbed_parts


def test_how_a_trace_is_parted_changes_no_byte(
    kept: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "_ROWS", 7)
    monkeypatch.setattr(outcomes, "ROW_GROUP_ROWS", 11)
    assert whole(run_experiment(small(*ARMS), tmp_path / "run")) == kept.bytes


def killed_at(part: int, run: Path) -> None:
    """Go on with a run, and be killed at that part of the market or of a table."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    program = [sys.executable, str(Path(__file__).parents[1] / "part_killed.py")]
    done = subprocess.run(
        [*program, "run", "--resume", str(run)],
        env=os.environ | {"PYTHONPATH": paths, "KILL_AT": str(part)},
        cwd=run.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert read_run(run).status == "interrupted"


# Of its 136 parts 116 are auctions and sums, the others are parts of tables.
@pytest.mark.parametrize(
    "parts",
    [
        pytest.param((118,), id="once"),
        pytest.param((0, 15, 40, 70, 100, 115, 117, 121, 126, 134), id="ten times", marks=pytest.mark.slow),
    ],
)
def test_a_run_killed_on_its_way_through_the_trace_ends_with_the_same_bytes(
    parts: tuple[int, ...], kept: Undisturbed, tmp_path: Path
) -> None:
    # At its last look all is served, and no table is written.
    run = interrupted_run(tmp_path / "run", kept.looks - 1, small(*ARMS))
    for part in parts:
        killed_at(part, run)
    assert whole(resume_experiment(run)) == kept.bytes
