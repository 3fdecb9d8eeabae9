"""One training of the model study, and the rows that it gives."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.models.cells import Sizes, World, chosen_device_name, logits_of, open_world, scores_of, sized
from benchmarks.models.real_gaps import user_shares
from benchmarks.models.study_plan import Training
from benchmarks.models.world_files import facts_of, read
from laser.errors import TrainingError
from laser.examples import ExampleSet
from laser.models import ModelConfig
from laser.out_of_memory import DeviceMemoryError
from laser.training.config import TrainConfig
from laser.training.loop import train
from laser.training.order import batches
from laser.training.presets import GENERIC_START, generic, recommended
from simulator.traffic.behaviours import ACTIONS

PLAIN_WIDTH = 16
_ROUND = 128  # histories of all behaviours are this much rounded up: shapes stay alike


def rows_of(training: Training, world: World, device: str) -> Iterator[dict[str, Any]]:
    """Train, and judge at the training's own length and at those that it is also served at.

    A training that comes to nothing, or does not fit the device, gives one row that says so. Any other error
    is raised: it would stop later trainings too.
    """
    named = {**asdict(training), "options": json.loads(training.options)}
    for name in ("settings", "served", "kind"):
        named.pop(name)
    start_s = time.perf_counter()
    config, how = configured(training, world, device)
    named |= {"trained_history": how.history, "batch": how.batch, "learning_rate": how.learning_rate}
    named |= {"table_rate": how.table_rate, "changes": json.loads(training.settings)}
    try:
        model = train(config, how, world.log, training.train_seed)
    except (TrainingError, DeviceMemoryError) as error:
        yield {**named, "sauc": None, "failed": str(error)}
        return
    train_s = time.perf_counter() - start_s
    longest = _longest(world.held_out.examples)
    read = behaviours_trained(how, world.log.examples, training.train_seed)
    named |= {"train_s": train_s, "behaviours_trained": read, "device": chosen_device_name(device)}
    for served in (training.history, *training.served):
        length = min(served, longest)
        logits = logits_of(model, world.held_out, length, device)
        yield {
            **named,
            "name": named["name"] if served == training.history else f"{named['name']} served at {served}",
            "history": length,
            **scores_of(logits, world.held_out.examples),
            **_by_user(logits, world.held_out.examples),
            "config": config.to_json(),
        }


def _by_user(logits: NDArray[np.float32], judged: ExampleSet) -> dict[str, Any]:
    """What each user's exposures add to the AUC's error, where clicks, not the truth, are judged by."""
    if judged.p_true is not None:
        return {}
    shown = judged.shown
    users = np.broadcast_to(judged.user[:, None], shown.shape)[shown]
    shares = user_shares(logits[shown], judged.label[shown], users)
    return {"by_user": [float(f"{share:.4g}") for share in shares]}


def configured(training: Training, world: World, device: str) -> tuple[ModelConfig, TrainConfig]:
    """The model and its training."""
    asked = json.loads(training.settings)
    plain = training.protocol == "plain"
    history = min(asked.get("length", training.history), _longest(world.log.examples))
    options = GENERIC_START[training.kind] if plain else json.loads(training.options)
    width = PLAIN_WIDTH if plain else training.width
    shown = float(world.log.examples.shown.sum(axis=1).mean())
    how = generic(history) if plain else recommended(training.kind, history, shown=shown)
    config = ModelConfig(training.kind, world.categories, world.ads, world.scenes, ACTIONS, width, options)
    changes = {name: asked[name] for name in ("table_rate", "epochs") if name in asked}
    if "length_beta" in asked:
        changes["length_beta"] = tuple(asked["length_beta"])
    return config, sized(how, world, device, asked.get("rate", 1.0), **changes)


def behaviours_trained(how: TrainConfig, examples: ExampleSet, seed: int) -> int:
    """Behaviours that the training read, each request's history counted as often as it was in a batch."""
    known = (examples.history_end - examples.history_start).astype(np.int64)
    drawn = batches(how, len(examples), seed)
    return sum(int(np.minimum(known[places], length).sum()) for places, length in drawn)


def _longest(examples: ExampleSet) -> int:
    """The longest history of a log, rounded up."""
    longest = int((examples.history_end - examples.history_start).max(initial=1))
    return -(-longest // _ROUND) * _ROUND


class Trainer:
    """Trains on worlds that other processes draw, one of them open at a time."""

    def __init__(self, drawn: Path, users: int | None, device: str) -> None:
        self._drawn, self._sizes, self._device = drawn, Sizes(users, {}, 0), device
        self._open: tuple[str, int] | None = None
        self._world: World | None = None

    def rows(self, training: Training) -> list[dict[str, Any]]:
        """The rows of one training."""
        rows = list(rows_of(training, self._opened(training.world, training.world_seed), self._device))
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # other processes train on the same device
        return rows

    def _opened(self, name: str, seed: int) -> World:
        if self._open != (name, seed) or self._world is None:
            self._world = None  # a full world takes 7 GB of the device
            made, facts = read(self._drawn, name, seed), facts_of(self._drawn, name, seed)
            self._world = open_world(name, seed, self._sizes, self._device, made, facts)
            self._open = name, seed
        return self._world
