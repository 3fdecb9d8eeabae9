"""What the table says of related categories: who must not see a relation does not, and who must does."""

from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.models.relations import heeds, limits, relations, weights
from benchmarks.models.world_files import examples_of
from laser.models import ModelConfig, RankingModel, build_model

USERS, CATEGORIES, DEPARTMENT = 300, 40, 8


@pytest.fixture(scope="module")
def held_out() -> Any:
    return examples_of("quick-40-related", 1, USERS)["holdout"]


def model(kind: str, **options: Any) -> RankingModel:
    return build_model(ModelConfig(kind, CATEGORIES, 2000, 3, 3, 16, options), seed=1)


def test_every_pair_of_categories_has_one_relation() -> None:
    found = relations(10, 4)  # the last department has two
    assert np.array_equal(sum(found.values()), np.ones((10, 10)))
    assert found["own"].sum() == 10
    assert np.argwhere(found["related"][1]).ravel().tolist() == [0, 2, 3]
    assert np.argwhere(found["related"][9]).ravel().tolist() == [8]


def test_who_counts_matches_alone_heeds_no_relation_and_who_counts_departments_does(held_out: Any) -> None:
    alone, together = (
        heeds(model("counts", windows=[200], department=department), held_out, DEPARTMENT, 200)
        for department in (1, DEPARTMENT)
    )
    assert alone["pull"]["related"] == 0.0 != alone["pull"]["own"]
    assert abs(together["pull"]["related"]) > 1e-4
    assert alone["weight"] is None
    assert heeds(model("base"), held_out, DEPARTMENT, 0)["pull"] == {"own": 0.0, "related": 0.0}


@pytest.mark.parametrize("kind", ["din", "laser", "stca"])
def test_attention_that_takes_a_department_for_one_category_weighs_related_as_own(kind: str) -> None:
    made = model(kind)
    with torch.no_grad():  # one embedding for each department, at right angles to the others
        made.category.weight[:] = torch.eye(16)[torch.arange(CATEGORIES) // DEPARTMENT]
    found = weights(made)
    assert found is not None
    means = {name: found[pairs].mean() for name, pairs in relations(CATEGORIES, DEPARTMENT).items()}
    assert means["related"] == pytest.approx(means["own"], rel=1e-4)
    assert means["own"] > 2 * abs(means["other"])
    assert np.all(found.sum(axis=1) < 1) or kind != "stca"  # shares, one of them of what reads nothing


def test_laser_s_weights_are_the_gates_that_it_sums_by(held_out: Any) -> None:
    """By one behaviour: what the gather hands on is gate times behaviour, through the value map."""
    made: Any = model("laser", heads=1, gate_init=4.0, gate_bias=-2.0, gate_noise=0.05, segment=1)
    found = weights(made)
    assert found is not None
    gather, batch = made.branches[0].gather, held_out.batch(np.arange(1), 1)
    history, _ = made.history(batch, made.category.weight)
    with torch.no_grad():
        target = made.category.weight[[3]].unsqueeze(0)
        # The behaviour of the first request, in place of a day-old click: its own kind and age.
        history[0, -1, :16] = made.category.weight[5]
        score = torch.einsum("d,de,e->", target[0, 0], gather.query[0], history[0, -1]) + gather.bias[0]
        token = gather(target, history, None)
        expected = gather.value(torch.sigmoid(score) * history[0, -1])
    assert torch.allclose(token[0, 0, 0], expected, atol=1e-5)
    assert 0.0 < found[3, 5] < found[3, 3] < 1.0


def test_without_relations_nothing_is_to_be_known_of_them_and_else_something_is(held_out: Any) -> None:
    found = limits("quick-40-related", 1, USERS, held_out)
    assert found["most_apart"] < found["most"] - 0.003
    plain = examples_of("quick-40", 1, USERS)["holdout"]
    assert limits("quick-40", 1, USERS, plain)["most"] == limits("quick-40", 1, USERS, plain)["most_apart"]
    with pytest.raises(ValueError, match="Pass the held-out examples of this very world"):
        limits("quick-40", 2, USERS, plain)
    # The same users, histories, requests and ads: only clicks differ.
    for column in ("category", "time_s", "history_end", "ad", "user"):
        assert np.array_equal(getattr(plain, column), getattr(held_out, column))
