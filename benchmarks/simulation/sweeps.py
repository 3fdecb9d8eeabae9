"""What a sweep costs: one more cell beside a whole run, a grid of 80 cells, Ray beside processes.

    python -m benchmarks.simulation.sweeps [--quick] [--json] [--out FILE]

The commands of `laser-ab` on `examples/demo.toml`, as a user gives them:

    run        the experiment from nothing: world, trainings, stores, scores, market, tables
    grid       5 budgets x 4 loads x 4 histories from nothing, on two processes: five trainings, each once
    cell       the CPU time that ten more loads take once all else is kept, for each of them
    processes  4 histories x 2 loads from nothing, on four processes
    ray        the same on a local Ray cluster of four CPUs that runs already; left out where Ray is missing

Times are of the whole command, its imports and its processes included, from caches that are empty except
where something is said to be kept; kernels are compiled before. Cluster and processes share the machine's
cores, however few those are.

Ray takes an eighth longer than processes (it was 1.18 times): its workers import while the world is made, map
one copy of it instead of making their own, and are those that Ray has at hand. What is left is that each of
them imports for itself, while processes are forked from one that has, and the cluster's own processes.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.result import Measured, bar, main

ROOT = Path(__file__).resolve().parents[2]
SEED = 7
DEMO = "examples/demo.toml"
SMALL = ("traffic.world.users=150", "traffic.world.requests=800", "traffic.world.history_max=250")
BUDGETS, LOADS = (3, 5, 8, 13, 20), (0.3, 0.5, 0.7, 0.9)
HISTORIES, SMALL_HISTORIES = (200, 400, 700, 1000), (50, 100, 150, 200)
FEW, MORE = LOADS[:2], tuple(round(0.25 + 0.05 * k, 2) for k in range(12))
RAY_CPUS = 4


def over(key: str, values: Sequence[Any]) -> list[str]:
    """An axis, as the command line has it."""
    return ["--over", f"{key}={','.join(map(str, values))}"]


class Commands:
    """`laser-ab` on the demo, in a folder for results.

    Args:
        folder: for results and caches.
        quick: whether on a small world.
    """

    def __init__(self, folder: Path, quick: bool) -> None:
        self._folder, self._count = folder, 0
        self.histories = SMALL_HISTORIES if quick else HISTORIES
        own = (*SMALL, f"arms.treatment.history={self.histories[-1]}") if quick else ()
        self._settings = [part for setting in own for part in ("--set", setting)]

    def spent(self, part: str, *arguments: str, cache: str, engine: str = "processes") -> dict[str, Any]:
        """A row: wall and CPU seconds of a command.

        Args:
            part: the row's name; "run" is a run, all else a sweep.
            arguments: of the command.
            cache: the folder of what runs keep for each other, empty at first.
            engine: "processes" or "ray".
        """
        self._count += 1
        out, kind = self._folder / f"{self._count}-{part}", "run" if part == "run" else "sweep"
        command = [sys.executable, "-m", "simulator.cli", kind, DEMO, *self._settings, *arguments]
        command += ["--out", str(out), "-q"] + ([] if kind == "run" else ["--engine", engine])
        environment = {**os.environ, "LASER_AB_CACHE": str(self._folder / cache), "LASER_AB_CACHE_GB": "20"}
        before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
        wall_s, after = time.perf_counter() - began_s, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        # What workers of a cluster spend is not this command's.
        return {"part": part, "wall_s": wall_s, "cpu_s": cpu_s if engine == "processes" else None}


@contextmanager
def local_cluster() -> Iterator[str]:
    """A Ray cluster on this machine; its address."""
    from ray.cluster_utils import Cluster

    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": RAY_CPUS, "include_dashboard": False})
    try:
        yield cluster.address
    finally:
        cluster.shutdown()


def measure(quick: bool) -> Measured:
    """A row a command, and the bars of their proportions."""
    budgets, loads = (BUDGETS[:2], LOADS[:2]) if quick else (BUDGETS, LOADS)
    # What is compiled once on a machine is no part of any of them.
    warm = [sys.executable, "-m", "simulator.cli", "doctor", "--warm"]
    subprocess.run(warm, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    with TemporaryDirectory(prefix="sweeps-") as name:
        commands = Commands(Path(name), quick)
        histories = over("arms.treatment.history", commands.histories)
        run = commands.spent("run", "--jobs", "1", cache="run")
        axes = [*over("experiment.budget_ms", budgets), *over("traffic.load", loads), *histories]
        grid = commands.spent("grid", *axes, "--jobs", "2", cache="grid")
        grid["cells"] = len(budgets) * len(loads) * len(commands.histories)
        # Scores of every ladder step that any of these loads needs are kept first.
        commands.spent("kept", *over("traffic.load", MORE), "--jobs", "1", cache="run")
        few, more = (
            commands.spent("cell", *over("traffic.load", values), "--jobs", "1", cache="run")
            for values in (FEW, MORE)
        )
        cell = {"part": "cell", "cpu_s": (more["cpu_s"] - few["cpu_s"]) / (len(MORE) - len(FEW))}
        rows = [run, grid, cell]
        both = [*histories, *over("traffic.load", FEW)]
        ratio = None
        if importlib.util.find_spec("ray") is None:
            rows.append({"part": "ray", "wall_s": None, "reason": "ray is not installed"})
        else:
            rows.append(commands.spent("processes", *both, "--jobs", str(RAY_CPUS), cache="processes"))
            with local_cluster() as address:
                rows.append(commands.spent("ray", *both, "--address", address, cache="ray", engine="ray"))
            ratio = rows[-1]["wall_s"] / rows[-2]["wall_s"]
    return rows, [
        bar("cell_share_of_a_run", cell["cpu_s"] / run["cpu_s"], 1 / 20, 1 / 50, "lower"),
        bar("grid_minutes", grid["wall_s"] / 60, 6.0, 3.0, "lower"),
        bar("ray_to_processes", ratio, 1.15, None, "lower"),
    ]


if __name__ == "__main__":
    main("simulation_sweeps", __doc__, SEED, measure)
