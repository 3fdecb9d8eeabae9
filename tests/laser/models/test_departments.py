"""Categories of a department share a part of their rows: told by a plain sum, and free to serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from miniature import ACTIONS, SCENES, Miniature
from ranking_batches import CATEGORIES, KINDS, config, random_batch

from laser.batch import RankingBatch
from laser.checkpoint import load, save
from laser.errors import ModelError
from laser.examples import ExampleSet
from laser.models import ModelConfig, RankingModel, build_model
from laser.operations import operations
from laser.scoring.runtime import Scorer
from laser.scoring.snapshot import freeze
from laser.sources import DeviceSource
from laser.training.config import TrainConfig
from laser.training.fast import FastSteps
from laser.training.optimisers import Optimisers

DEPARTMENTS = [category // 6 for category in range(CATEGORIES)]
LENGTHS = [30, 4, 0, 17]


def departmental(kind: str, seed: int = 3, **options: object) -> RankingModel:
    return build_model(config(kind, width=16, departments=DEPARTMENTS, **options), seed=seed)


def parts(model: RankingModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Own rows and those of departments."""
    found: Any = dict(model.category.named_parameters())
    return found["parametrizations.weight.original"], found["parametrizations.weight.0.rows"]


def test_a_row_is_the_sum_of_the_categorys_own_and_its_departments() -> None:
    model = departmental("din")
    own, shared = parts(model)
    assert shared.shape == (CATEGORIES // 6, 16)
    expected = torch.stack([own[c] + shared[c // 6] for c in range(CATEGORIES)])
    assert torch.equal(model.category.weight, expected)


def test_rows_begin_with_length_one_and_those_of_a_department_alike() -> None:
    table = departmental("laser").category.weight.detach()
    torch.testing.assert_close(table.norm(dim=1), torch.ones(CATEGORIES))
    alike, number = table @ table.T, np.arange(CATEGORIES)
    together = torch.from_numpy((number[:, None] // 6 == number // 6) & (number[:, None] != number))
    assert 0.35 < float(alike[together].mean()) < 0.65
    apart = torch.from_numpy(number[:, None] // 6 != number // 6)
    assert abs(float(alike[apart].mean())) < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_snapshot_scores_as_the_model_does_and_holds_the_sums_alone(kind: str) -> None:
    model, batch = departmental(kind).eval(), random_batch(LENGTHS)
    snapshot = freeze(model)
    assert type(snapshot.model.category) is torch.nn.Embedding
    assert torch.equal(snapshot.model.category.weight, model.category.weight)
    assert [name for name, _ in snapshot.model.category.named_parameters()] == ["weight"]
    with torch.inference_mode():
        logits = model(batch).numpy()
    np.testing.assert_allclose(Scorer(model).score(batch), logits, atol=1e-5)


def test_serving_multiplies_no_more_than_without() -> None:
    with_them, without = (
        operations(build_model(config("laser", departments=chosen), seed=0), 200)
        for chosen in (DEPARTMENTS, None)
    )
    assert with_them.per_request == without.per_request
    assert with_them.per_candidate == without.per_candidate


def test_without_departments_a_model_begins_as_it_always_did() -> None:
    flat, named = build_model(config("laser"), seed=5), build_model(config("laser", departments=None), seed=5)
    assert list(flat.state_dict()) == list(named.state_dict())
    assert all(map(torch.equal, flat.parameters(), named.parameters()))


@pytest.mark.parametrize("optimiser", ["adam", "adagrad+adam"])
def test_training_moves_own_rows_and_those_of_departments(optimiser: str) -> None:
    model = departmental("laser").train()
    how = TrainConfig(history=40, optimiser=optimiser)
    steps, before = Optimisers(model, how, 8), [part.detach().clone() for part in parts(model)]
    for _ in range(3):
        model(random_batch(LENGTHS)).sum().backward()
        steps.step()
        steps.zero_grad()
    assert not any(map(torch.equal, before, parts(model)))
    held = {id(w) for group in steps.optimisers[-1].param_groups for w in group["params"]}
    assert all(id(part) in held for part in parts(model))  # tables, where tables have an optimiser


def test_fast_training_and_a_checkpoint_keep_them(
    small_world: tuple[ExampleSet, ExampleSet], tmp_path: Path
) -> None:
    examples = small_world[0].take(np.arange(250))
    world = Miniature()
    options = {"departments": [category // 10 for category in range(world.categories)]}
    sizes = ModelConfig("laser", world.categories, world.ads, SCENES, ACTIONS, 16, options)
    model = build_model(sizes, seed=3).train()
    how = TrainConfig(history=40, batch=64, fast=True)
    steps = FastSteps(model, DeviceSource(examples, torch.device("cpu")), how, np.arange(250), 3, 4)
    before = [part.detach().clone() for part in parts(model)]
    for step in range(3):
        steps.take(step)
    assert not any(map(torch.equal, before, parts(model)))
    save(model, tmp_path / "model", {})
    back, _ = load(tmp_path / "model", model.config)
    assert torch.equal(back.category.weight, model.category.weight)
    batch: RankingBatch = examples.batch(np.arange(20), 40)
    assert np.array_equal(Scorer(back).score(batch), Scorer(model).score(batch))


@pytest.mark.parametrize(
    "departments",
    [*([wrong] * CATEGORIES for wrong in (-1, True, 0.5, 1 << 16)), [0] * 29, [0] * 31, [], True, 8, "8"],
)
def test_departments_that_are_not_one_for_each_category_are_refused(departments: object) -> None:
    with pytest.raises(ModelError, match=f"expected {CATEGORIES} whole numbers below 65536"):
        build_model(config("din", departments=departments), seed=0)
