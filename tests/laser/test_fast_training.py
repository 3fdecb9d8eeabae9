"""Fast steps learn what plain steps learn: the same batches, losses and weights up to rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ranking_batches import config
from test_device_source import with_gaps
from test_model_training import weights

from laser.examples import ExampleSet
from laser.models import RankingModel
from laser.models.registry import BUILT_IN
from laser.training.loop import TrainConfig, train

Worlds = tuple[ExampleSet, ExampleSet]
CPU = torch.device("cpu")
# 250 requests in batches of 64: the last of an epoch is short. One mode of drawing lengths each.
HOW = TrainConfig(history=40, lengths=(1.0, 0.5, 0.3), batch=64, epochs=2, clip=1.0)


def both(kind: str, how: TrainConfig, examples: ExampleSet) -> tuple[list[float], RankingModel, RankingModel]:
    """Both ways of training; the losses of all plain steps, then of all fast ones."""
    losses: list[float] = []

    def told(done: int, steps: int, loss: float) -> None:
        losses.append(loss)

    plain = train(config(kind), how, examples, 3, told)
    return losses, plain, train(config(kind), replace(how, fast=True), examples, 3, told)


@pytest.mark.parametrize("kind", sorted(set(BUILT_IN) - {"counts"}))
def test_fast_steps_have_the_losses_of_plain_ones(small_world: Worlds, kind: str) -> None:
    losses, plain, fast = both(kind, HOW, with_gaps(small_world[0].take(np.arange(250))))
    half = len(losses) // 2
    assert half == 8
    # VISTA tells padding apart from nothing when it retells a history, and fast steps pad more.
    assert losses[half:] == pytest.approx(losses[:half], abs=5e-3 if kind == "vista" else 3e-4)
    assert torch.allclose(weights(fast), weights(plain), atol=0.02)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", sorted(set(BUILT_IN) - {"counts"}))
def test_captured_steps_on_a_gpu_have_the_losses_of_plain_ones(small_world: Worlds, kind: str) -> None:
    examples, model = with_gaps(small_world[0].take(np.arange(250))), config(kind, width=16)
    losses: dict[bool, list[float]] = {True: [], False: []}
    for fast in losses:
        how = replace(HOW, device="cuda", fast=fast)
        train(model, how, examples, 3, lambda done, steps, loss, to=losses[fast]: to.append(loss))
    assert losses[True] == pytest.approx(losses[False], abs=5e-3)
