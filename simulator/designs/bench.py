"""From an experiment to the market on which designs are judged: models trained, arms served, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from simulator.arms.cell import Cell
from simulator.arms.clock import make_clock
from simulator.arms.plan import Plan
from simulator.arms.serve import serve_cells
from simulator.arms.training import train_models
from simulator.designs.compare import Bench
from simulator.errors import SimulatorError
from simulator.execution.progress import Progress
from simulator.experiment.answers import ArmAnswers
from simulator.experiment.outcomes import Market


@contextmanager
def served(plan: Plan, treatment: str | None, jobs: int, progress: Progress) -> Iterator[Bench]:
    """Serve the experiment's arms, or take what runs have kept of them; what was made ends with the block.

    Args:
        plan: the experiment.
        treatment: the arm that is compared with control; the first by default.
        jobs: worker processes, and threads of the market.
        progress: notified of each stage.

    Raises:
        SimulatorError: there is no such treatment, or service times are live.
    """
    if plan.profile is None:
        raise SimulatorError(
            "Found live service times, expected a profile: a design is judged by replaying the same arms. "
            'Set experiment.service_times = "profile".'
        )
    names = [arm.name for arm in plan.treatments]
    chosen = names[0] if treatment is None else treatment
    if chosen not in names:
        raise SimulatorError(f"Found no treatment {chosen!r}, expected one of {', '.join(names)}. Name it.")
    with TemporaryDirectory(prefix="laser-ab-") as folder:
        work = Path(folder)
        progress.stage("world", 0, 1)
        prepared = plan.prepared
        progress.stage("world", 1, 1)
        trained = train_models(plan, work / "models", jobs=jobs, progress=progress, work=work / "training")
        cell = Cell(plan, trained, plan.profile, make_clock(plan, plan.profile))
        (results,) = serve_cells([cell], work / "arms", jobs, progress)
        pages = {
            arm.name: ArmAnswers.of(prepared, arm, result, trained)
            for arm, result in zip(plan.arms, results, strict=True)
        }
        control = pages[plan.control.name]
        yield Bench(
            Market(plan, partial(control.of_step, 0), jobs),
            (plan.control.name, chosen),
            control,
            pages[chosen],
            plan.config.salt,
            plan.config.experiment.level,
        )
