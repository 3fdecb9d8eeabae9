"""Every example file runs: small in the default tests, as it is in the slow ones."""

from pathlib import Path

import pytest

from simulator.config.load import load_config
from simulator.config.settings import MODELS
from simulator.experiment.run import run_experiment
from simulator.results.read import read_run

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.toml"))
NEEDS_A_LOG = ("kuairand", "complete-journey")
MANY_ARMS = "all-models"
# As they are, they take a GPU: `python -m benchmarks.paper`.
FULL_SIZE = ("paper", "papers-arms")
SHORT = ["traffic.world.log_requests=2", "traffic.world.history_max=60"]
SMALL = ["traffic.world.users=120", "traffic.world.requests=400", "traffic.world.history_max=300"]
# Live arms are measured: what that costs is the length of their histories.
LIVE = ["arms.treatment.history=60"]
# Ten live arms are measured, each model at each of its lengths: what that costs is histories and batches.
TINY = [
    "traffic.world.users=120",
    "traffic.world.requests=200",
    "traffic.world.history_max=60",
    "traffic.world.candidates=8",
    "traffic.world.log_requests=4",
    "experiment.days=1",
    "experiment.budget_ms=100",
]


def finished(example: Path, out: Path, overrides: list[str]) -> None:
    run = read_run(run_experiment(load_config(example, overrides, environment={}), out, jobs=1))
    assert run.status == "finished"
    assert run.scorecard["verdict"]["text"]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3
    assert "demo.toml" in {path.name for path in EXAMPLES}


def test_the_example_of_all_models_ends_with_one_scorecard_of_an_arm_for_each(tmp_path: Path) -> None:
    (path,) = [example for example in EXAMPLES if example.stem == MANY_ARMS]
    models = [name for name in MODELS if name != "counts"]
    short = ("history=2", "max_batch=1", "light_model='none'")
    tiny = [f"arms.{name}.{change}" for name in models for change in short]
    config = load_config(path, [*TINY, *tiny], environment={})
    run = read_run(run_experiment(config, tmp_path / "run", jobs=1))
    arms = run.scorecard["arms"]
    assert {entry["name"]: entry["model"] for entry in run.arms} == {name: name for name in models}
    assert set(arms) == set(models)
    for name, arm in arms.items():
        assert name == "din" or arm["metrics"]["advv_per_request"]["true_lift"] is not None
        assert arm["latency"]["p50_ms"] > 0


@pytest.mark.parametrize(
    "example", [path for path in EXAMPLES if path.stem != MANY_ARMS], ids=lambda path: path.stem
)
def test_an_example_runs_on_a_small_world(example: Path, tmp_path: Path, kuairand_log: Path) -> None:
    small = [f"traffic.log={kuairand_log}"] if example.stem in NEEDS_A_LOG else SMALL
    own = LIVE if example.stem == "live" else SHORT if example.stem in FULL_SIZE else []
    finished(example, tmp_path / "run", [*small, *own])


@pytest.mark.slow
@pytest.mark.parametrize(
    "example",
    [path for path in EXAMPLES if path.stem not in (*NEEDS_A_LOG, *FULL_SIZE)],
    ids=lambda path: path.stem,
)
def test_an_example_runs_as_it_is(example: Path, tmp_path: Path) -> None:
    finished(example, tmp_path / "run", [])
