"""Small experiments for tests: the demo's design on a world that runs in seconds."""

from pathlib import Path

from simulator.experiment.config import ExperimentConfig, load_config

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"
SMALL = (
    "traffic.world.users=120",
    "traffic.world.requests=500",
    "traffic.world.history_max=160",
    "arms.treatment.history=160",
)


def small(*overrides: str, example: str = "demo.toml") -> ExperimentConfig:
    """An example on a small world."""
    return load_config(EXAMPLES / example, [*SMALL, *overrides], environment={})


def table_bytes(run: Path) -> dict[str, bytes]:
    """Every table of a run or sweep folder, and its scorecards, as bytes."""
    files = [*run.glob("*.parquet"), *run.glob("cells/*/scorecard.json")]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}
