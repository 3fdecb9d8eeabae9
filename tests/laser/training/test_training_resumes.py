"""A training that was interrupted and taken up again ends with the same weights, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ranking_batches import KINDS, config

from laser.examples import ExampleSet
from laser.models import RankingModel
from laser.training.loop import TrainConfig, train

Worlds = tuple[ExampleSet, ExampleSet]
HOW = TrainConfig(history=40, lengths=(1.0, 0.5, 0.25), batch=64, epochs=2)  # 2 x 4 steps


class Stopped(Exception):
    """The training ended at a checkpoint."""


class Memory:
    """Keeps every state; ends the training after `steps` more."""

    def __init__(self, steps: int) -> None:
        self.states: list[bytes] = []
        self.steps, self.left = steps, steps

    def load(self) -> bytes | None:
        self.left = self.steps
        return self.states[-1] if self.states else None

    def due(self) -> bool:
        return True

    def save(self, state: bytes) -> None:
        self.states.append(state)
        self.left -= 1
        if self.left == 0:
            raise Stopped


def weights(model: RankingModel) -> torch.Tensor:
    return torch.cat([value.flatten() for value in model.state_dict().values()])


@pytest.mark.parametrize("kind", [*KINDS, "counts"])
def test_a_training_stopped_every_third_step_ends_with_the_same_bits(small_world: Worlds, kind: str) -> None:
    examples = small_world[0].take(np.arange(250))
    undisturbed = weights(train(config(kind), HOW, examples, seed=3))
    keeper, stops = Memory(3), 0
    while True:
        try:
            model = train(config(kind), HOW, examples, seed=3, keeper=keeper)
            break
        except Stopped:
            stops += 1
            torch.manual_seed(stops)  # another process has another global generator
    assert stops == 2
    assert len(keeper.states) == 8  # no step was taken twice
    assert torch.equal(weights(model), undisturbed)


def test_a_training_taken_up_after_its_last_step_only_returns_the_model(small_world: Worlds) -> None:
    examples = small_world[0].take(np.arange(250))
    keeper = Memory(8)
    with pytest.raises(Stopped):
        train(config("din"), HOW, examples, seed=3, keeper=keeper)
    again = train(config("din"), HOW, examples, seed=3, keeper=keeper)
    assert len(keeper.states) == 8
    assert torch.equal(weights(again), weights(train(config("din"), HOW, examples, seed=3)))


def test_a_kept_training_is_no_pickle_that_runs_code(small_world: Worlds) -> None:
    import pickle

    keeper = Memory(0)
    keeper.states.append(pickle.dumps(print, protocol=2))
    with pytest.raises(pickle.UnpicklingError):
        train(config("din"), HOW, small_world[0], seed=3, keeper=keeper)
