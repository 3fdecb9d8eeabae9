"""What a notebook calls: run an experiment or a sweep, or continue one, and get it back ready to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from simulator.config.settings import ExperimentConfig
from simulator.execution.progress import Progress
from simulator.experiment.run import resume_experiment, run_experiment
from simulator.results.axes import Axis
from simulator.results.read import Run, Sweep, read_manifest, read_run, read_sweep
from simulator.whatif.sweep import resume_sweep, run_sweep


def run(
    config: ExperimentConfig,
    out: Path | str | None = None,
    *,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Run:
    """Run an experiment; it takes minutes, and its folder can be read and resumed at any time.

    Args:
        config: what to run, from `load_config`.
        out: the run folder, `runs/NAME` by default; where something is there already, the next free
            sibling (NAME-2, ...), so that nothing is overwritten.
        jobs: worker processes; results do not depend on it.
        progress: notified of each stage.

    Returns:
        The finished run.

    Raises:
        SimulatorError: the configuration, profile or a checkpoint cannot be used.
        LaserError: the device is absent or out of memory.
        ResultsError: the folder cannot be written.
    """
    return read_run(run_experiment(config, _path(out), jobs=jobs, progress=progress))


def sweep(
    config: ExperimentConfig,
    axes: Sequence[Axis] = (),
    out: Path | str | None = None,
    *,
    cells: Sequence[Mapping[str, Any]] = (),
    one_model: bool = False,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Sweep:
    """Run an experiment in every cell of a grid, or of a list; what cells have in common is made once.

    Args:
        config: the experiment.
        axes: what varies, such as Axis("arms.treatment.history", (50, 200, 1000)); several make a grid.
            None is the latency budget, from 0.3 to 3 times the slowest arm's unloaded P95, and the
            experiment's own.
        out: the sweep folder, `runs/NAME-sweep` by default; the next free sibling where that is taken.
        cells: in place of axes: the cells one by one, such as {"arms.treatment.history": 200,
            "experiment.budget_ms": 20}, all of the same keys.
        one_model: of an arm whose history varies, one model is trained for all its histories; else each
            history has a model of its own.
        jobs, progress: as in `run`.

    Returns:
        The finished sweep.

    Raises:
        SimulatorError: the axes or a cell's values cannot be used, service times are live, or as in `run`.
        ResultsError: the folder cannot be written.
    """
    folder = run_sweep(
        config, axes, _path(out), cells=cells, one_model=one_model, jobs=jobs, progress=progress
    )
    return read_sweep(folder)


def resume(folder: Path | str, *, jobs: int = 1, progress: Progress | None = None) -> Run | Sweep:
    """Bring an interrupted run or sweep to its end, in its own folder; a finished one is only read.

    Args:
        folder: the run or sweep folder.
        jobs, progress: as in `run`.

    Raises:
        SimulatorError: it is running, or its inputs are not what it began with.
        ResultsError: there is no such folder, it is damaged, or it cannot be written.
    """
    path = Path(folder)
    if read_manifest(path)["kind"] == "sweep":
        return read_sweep(resume_sweep(path, jobs=jobs, progress=progress))
    return read_run(resume_experiment(path, jobs=jobs, progress=progress))


def _path(out: Path | str | None) -> Path | None:
    return None if out is None else Path(out)
