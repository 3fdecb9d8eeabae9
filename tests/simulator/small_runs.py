"""Small experiments for tests, as a library and as a command: the demo's design on a world of seconds."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulator.cli import app
from simulator.config.load import ExperimentConfig, load_config
from simulator.execution import interrupts
from simulator.execution.interrupts import Interrupted
from simulator.experiment.run import run_experiment
from simulator.results.axes import Axis
from simulator.results.read import read_run

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SMALL = (
    "traffic.world.users=120",
    "traffic.world.requests=500",
    "traffic.world.history_max=160",
    "arms.treatment.history=160",
)
# A test finds nothing that another left, and starts no processes that it does not ask for.
ALONE = {"LASER_AB_CACHE_GB": "0", "LASER_AB_JOBS": "1"}
GRID = (Axis("experiment.budget_ms", (0.5, 5.0, 9.0)),)
OVER = ["--over", "experiment.budget_ms=0.5,5,9"]  # the same for the command line


def small(*overrides: str, example: str = "demo.toml") -> ExperimentConfig:
    """An example on a small world."""
    return load_config(EXAMPLES / example, [*SMALL, *overrides], environment={})


def settings(*overrides: str) -> list[str]:
    """`small` as arguments of the command line."""
    return [str(EXAMPLES / "demo.toml"), *(part for pair in (*SMALL, *overrides) for part in ("--set", pair))]


def call(*arguments: object, code: int = 0) -> str:
    """Run `laser-ab` here; what it said on stderr, which must not be a traceback."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert "defect" not in result.output
    return result.stderr


def table_bytes(run: Path) -> dict[str, bytes]:
    """Every table of a run or sweep folder and of its cells, and their scorecards, as bytes."""
    files = [*run.glob("*.parquet"), *run.glob("cells/*/*.*")]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def whole(folder: Path) -> dict[str, bytes]:
    """Everything a finished folder promises to be the same."""
    assert not (folder / "work").exists()
    assert not list(folder.rglob(".*"))
    cards = {path.name: path.read_bytes() for path in folder.glob("scorecard.json")}
    return table_bytes(folder) | cards


class Countdown:
    """A flag that is set from the n-th look at it on."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


@contextmanager
def asked_after(looks: int) -> Iterator[Countdown]:
    """As if Ctrl-C came just before the n-th moment at which the work can end."""
    with pytest.MonkeyPatch.context() as patch:
        countdown = Countdown(looks)
        patch.setattr(interrupts, "_flag", countdown)
        yield countdown


def interrupted_run(out: Path, looks: int, config: ExperimentConfig | None = None) -> Path:
    """A run folder that was left on the way."""
    with asked_after(looks), pytest.raises(Interrupted) as told:
        run_experiment(config or small(), out)
    assert told.value.command == f"laser-ab run --resume {out}"
    assert read_run(out).status == "interrupted"
    return out
