"""What the training's switches promise: the loss's weights, drawn lengths, precision, stopping,
optimisers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ranking_batches import KINDS, config
from test_model_training import weights
from test_training_resumes import Memory, Stopped
from torch.nn.functional import binary_cross_entropy_with_logits

from laser.batch import RankingBatch
from laser.errors import TrainingError
from laser.examples import ExampleSet
from laser.models import RankingModel, build_model
from laser.training.flat_adam import _table
from laser.training.loop import TrainConfig, train
from laser.training.loss import summed_loss, weights_of
from laser.training.optimisers import Optimisers
from laser.training.order import batches, held_out_rows
from laser.training.presets import recommended

Worlds = tuple[ExampleSet, ExampleSet]


def ragged(examples: ExampleSet, rows: int) -> ExampleSet:
    """Requests with one to eight candidates."""
    few = examples.take(np.arange(rows))
    gone = np.arange(8)[None, :] > (np.arange(rows) % 8)[:, None]
    return ExampleSet(**{**vars(few), "ad": np.where(gone, -1, few.ad)})


def point_wise(examples: ExampleSet) -> ExampleSet:
    """Every candidate as a request of its own."""
    row, column = np.nonzero(examples.shown)
    apart = examples.take(row)
    single = {
        name: getattr(apart, name)[np.arange(len(row)), column][:, None]
        for name in ("ad", "ad_category", "position", "label", "p_true")
    }
    return ExampleSet(**{**vars(apart), **single})


def gradients(model: RankingModel, examples: ExampleSet, by_request: bool) -> torch.Tensor:
    model.zero_grad(set_to_none=True)
    batch = examples.batch(np.arange(len(examples)), 30)
    clicks = torch.from_numpy(examples.label.astype(np.float32))
    loss = summed_loss(model, batch, clicks, by_request) / weights_of(batch, by_request).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    return torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None])


@pytest.mark.parametrize("kind", KINDS)
def test_batching_by_request_gives_the_gradients_of_the_point_wise_loss(
    small_world: Worlds, kind: str
) -> None:
    examples = ragged(small_world[0], 40)
    model = build_model(config(kind), seed=1).train()
    together, apart = gradients(model, examples, False), gradients(model, point_wise(examples), False)
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-7)
    # By request the candidates of a crowded request count less: another loss, unless all are as crowded.
    assert (gradients(model, examples, True) - together).abs().max() > 1e-4
    even = small_world[0].take(np.arange(40))
    torch.testing.assert_close(
        gradients(model, even, True), gradients(model, even, False), rtol=1e-4, atol=1e-7
    )


def test_the_request_loss_is_the_mean_over_candidates_then_over_requests(small_world: Worlds) -> None:
    examples = ragged(small_world[0], 16)
    model = build_model(config("base"), seed=1)
    batch = examples.batch(np.arange(16), 0)
    clicks = torch.from_numpy(examples.label.astype(np.float32))
    shown = torch.from_numpy(examples.shown)
    with torch.no_grad():
        logits = model(batch)
        each = [
            binary_cross_entropy_with_logits(z[s], y[s])
            for z, y, s in zip(logits, clicks, shown, strict=True)
        ]
        torch.testing.assert_close(summed_loss(model, batch, clicks, True) / 16, torch.stack(each).mean())


def test_short_lengths_are_common_full_ones_not_rare_and_all_multiples_of_eight() -> None:
    how = TrainConfig(history=1000, length_beta=(0.1, 0.4), least=16, batch=1)
    drawn = np.array([length for _, length in batches(how, 4000, seed=3)])
    assert set(drawn % 8) == {0}
    assert (drawn.min(), drawn.max()) == (16, 1000)
    # Beta(.1, .4) has mean .2, and most of its mass at both ends.
    assert drawn.mean() == pytest.approx(16 + 0.2 * 984, rel=0.1)
    assert (drawn < 100).mean() > 0.6
    assert (drawn > 900).mean() > 0.05
    assert {length for _, length in batches(TrainConfig(5, length_beta=(1, 1), batch=1), 50, 0)} == {5}


def test_drawn_lengths_keep_the_newest_behaviours(
    small_world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[RankingBatch] = []
    model = type(build_model(config("din"), 0))
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda self, batch: (seen.append(batch), forward(self, batch))[1])
    examples = small_world[0].take(np.arange(64))
    train(config("din"), TrainConfig(64, length_beta=(0.5, 0.5), batch=64), examples, seed=1)
    (batch,) = seen
    length = int(batch.lengths[0])
    assert length % 8 == 0
    rows, _ = next(batches(TrainConfig(64, length_beta=(0.5, 0.5), batch=64), 64, seed=1))
    newest = int(examples.history_end[rows[0]])
    assert batch.category[:length].tolist() == examples.category[newest - length : newest].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_products_train_to_about_the_same_logits(small_world: Worlds, kind: str) -> None:
    examples = small_world[0].take(np.arange(128))
    batch = small_world[1].batch(np.arange(32), 40)
    logits = []
    for precision in ("float32", "bfloat16"):
        how = TrainConfig(40, batch=32, precision=precision)  # type: ignore[arg-type]
        model = train(config(kind), how, examples, seed=1)
        assert all(value.dtype is torch.float32 for value in model.parameters())
        with torch.inference_mode():
            logits.append(model(batch))
    assert 0.0 < (logits[0] - logits[1]).abs().max() < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_models_stay_finite_in_float16(small_world: Worlds, kind: str) -> None:
    model = build_model(config(kind), seed=1).train()
    examples = ragged(small_world[0], 24)
    batch = examples.batch(np.arange(24), 40)
    with torch.autocast("cpu", torch.float16):
        loss = summed_loss(model, batch, torch.from_numpy(examples.label.astype(np.float32)), False)
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(torch.isfinite(w.grad).all() for w in model.parameters() if w.grad is not None)


def test_a_clipped_step_has_at_most_the_norm_that_was_allowed(small_world: Worlds) -> None:
    model = build_model(config("din"), seed=1)
    before = weights(model)
    optimisers = Optimisers(model, TrainConfig(10, clip=0.01, learning_rate=1.0), steps=10)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimisers.step()
    norm = torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None]).norm()
    assert norm == pytest.approx(0.01, rel=1e-4)
    assert not torch.equal(weights(model), before)


def test_training_stops_when_the_watched_loss_no_longer_falls_and_returns_the_best(
    small_world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = small_world[0].take(np.arange(400))
    losses = iter([0.5, 0.4, 0.45, 0.41, 0.3])
    at: list[torch.Tensor] = []

    def loss_of(run: Any, rows: np.ndarray) -> float:
        assert len(rows) == 80
        at.append(weights(run.model))
        return next(losses)

    monkeypatch.setattr("laser.training.loop._Run._loss_of", loss_of)
    how = TrainConfig(20, batch=32, held_out=0.2, checks=10, patience=2, epochs=10)
    steps: list[int] = []
    model = train(config("din"), how, examples, 3, progress=lambda done, *_: steps.append(done))
    assert len(at) == 4
    assert torch.equal(weights(model), at[1])
    assert steps[-1] == 40  # of 100


def test_the_watched_loss_is_the_click_loss_of_requests_that_are_not_learned_from(
    small_world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    import laser.training.loop as loop

    examples = small_world[0].take(np.arange(300))
    how = TrainConfig(20, batch=64, held_out=0.3, checks=1)
    learned, watched = held_out_rows(how, examples.request_time_s)
    assert len(watched) == 90
    assert sorted({*learned, *watched}) == list(range(300))
    assert examples.request_time_s[learned].max() <= examples.request_time_s[watched].min()
    found: list[float] = []
    saw = loop.Watch.saw
    monkeypatch.setattr(
        loop.Watch, "saw", lambda self, loss, model: (found.append(loss), saw(self, loss, model))[1]
    )
    model = train(config("din"), how, examples, seed=3)
    part = examples.take(watched)
    with torch.no_grad():
        logits = model(part.batch(np.arange(90), 20))
    expected = binary_cross_entropy_with_logits(logits, torch.from_numpy(part.label.astype(np.float32)))
    assert found == [pytest.approx(float(expected), rel=1e-5)]


def test_of_requests_at_one_moment_the_later_rows_are_watched() -> None:
    how = TrainConfig(20, held_out=0.5)
    learned, watched = held_out_rows(how, np.array([7, 5, 5, 5, 1, 5]))
    assert (learned.tolist(), watched.tolist()) == ([1, 2, 4], [0, 3, 5])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (0.95, 0.85)),
        ({"beta1": 0.8}, (0.8, 0.8)),
        ({"optimiser": "adagrad+adam"}, (0.9, 0.9)),
        ({"optimiser": "adagrad+adam", "beta1": 0.8}, (0.8, 0.8)),
    ],
)
def test_beta1_moves_against_the_rate_only_where_it_says_so(
    changes: dict[str, Any], expected: tuple[float, float]
) -> None:
    how = TrainConfig(10, **changes)
    optimisers = Optimisers(build_model(config("din"), seed=1), how, steps=20)
    seen: list[tuple[float, float]] = []
    for _ in range(20):
        group = optimisers.optimisers[0].param_groups[0]
        seen.append((group["lr"], group["betas"][0]))
        optimisers.step()
    assert seen[0][1] == pytest.approx(expected[0])
    assert max(seen)[1] == pytest.approx(expected[1])  # at the peak of the rate
    if how.optimiser == "adam":  # the captured steps read their rates from a table
        table = _table(how, 20)[:, 1]
        assert table.tolist() == pytest.approx([1.0 - beta1 for _, beta1 in seen], abs=1e-6)


def test_a_tuned_batch_has_as_many_impressions_whatever_a_request_shows() -> None:
    assert recommended("laser", 50).batch == recommended("laser", 50, shown=8.0).batch == 64
    assert recommended("laser", 50, shown=1.0).batch == 512
    assert recommended("din", 50, shown=6.4).batch == 40
    assert recommended("din", 50, shown=1000.0).batch == 1
    assert recommended("din", 50, shown=1.0).learning_rate == recommended("din", 50).learning_rate
    with pytest.raises(ValueError, match="shown is 0"):
        recommended("din", 50, shown=0.0)


def test_an_interrupted_training_with_every_switch_ends_with_the_same_bits(small_world: Worlds) -> None:
    examples = small_world[0].take(np.arange(300))
    how = TrainConfig(
        40, length_beta=(0.3, 0.6), batch=48, loss="requests", optimiser="adagrad+adam", clip=1.0,
        beta2=0.9999, held_out=0.2, checks=4, patience=9, epochs=2,
    )  # fmt: skip
    undisturbed = weights(train(config("laser"), how, examples, seed=3))
    keeper = Memory(3)
    while True:
        try:
            model = train(config("laser"), how, examples, seed=3, keeper=keeper)
            break
        except Stopped:
            continue
    assert len(keeper.states) == 10
    assert torch.equal(weights(model), undisturbed)


def test_adagrad_takes_the_tables_and_adam_the_rest(small_world: Worlds) -> None:
    model = build_model(config("laser"), seed=1)
    adam, adagrad = Optimisers(model, TrainConfig(10, optimiser="adagrad+adam"), steps=9).optimisers
    tables = {id(w) for g in adagrad.param_groups for w in g["params"]}
    rest = {id(w) for g in adam.param_groups for w in g["params"]}
    named = dict(model.named_parameters())
    assert {name for name, w in named.items() if id(w) in tables} == {
        "category.weight", "head.ad.weight", "head.category.weight", "head.ad_bias.weight",
        "head.category_bias.weight", "head.position_bias.weight",
    }  # fmt: skip
    assert tables | rest == {id(w) for w in named.values()}
    assert [group["lr"] for group in adagrad.param_groups] == [0.05, pytest.approx(0.005)]
    examples = small_world[0].take(np.arange(200))
    how = TrainConfig(20, batch=32, optimiser="adagrad+adam")
    assert not torch.equal(
        weights(train(config("din"), how, examples, 1)),
        weights(train(config("din"), TrainConfig(20, batch=32), examples, 1)),
    )


def test_a_training_that_ends_in_nan_says_so(small_world: Worlds) -> None:
    examples = small_world[0].take(np.arange(200))
    how = TrainConfig(20, batch=32, learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"holds NaN or infinity .* Lower learning_rate"):
        train(config("din"), how, examples, seed=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "users"}, "loss is 'users', expected one of"),
        ({"optimiser": "sgd"}, "optimiser is 'sgd'"),
        ({"precision": "int8"}, "precision is 'int8'"),
        ({"clip": 0.0}, "clip is 0.0, expected more than 0"),
        ({"held_out": 1.0}, r"held_out is 1.0, expected a share in \[0, 1\)"),
        ({"beta2": -0.1}, "beta2 is -0.1"),
        ({"least": 11}, "least is 11, expected 0 to history, 10"),
        ({"length_beta": (0.0, 1.0)}, "expected two numbers above 0"),
        ({"length_beta": (1.0, 1.0), "lengths": (1.0, 0.5)}, "expected one of them"),
        ({"patience": 0}, "patience is 0, expected 1 or more"),
    ],
)
def test_switches_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{"history": 10, **changes})


def test_a_share_that_holds_out_nothing_or_everything_is_refused(small_world: Worlds) -> None:
    with pytest.raises(ValueError, match="expected one request or more on either side"):
        train(config("base"), TrainConfig(0, held_out=0.01), small_world[0].take(np.arange(10)), 1)
