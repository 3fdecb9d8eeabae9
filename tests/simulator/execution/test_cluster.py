"""Tasks on a Ray cluster of two nodes on this machine: the same results, a lost worker costs its task."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_runs import GRID, small, table_bytes

from simulator.errors import SimulatorError
from simulator.execution import cluster
from simulator.execution.parallel import run_tasks
from simulator.execution.progress import Silent
from simulator.whatif.sweep import run_sweep


def test_an_unknown_engine_and_a_missing_ray_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cluster.ENGINE_VARIABLE, "spark")
    with pytest.raises(cluster.ClusterError, match="processes or ray"):
        cluster.chosen()
    monkeypatch.setenv(cluster.ENGINE_VARIABLE, "ray")
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(cluster.ClusterError, match=r"pip install 'laser-ab\[ray\]'"):
        run_tasks(double, [1, 2], 1, Silent(), "test")


def double(number: int) -> int:
    return 2 * number


def fail(number: int) -> int:
    raise SimulatorError(f"Found {number}, expected another.")


def die_once(marker: Path) -> str:
    """Ends its worker the first time."""
    if not marker.exists():
        marker.touch()
        os._exit(1)
    return "begun again"


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    pytest.importorskip("ray")
    import ray
    from ray.cluster_utils import Cluster

    folder = Path(__file__).resolve().parents[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_DISABLE_IMPORT_WARNING", "1")
        patch.setenv(
            "PYTHONPATH",
            os.pathsep.join([str(folder), str(folder / "execution"), os.environ.get("PYTHONPATH", "")]),
        )
        two = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        two.add_node(num_cpus=1)
        patch.setenv(cluster.ADDRESS_VARIABLE, two.address)
        yield two
        ray.shutdown()
        two.shutdown()


@pytest.fixture
def on_ray(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv(cluster.ENGINE_VARIABLE, "ray")
    monkeypatch.setenv(cluster.ADDRESS_VARIABLE, nodes.address)
    return nodes


@pytest.mark.usefixtures("on_ray")
def test_tasks_give_the_same_in_their_order_and_their_errors_are_their_own() -> None:
    assert run_tasks(double, list(range(5)), 1, Silent(), "test") == [0, 2, 4, 6, 8]
    with pytest.raises(SimulatorError, match="Found 3"):
        run_tasks(fail, [3], 1, Silent(), "test")


@pytest.mark.usefixtures("on_ray")
def test_a_lost_worker_costs_its_task(tmp_path: Path) -> None:
    assert run_tasks(die_once, [tmp_path / "mark"], 1, Silent(), "test") == ["begun again"]


@pytest.mark.usefixtures("on_ray")
def test_a_sweep_on_a_cluster_is_the_sweep_on_processes(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    # Asked for here: fixtures of a session are made first, even where there is no Ray.
    undisturbed_sweep = request.getfixturevalue("undisturbed_sweep")
    assert table_bytes(run_sweep(small(), GRID, tmp_path / "sweep")) == undisturbed_sweep
