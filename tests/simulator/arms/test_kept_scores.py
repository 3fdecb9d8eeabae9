"""A score that was kept is used for the request, model, history and store that it was made with, and for no
other, however alike they look."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_runs import small

from simulator.arms import scores
from simulator.arms.arm import Arm, ModelSpec
from simulator.arms.models import TrainedModel
from simulator.arms.plan import Plan, make_plan
from simulator.arms.scores import score_needed
from simulator.arms.training import train_models

Trained = dict[ModelSpec, TrainedModel]
EVERY = 25  # requests of which one is scored


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Trained]:
    plan = make_plan(small())
    return plan, train_models(plan, tmp_path_factory.mktemp("models"))


def logits(plan: Plan, arm: Arm, models: Trained, folder: Path, work: Path) -> np.ndarray:
    needed = np.zeros((len(plan.prepared.requests), len(arm.scored_steps)), bool)
    needed[::EVERY, 0] = True
    return score_needed(plan, arm, needed, models, folder, work)[0][0][::EVERY]


def same(plan: Plan, arm: Arm, models: Trained, folder: Path) -> tuple[Plan, Arm, Trained]:
    return plan, arm, models


def other_model(plan: Plan, arm: Arm, models: Trained, folder: Path) -> tuple[Plan, Arm, Trained]:
    """The same spec, trained from another seed."""
    other = make_plan(small("experiment.training_seed=99"))
    return plan, arm, train_models(other, folder / "models")


def other_history(plan: Plan, arm: Arm, models: Trained, folder: Path) -> tuple[Plan, Arm, Trained]:
    """The same model, which the ladder gives fewer behaviours."""
    steps = [replace(step, history=max(1, step.history // 3)) for step in arm.scored_steps]
    return plan, replace(arm, serving=replace(arm.serving, steps=(*steps, arm.ladder[-1]))), models


def other_store(plan: Plan, arm: Arm, models: Trained, folder: Path) -> tuple[Plan, Arm, Trained]:
    """Another store, which should give the same, and is asked all the same."""
    return plan, replace(arm, settings=arm.settings.model_copy(update={"store": "memory"})), models


def other_requests(plan: Plan, arm: Arm, models: Trained, folder: Path) -> tuple[Plan, Arm, Trained]:
    """Another world, of the same sizes and, by chance, the same mask."""
    return replace(plan, world=make_plan(small("seed=8")).world), arm, models


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        (same, True),
        (other_model, False),
        (other_history, False),
        (other_store, False),
        (other_requests, False),
    ],
)
def test_a_kept_score_is_used_for_the_very_same_inputs_only(
    change: Callable[[Plan, Arm, Trained, Path], tuple[Plan, Arm, Trained]],
    taken: bool,
    trained: tuple[Plan, Trained],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan, models = trained
    (arm,) = plan.treatments
    work = tmp_path / "work"
    logits(plan, arm, models, tmp_path / "store", work)
    now = change(plan, arm, models, tmp_path)
    expected = logits(*now, tmp_path / "fresh", tmp_path / "nothing kept here")
    opened = []
    load_whole = scores.load_whole
    monkeypatch.setattr(scores, "load_whole", lambda *a: (opened.append(a), load_whole(*a))[1])
    assert logits(*now, tmp_path / "again", work).tobytes() == expected.tobytes()
    assert bool(opened) != taken
