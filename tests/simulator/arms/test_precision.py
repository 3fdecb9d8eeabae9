"""An arm's precision: by a switch, its effect measured, its scores its own."""

from pathlib import Path

import numpy as np
import pytest
from small_runs import small

from simulator.arms.arm import ModelSpec
from simulator.arms.models import TrainedModel
from simulator.arms.plan import Plan, make_plan
from simulator.arms.scores import score_inputs, score_needed
from simulator.arms.training import train_models
from simulator.errors import SimulatorError

Trained = dict[ModelSpec, TrainedModel]
EVERY = 5


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Trained]:
    plan = make_plan(small())
    return plan, train_models(plan, tmp_path_factory.mktemp("models"))


def test_a_lower_precision_says_how_far_it_moves_a_probability(
    trained: tuple[Plan, Trained], tmp_path: Path
) -> None:
    exact, models = trained
    scored = {}
    for precision in ("fp32", "bf16"):
        plan = make_plan(small(f"arms.treatment.precision='{precision}'"), profiled=False)
        arm = plan.treatments[0]
        needed = np.zeros((len(plan.prepared.requests), len(arm.scored_steps)), bool)
        needed[::EVERY, 0] = True
        logits, notes = score_needed(plan, arm, needed, models, tmp_path / precision, None)
        scored[precision] = 1.0 / (1.0 + np.exp(-logits[0][::EVERY].astype(float)))
    note = notes[arm.scored_steps[0].model or ""]
    assert note["precision"] == "bf16"
    moved = float(np.abs(scored["bf16"] - scored["fp32"]).max())
    assert 0.0 < note["largest change of a probability"] <= moved < 0.02
    assert arm.scored_steps[0].model == "laser/16@bf16"
    assert score_inputs(plan, arm, models) != score_inputs(exact, exact.treatments[0], models)


def test_a_precision_that_the_device_does_not_have_is_refused_before_any_work() -> None:
    with pytest.raises(SimulatorError, match=r'arms.treatment.precision is "tf32", which cpu does not have'):
        make_plan(small("arms.treatment.precision='tf32'", "experiment.device='cpu'"))
