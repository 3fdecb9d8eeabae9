"""Training is deterministic, learns, and orders the models as a world with long interests should."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from miniature import ACTIONS, SCENES, Miniature, generate
from ranking_batches import ADS, CATEGORIES, KINDS, config

import laser.training.loop as loop
from laser.examples import ExampleSet
from laser.models import ModelConfig, RankingModel
from laser.scoring.runtime import Scorer
from laser.training.loop import TrainConfig, train
from laser.training.metrics import truth_weighted_auc
from laser.training.presets import recommended

Worlds = tuple[ExampleSet, ExampleSet]


def logits(model: RankingModel, examples: ExampleSet, length: int) -> np.ndarray:
    scorer, rows = Scorer(model), np.arange(len(examples))
    return np.concatenate([scorer.score(examples.batch(part, length)) for part in np.array_split(rows, 20)])


def weights(model: RankingModel) -> torch.Tensor:
    return torch.cat([value.flatten() for value in model.state_dict().values()])


@pytest.mark.parametrize("kind", ["din", "laser"])
def test_the_same_seed_trains_the_same_weights_bit_for_bit(small_world: Worlds, kind: str) -> None:
    how, examples = TrainConfig(history=60, lengths=(1.0, 0.5), batch=32), small_world[0].take(np.arange(300))
    one, two = (weights(train(config(kind), how, examples, seed=3)) for _ in range(2))
    other = weights(train(config(kind), how, examples, seed=4))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_truth_and_user_are_never_read(small_world: Worlds) -> None:
    examples = small_world[0].take(np.arange(400))
    blind = ExampleSet(**{**vars(examples), "p_true": None, "user": np.zeros_like(examples.user)})
    how = TrainConfig(history=20, batch=128)
    assert torch.equal(
        weights(train(config("din"), how, examples, seed=1)),
        weights(train(config("din"), how, blind, seed=1)),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_of_a_batch_add_up_to_the_gradients_of_the_whole(
    small_world: Worlds, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    how = TrainConfig(history=60, batch=64)
    whole = weights(train(config(kind), how, small_world[0].take(np.arange(64)), seed=3))
    monkeypatch.setattr(loop, "CHUNK_BEHAVIOURS", 60 * 7)
    parts = weights(train(config(kind), how, small_world[0].take(np.arange(64)), seed=3))
    # One step of Adam moves a weight by the rate whatever the gradient's size, so only signs near 0 may
    # differ.
    assert ((whole - parts).abs() < 1e-5).double().mean() > 0.99


def test_progress_reports_every_step_of_a_short_run(small_world: Worlds) -> None:
    seen: list[tuple[int, int, float]] = []
    few = small_world[0].take(np.arange(100))
    train(config("base"), TrainConfig(0, batch=30, epochs=2), few, 0, lambda *at: seen.append(at))
    assert [(done, total) for done, total, _ in seen] == [(i, 8) for i in range(1, 9)]
    assert all(0.0 < loss < 1.0 for _, _, loss in seen)


def test_missing_candidates_do_not_enter_the_loss(small_world: Worlds) -> None:
    examples = small_world[0].take(np.arange(200))
    ad = examples.ad.copy()
    ad[:, 5:] = -1
    label = examples.label.copy()
    label[:, 5:] = 1
    gaps = ExampleSet(**{**vars(examples), "ad": ad, "label": label})
    short = {
        name: vars(examples)[name][:, :5] for name in ("ad", "ad_category", "position", "label", "p_true")
    }
    cut = ExampleSet(**{**vars(examples), **short})
    how = TrainConfig(history=20, batch=50)
    torch.testing.assert_close(
        weights(train(config("din"), how, gaps, 1)),
        weights(train(config("din"), how, cut, 1)),
        atol=1e-3,
        rtol=0,
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"history": -1}, "history is -1, expected 0 or more"),
        ({"batch": 0}, "batch is 0, expected 1 or more"),
        ({"lengths": ()}, "lengths is"),
        ({"lengths": (1.5,)}, r"expected shares of the history in \(0, 1\]"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"table_rate": 2.0}, "table_rate is 2.0"),
    ],
)
def test_unusable_settings_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{"history": 10, **changes})  # type: ignore[arg-type]


def test_examples_the_model_cannot_read_are_refused(small_world: Worlds) -> None:
    small = ModelConfig("din", CATEGORIES - 1, ADS, SCENES, ACTIONS)
    with pytest.raises(ValueError, match="category holds 29, expected ids below 29"):
        train(small, TrainConfig(10), small_world[0], 0)
    with pytest.raises(ValueError, match="there are 0 examples"):
        train(config("din"), TrainConfig(10), small_world[0].take(np.arange(0)), 0)


def trained_auc(
    kind: str, history: int, world: Miniature, examples: ExampleSet, held_out: ExampleSet
) -> float:
    sizes = ModelConfig(kind, world.categories, world.ads, SCENES, ACTIONS)
    model = train(sizes, recommended(kind, history), examples, seed=0)
    return truth_weighted_auc(logits(model, held_out, history), held_out.p_true)


def test_history_pays_in_a_world_with_interests() -> None:
    world = Miniature(users=800, length=150, categories=60, ads=300, period=(100.0, 400.0), affinity=1.0)
    examples, held_out = generate(world, seed=1)
    base = trained_auc("base", 0, world, examples, held_out)
    din = trained_auc("din", 50, world, examples, held_out)
    assert din > base + 0.015  # .025 to .027 on three worlds


@pytest.mark.slow
def test_longer_history_pays_with_laser_on_every_world() -> None:
    for seed in (1, 2):
        world = Miniature(users=5000)
        examples, held_out = generate(world, seed)
        base = trained_auc("base", 0, world, examples, held_out)
        din = trained_auc("din", 50, world, examples, held_out)
        laser = trained_auc("laser", 1000, world, examples, held_out)
        assert base + 0.002 < din
        assert din + 0.0005 < laser


@pytest.mark.slow
def test_history_does_not_pay_where_nobody_has_interests() -> None:
    world = Miniature(users=5000, affinity=0.0, session=0.0)
    examples, held_out = generate(world, seed=1)
    din = trained_auc("din", 50, world, examples, held_out)
    laser = trained_auc("laser", 1000, world, examples, held_out)
    assert laser - din < 0.001
