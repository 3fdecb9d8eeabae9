"""One experiment, from its configuration to a run folder with a verdict. Start at `run_experiment`.

world -> models -> each arm: timing plane, store, scores -> market worlds -> tables -> scorecard

A run is a sweep of one cell: `carry.py` begins and resumes both, `cells.py` makes and serves cells.
"""

from __future__ import annotations

from pathlib import Path

from simulator.arms.outlook import refuse
from simulator.arms.plan import make_plan
from simulator.config.load import ExperimentConfig
from simulator.execution import interrupts
from simulator.execution.parallel import start_importing
from simulator.execution.progress import Progress
from simulator.experiment.carry import RUNS, Job, begin, resume
from simulator.experiment.cells import served_cells
from simulator.experiment.judge import judge, scorecard
from simulator.results.read import read_run
from simulator.results.run_folder import RunWriter


def run_experiment(
    config: ExperimentConfig,
    out: Path | None = None,
    *,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Run an experiment and write its folder.

    Args:
        config: what to run.
        out: the run folder, `runs/NAME` by default; where something is there already, the next free
            sibling (NAME-2, ...), so that nothing is overwritten.
        jobs: worker processes; results do not depend on it.
        progress: notified of where the work stands.

    Returns:
        The run folder.

    Raises:
        ValueError: the configuration, profile or a checkpoint cannot be used, or the device is absent.
        ResultsError: the folder cannot be written.
    """
    refuse(config)
    start_importing(jobs, len(config.arms))
    plan = make_plan(config)
    return begin(RunWriter, out or RUNS / config.experiment.name, plan, _compute, jobs, progress)


def resume_experiment(folder: Path, *, jobs: int = 1, progress: Progress | None = None) -> Path:
    """Bring an interrupted or failed run to its end, in its own folder; a finished one is left as it is.

    In profile mode its tables are those of a run that was never interrupted, byte for byte.

    Args:
        folder: the run folder.
        jobs, progress: as in `run_experiment`.

    Raises:
        ResumeError: it is running, or its inputs are not what it began with.
        ValueError, ResultsError: as `run_experiment`.
    """
    return resume(RunWriter, read_run(folder), _compute, jobs, progress)


def _compute(job: Job[RunWriter]) -> None:
    writer, progress = job.writer, job.progress
    ((cell, results),) = served_cells([job.plan], job, lambda _: writer.path / "models")
    progress.stage("market", 0, 1)
    outcome = judge(cell, results, job.jobs, job.work)
    progress.stage("market", 1, 1)
    interrupts.check()
    writer.update_manifest(arm_notes={result.name: result.notes for result in results})
    for name, parts in outcome.tables.items():
        interrupts.check()
        writer.write_table(name, parts())
    writer.write_scorecard(scorecard(cell, outcome, writer.path.name))
