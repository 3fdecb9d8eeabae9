"""Fast steps learn what plain steps learn: the same batches, losses and weights up to rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ranking_batches import config
from test_device_source import with_gaps
from test_model_training import weights
from test_training_resumes import Memory, Stopped

from laser.attention.look_up import look_up, spread_look_up
from laser.examples import ExampleSet
from laser.models import RankingModel, build_model
from laser.models.registry import BUILT_IN
from laser.sources import DeviceSource, HostSource
from laser.training.fast import FastSteps
from laser.training.loop import TrainConfig, train

Worlds = tuple[ExampleSet, ExampleSet]
CPU = torch.device("cpu")
# 250 requests in batches of 64: the last of an epoch is short. One mode of drawing lengths each.
HOW = TrainConfig(history=40, lengths=(1.0, 0.5, 0.3), batch=64, epochs=2, clip=1.0)
DOUBLING: dict[str, object] = {"segment": 4, "double_every": 2, "tied": True}


def both(
    kind: str, how: TrainConfig, examples: ExampleSet, **options: object
) -> tuple[list[float], RankingModel, RankingModel]:
    """Both ways of training; the losses of all plain steps, then of all fast ones."""
    losses: list[float] = []

    def told(done: int, steps: int, loss: float) -> None:
        losses.append(loss)

    model = config(kind, **options)
    plain = train(model, how, examples, 3, told)
    return losses, plain, train(model, replace(how, fast=True), examples, 3, told)


@pytest.mark.parametrize("kind", sorted(set(BUILT_IN) - {"counts"}))
def test_fast_steps_have_the_losses_of_plain_ones(small_world: Worlds, kind: str) -> None:
    losses, plain, fast = both(kind, HOW, with_gaps(small_world[0].take(np.arange(250))))
    half = len(losses) // 2
    assert half == 8
    # VISTA distinguishes padding from nothing when it reconstructs a history, and fast steps pad more.
    assert losses[half:] == pytest.approx(losses[:half], abs=5e-3 if kind == "vista" else 3e-4)
    assert torch.allclose(weights(fast), weights(plain), atol=0.02)


@pytest.mark.parametrize("options", [{}, {"query_width": 4, "value_width": 4, "gates": "softmax"}])
def test_fast_steps_on_doubling_segments_have_the_losses_of_plain_ones(
    small_world: Worlds, options: dict[str, object]
) -> None:
    examples = with_gaps(small_world[0].take(np.arange(250)))
    losses, plain, fast = both("laser", HOW, examples, **DOUBLING, **options)
    half = len(losses) // 2
    assert losses[half:] == pytest.approx(losses[:half], abs=3e-4)
    assert torch.allclose(weights(fast), weights(plain), atol=0.02)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    ("kind", "options"),
    [*((kind, {}) for kind in sorted(set(BUILT_IN) - {"counts"})), ("laser", DOUBLING)],
)
def test_captured_steps_on_a_gpu_have_the_losses_of_plain_ones(
    small_world: Worlds, kind: str, options: dict[str, object]
) -> None:
    examples, model = with_gaps(small_world[0].take(np.arange(250))), config(kind, width=16, **options)
    losses: dict[bool, list[float]] = {True: [], False: []}
    for fast in losses:
        how = replace(HOW, device="cuda", fast=fast)
        train(model, how, examples, 3, lambda done, steps, loss, to=losses[fast]: to.append(loss))
    assert losses[True] == pytest.approx(losses[False], abs=5e-3)


def test_a_fast_training_that_was_stopped_goes_on_with_the_same_bits(small_world: Worlds) -> None:
    examples, how = small_world[0].take(np.arange(250)), replace(HOW, fast=True)
    undisturbed = weights(train(config("laser"), how, examples, 3))
    keeper = Memory(3)
    for _ in range(2):
        with pytest.raises(Stopped):
            train(config("laser"), how, examples, 3, keeper=keeper)
    assert torch.equal(weights(train(config("laser"), how, examples, 3, keeper=keeper)), undisturbed)
    assert len(keeper.states) == 8


def test_drawn_lengths_of_any_number_need_few_widths(small_world: Worlds) -> None:
    how = TrainConfig(history=40, length_beta=(0.5, 0.5), batch=16, fast=True)
    examples = small_world[0].take(np.arange(250))
    model = build_model(config("laser"), 1).train()
    steps = FastSteps(model, DeviceSource(examples, CPU), how, np.arange(250), 3, 16)
    for step in range(16):
        steps.take(step)
    drawn, widths = {int(length) for length in steps.lengths}, set(steps.widths)
    assert len(drawn) > 3
    assert widths <= {40, 20, 10}
    assert all(width >= length for width, length in zip(steps.widths, steps.lengths, strict=True))


def test_what_has_no_fixed_shape_or_no_fast_form_is_refused(small_world: Worlds) -> None:
    examples = small_world[0].take(np.arange(50))
    with pytest.raises(ValueError, match="no fixed shape"):
        train(config("counts"), replace(HOW, fast=True), examples, 3)
    with pytest.raises(ValueError, match='expected "adam", "float32" or "bfloat16"'):
        replace(HOW, fast=True, precision="float16")
    with pytest.raises(ValueError, match="examples on the device"):
        train(config("din"), replace(HOW, fast=True), HostSource(examples, CPU), 3)


def test_a_look_up_in_copies_of_a_table_has_the_values_and_gradients_of_an_index() -> None:
    draw = torch.Generator().manual_seed(2)
    at = torch.randint(0, 7, (3, 50), generator=draw)
    for table in (torch.randn(7, generator=draw), torch.randn(7, 4, generator=draw)):
        table.requires_grad_()
        one, other = spread_look_up(table, at), look_up(table, at)
        assert torch.equal(one, other)
        (of_one,) = torch.autograd.grad(one.square().sum(), table)
        (of_other,) = torch.autograd.grad(other.square().sum(), table)
        assert torch.allclose(of_one, of_other, rtol=1e-5)
