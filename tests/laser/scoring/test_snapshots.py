"""A snapshot is a model's weights at one moment: nothing that becomes of the model changes what it scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from ranking_batches import KINDS, config, random_batch
from torch import Tensor, nn

from laser.examples import ExampleSet
from laser.models import RankingModel, build_model
from laser.models.history import BehaviourEmbedding
from laser.scoring.runtime import Scorer
from laser.scoring.snapshot import freeze, version_of
from laser.sources import DeviceSource
from laser.training.config import TrainConfig
from laser.training.fast import FastSteps
from laser.training.loop import train

LENGTHS = [30, 4, 0, 17]


def through_data(model: RankingModel, other: RankingModel) -> None:
    """Moves neither an address nor a version counter."""
    for one, new in zip(model.parameters(), other.parameters(), strict=True):
        one.data.copy_(new.data)


def as_views(model: RankingModel, other: RankingModel) -> None:
    """As FlatAdam does: every weight becomes a view of one vector."""
    flat = torch.cat([new.detach().flatten() for new in other.parameters()])
    parts = torch.split(flat, [weight.numel() for weight in model.parameters()])
    for weight, part in zip(model.parameters(), parts, strict=True):
        weight.data = part.view_as(weight)


def by_state(model: RankingModel, other: RankingModel) -> None:
    model.load_state_dict(other.state_dict())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("write", [through_data, as_views, by_state])
def test_weights_written_in_any_way_leave_a_snapshot_alone_and_make_another(
    kind: str, write: Callable[[RankingModel, RankingModel], None]
) -> None:
    model, other = build_model(config(kind), seed=3), build_model(config(kind), seed=4)
    scorer, batch = Scorer(model), random_batch(LENGTHS)
    before = scorer.score(batch)
    write(model, other)
    assert np.array_equal(scorer.score(batch), before)
    assert scorer.snapshot.version != version_of(model)
    scorer.swap(freeze(model))
    assert scorer.snapshot.version == version_of(other)
    after = scorer.score(batch)
    assert np.array_equal(after, Scorer(other).score(batch))
    assert not np.array_equal(after, before)


def test_a_model_is_scored_in_the_midst_of_fast_training_by_the_weights_it_then_has(
    small_world: tuple[ExampleSet, ExampleSet],
) -> None:
    examples, batch = small_world[0].take(np.arange(250)), random_batch(LENGTHS)
    model = build_model(config("laser"), seed=3).train()
    how = TrainConfig(history=40, batch=64, fast=True)
    steps = FastSteps(model, DeviceSource(examples, torch.device("cpu")), how, np.arange(250), 3, 4)
    for step in range(4):
        steps.take(step)
        fresh = build_model(config("laser"), seed=0)
        fresh.load_state_dict(model.state_dict())
        assert np.array_equal(Scorer(model).score(batch), Scorer(fresh).score(batch))
    assert model.training


@pytest.mark.parametrize("kind", ["sim", "vista", "vql"])
def test_what_a_training_step_left_in_a_model_does_not_keep_it_from_being_copied(
    kind: str, small_world: tuple[ExampleSet, ExampleSet]
) -> None:
    made = train(config(kind), TrainConfig(history=20, batch=64), small_world[0].take(np.arange(100)), 3)
    fresh = build_model(config(kind), seed=0)
    fresh.load_state_dict(made.state_dict())
    batch = random_batch(LENGTHS)
    assert np.array_equal(Scorer(made).score(batch), Scorer(fresh).score(batch))


def test_versions_follow_the_weights_and_the_configuration_and_nothing_else() -> None:
    model = build_model(config("din"), seed=3)
    version = version_of(model)
    assert version_of(build_model(config("din"), seed=3)) == version
    assert freeze(model).version == freeze(model, precision="bfloat16").version == version
    assert version_of(build_model(config("din", sharpness=5.0), seed=3)) != version
    last = list(model.parameters())[-1]
    last.data.view(-1)[0] = torch.nextafter(last.data.view(-1)[0], torch.tensor(9.0))
    assert version_of(model) != version


def test_a_snapshots_weights_refuse_to_be_written() -> None:
    model = build_model(config("laser"), seed=3)
    snapshot = freeze(model)
    with pytest.raises(RuntimeError, match="inference tensor"):
        next(snapshot.model.parameters()).zero_()
    with pytest.raises(RuntimeError, match="inference tensor"):
        snapshot.model.load_state_dict(model.state_dict())
    assert not snapshot.model.training
    assert not any(weights.requires_grad for weights in snapshot.model.parameters())


def test_kept_tables_are_those_that_would_be_built_and_serve_their_own_category_table_only() -> None:
    history = BehaviourEmbedding(actions=3, scenes=3, time_gap=True)
    category, other = nn.Parameter(torch.randn(30, 8)), nn.Parameter(torch.randn(30, 8))
    batch = random_batch(LENGTHS)

    def embedded(table: Tensor) -> Tensor:
        with torch.inference_mode():
            return history(batch, table)[0]

    fresh = [embedded(category), embedded(other)]
    history.keep(category)
    assert torch.equal(embedded(category), fresh[0])
    assert torch.equal(embedded(other), fresh[1])


def test_a_precision_that_the_device_has_not_is_refused() -> None:
    model = build_model(config("din"), seed=3)
    for precision in ("tf32", "float64"):
        with pytest.raises(ValueError, match=f"precision is '{precision}' on cpu, expected one of"):
            freeze(model, precision=precision)
