"""Carrying out what a folder is about, from its beginning or from where it was interrupted: one way for runs
and sweeps. Start at `begin`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from simulator.arms.plan import Plan, make_plan
from simulator.config.load import to_toml
from simulator.execution.environment import commit, hardware, versions
from simulator.execution.fingerprint import fingerprint
from simulator.execution.progress import Progress, Silent
from simulator.execution.resume import WORK, check_unchanged, continued_by
from simulator.experiment.judge import machine_in_words
from simulator.inputs.worlds import world_notes
from simulator.results.files import write_text
from simulator.results.read import CONFIG, Folder
from simulator.results.run_folder import FolderWriter, free_folder

RUNS = Path("runs")
W = TypeVar("W", bound=FolderWriter)


@dataclass(frozen=True)
class Job(Generic[W]):
    """What is carried out, and how.

    Attributes:
        plan: the experiment.
        writer: of the folder.
        progress: to the caller and into the folder's manifest.
        jobs: worker processes.
    """

    plan: Plan
    writer: W
    progress: Progress
    jobs: int

    @property
    def work(self) -> Path:
        """The folder of checkpoints."""
        return self.writer.path / WORK


def begin(
    kind: type[W],
    out: Path,
    plan: Plan,
    compute: Callable[[Job[W]], None],
    jobs: int,
    progress: Progress | None,
    cells: Sequence[Plan] = (),
    **notes: Any,
) -> Path:
    """Make a folder and carry out what it is about.

    Args:
        kind: of folder.
        out: the folder, or its next free sibling where that is taken.
        plan: the experiment.
        compute: writes what `kind` requires.
        jobs: worker processes; results do not depend on it.
        progress: notified of where the work stands.
        cells: a sweep's experiments: what they read must not change before it is resumed.
        notes: further entries of the manifest, which `compute` finds there when it is resumed.

    Returns:
        The folder.
    """
    folder = free_folder(out)
    with kind.create(folder, {**manifest(plan, cells), **notes}, {CONFIG: to_toml(plan.config)}) as writer:
        _complete(writer, plan, compute, jobs, progress)
    return folder


def resume(
    kind: type[W], found: Folder, compute: Callable[[Job[W]], None], jobs: int, progress: Progress | None
) -> Path:
    """Bring a folder to its end that was interrupted or failed; a finished one is left as it is.

    Raises:
        ResumeError: it is running, or its inputs are not what it began with.
    """
    if found.status == "finished":
        return found.path
    plan = make_plan(check_unchanged(found))
    with kind.reopen(found.path) as writer:
        _complete(writer, plan, compute, jobs, progress)
    return found.path


def _complete(
    writer: W, plan: Plan, compute: Callable[[Job[W]], None], jobs: int, progress: Progress | None
) -> None:
    """Do what is left, and finish the folder."""
    job = Job(plan, writer, _Tee(progress or Silent(), writer), jobs)
    with continued_by(writer.kind, writer.path):
        if not writer.complete:  # it is where a process was killed while it cleaned up
            job.work.mkdir(exist_ok=True)
            write_text(job.work / CONFIG, to_toml(plan.config))  # to show later what was edited
            compute(job)
        shutil.rmtree(job.work, ignore_errors=True)
        writer.finish()


class _Tee:
    """Progress to the caller and into the folder's manifest."""

    def __init__(self, progress: Progress, writer: FolderWriter) -> None:
        self._progress, self._writer = progress, writer

    def stage(self, name: str, done: int, total: int) -> None:
        """See `Progress`."""
        self._progress.stage(name, done, total)
        self._writer.stage(name, done, total)


def manifest(plan: Plan, cells: Sequence[Plan] = ()) -> dict[str, Any]:
    """What a folder's manifest says before anything ran."""
    config = plan.config
    arms = [
        {
            "name": arm.name,
            "role": arm.role,
            "store": arm.serving.store,
            "model": arm.settings.model,
            "history": arm.settings.history,
        }
        for arm in plan.arms
    ]
    return {
        "name": config.experiment.name,
        "seed": config.seed,
        "versions": versions(),
        "hardware": hardware(plan.device),
        "commit": commit(),
        "service_times": config.experiment.service_times,
        "profile_machine": None if plan.profile is None else machine_in_words(plan.profile),
        "budget_ms": None,
        "arms": arms,
        "world": world_notes(config, plan.world),
        "inputs": fingerprint(config, [cell.config for cell in cells], plan.device),
    }
