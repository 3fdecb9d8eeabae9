"""From an experiment to the market on which designs are judged: models trained, arms served, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from simulator.arms.arm import ModelSpec, needed_models
from simulator.arms.cell import Cell
from simulator.arms.clock import make_clock
from simulator.arms.models import TrainedModel
from simulator.arms.plan import Plan
from simulator.arms.serve import serve_cells
from simulator.arms.training import train_models
from simulator.designs.compare import Bench
from simulator.errors import SimulatorError
from simulator.execution.progress import Progress
from simulator.experiment.answers import ArmAnswers
from simulator.experiment.outcomes import Market
from simulator.results.read import Run


@contextmanager
def served(
    plan: Plan, treatment: str | None, jobs: int, progress: Progress, run: Run | None = None
) -> Iterator[Bench]:
    """Serve the experiment's arms, or take what runs have kept of them; what was made ends with the block.

    Args:
        plan: the experiment.
        treatment: the arm that is compared with control; the first by default.
        jobs: worker processes, and threads of the market.
        progress: notified of each stage.
        run: what the experiment came to, whose models are taken: trained again by another version or on
            another machine they have other weights, and another truth.

    Raises:
        SimulatorError: there is no such treatment, or service times are live.
        CheckpointError: one of the run's models is missing or changed.
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
        trained = None if run is None else _of_run(plan, run)
        if trained is None:
            trained = train_models(
                plan, work / "models", jobs=jobs, progress=progress, work=work / "training"
            )
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


def _of_run(plan: Plan, run: Run) -> dict[ModelSpec, TrainedModel] | None:
    """The models that a run trained; None where its manifest does not have them all."""
    notes, specs = run.manifest.get("models") or {}, list(needed_models(plan.arms))
    if not all("calibration" in notes.get(spec.key, {}) for spec in specs):
        return None
    return {spec: TrainedModel.noted(spec, run.path, notes[spec.key]) for spec in specs}
