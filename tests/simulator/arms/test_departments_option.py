"""`model_options.departments` asks for what the world or log knows, and is refused where it knows nothing."""

from __future__ import annotations

import pytest
from small_runs import small

from laser.errors import ModelError
from simulator.arms.models import model_config
from simulator.arms.plan import make_plan

ASKED = "arms.treatment.model_options.departments=true"


def test_a_model_that_asks_is_told_the_department_of_each_category() -> None:
    plan = make_plan(small(ASKED, "traffic.world.department=8"))
    sizes = plan.prepared.world.sizes
    assert sizes.departments == tuple(category // 8 for category in range(sizes.categories))
    told = {arm.name: model_config(sizes, arm.main).options for arm in plan.arms}
    assert told == {"control": {}, "treatment": {"departments": list(sizes.departments)}}


def test_a_world_without_departments_is_refused_before_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.arms.plan.prepare", None)
    with pytest.raises(ModelError, match=r"ask for departments, and this world or log has none\. Set"):
        make_plan(small(ASKED))


@pytest.mark.parametrize("given", ["8", "'all'", "[0, 0, 1]"])
def test_anything_but_true_or_false_is_refused(given: str) -> None:
    with pytest.raises(ModelError, match="expected true or false: the world or log says"):
        make_plan(small(f"arms.treatment.model_options.departments={given}", "traffic.world.department=8"))


def test_false_is_as_left_out() -> None:
    plan = make_plan(small("arms.treatment.model_options.departments=false"))
    assert model_config(plan.prepared.world.sizes, plan.treatments[0].main).options == {}
