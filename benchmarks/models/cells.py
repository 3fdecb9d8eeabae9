"""One cell of the model table: a model trained on a world, and what it scores on the held-out days."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.models.world_files import SPLITS, Made, examples_of, world_config
from laser.attention.kernels import fused
from laser.examples import ExampleSet
from laser.models import ModelConfig, RankingModel, build_model
from laser.operations import CANDIDATES, Operations, operations
from laser.scoring.buckets import BucketScorer
from laser.scoring.runtime import resolve_device
from laser.sources import DeviceSource, HostSource, Source
from laser.training.config import TrainConfig
from laser.training.loop import train
from laser.training.metrics import auc, gauc, log_loss, pcoc, truth_weighted_auc
from laser.training.presets import GENERIC_START, generic, recommended
from simulator.arms.training import holdout_logits
from simulator.traffic.behaviours import ACTIONS, SCENES
from simulator.world.catalogue import departments_of

WIDTH = 16
CHUNK = 256  # requests scored together
#: Models of the table by a name of their own: the kind, and its options.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {"departments": ("counts", {"department": 8})}
Look = Callable[[RankingModel, int], dict[str, Any]]
TUNED_ON = 648_000  # impressions of the logs that the recommended batches and rates were found on


@dataclass(frozen=True)
class Cell:
    """What names one training."""

    world: str
    world_seed: int
    train_seed: int
    protocol: str
    model: str

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Cell":
        """The cell of a saved row."""
        return cls(*(row[name] for name in ("world", "world_seed", "train_seed", "protocol", "model")))

    def __str__(self) -> str:
        return f"{self.world}:{self.world_seed} seed {self.train_seed} {self.protocol} {self.model}"


@dataclass(frozen=True)
class Sizes:
    """Users of a world (None: the preset's) and behaviours that each model of the table reads.

    A model may be named with a length of its own: din-1000.
    """

    users: int | None
    histories: dict[str, int]
    others: int

    def history(self, model: str) -> int:
        """Behaviours that a model of the table reads."""
        _, _, length = model.partition("-")
        return int(length) if length else self.histories.get(model, self.others)


@dataclass(frozen=True)
class World:
    """A world's log: what to learn from and what to judge by, and how many ids there are."""

    log: Source
    held_out: Source
    categories: int
    ads: int
    scenes: int
    departments: tuple[int, ...]


def open_world(
    name: str,
    seed: int,
    sizes: Sizes,
    device: str,
    made: Made | None = None,
    facts: dict[str, Any] | None = None,
) -> World:
    """A world's log on the device; generated here if it is not given.

    Args:
        facts: of a real log, "categories", "ads" and "scenes" among them; None for a generated world.
    """
    ids: tuple[int, int, int, tuple[int, ...]]
    if facts is None:
        config = world_config(name, sizes.users)
        ids = config.categories, config.ads, SCENES, departments_of(config)
    else:
        ids = facts["categories"], facts["ads"], facts["scenes"], tuple(facts.get("departments", ()))
    made = made or examples_of(name, seed, sizes.users)
    where = resolve_device(device)
    if where.type != "cuda":
        learned, judged = (HostSource(made[split], where) for split in SPLITS)
        return World(learned, judged, *ids)
    log = DeviceSource(made["train"], where)
    return World(log, DeviceSource(made["holdout"], where, over=log), *ids)


def trained_row(
    cell: Cell, world: World, sizes: Sizes, device: str, also: Look | None = None
) -> dict[str, Any]:
    """Train the cell's model and measure it.

    Args:
        also: more to say of the trained model, given the behaviours that it reads.
    """
    config, how = chosen(cell, world, sizes, device)
    start_s = time.perf_counter()
    model = train(config, how, world.log, cell.train_seed)
    train_s = time.perf_counter() - start_s
    return {
        **vars(cell),
        "history": how.history,
        **scores(model, world, how.history, device),
        "train_s": train_s,
        "training_impressions": int(world.log.examples.shown.sum()),
        **counted(config.to_json(), how.history),
        "batch": how.batch,
        "learning_rate": how.learning_rate,
        "device": chosen_device_name(device),
        **({} if also is None else also(model, how.history)),
    }


def chosen(cell: Cell, world: World, sizes: Sizes, device: str) -> tuple[ModelConfig, TrainConfig]:
    """The model and its training by the cell's protocol."""
    kind = cell.model.partition("-")[0]
    history = sizes.history(cell.model)
    kind, options = VARIANTS.get(kind, (kind, {}))
    how = recommended(kind, history)
    if cell.protocol == "plain":
        how, options = generic(history), GENERIC_START.get(kind, options)
    elif cell.protocol == "full-rate":
        how = replace(how, table_rate=1.0)
    elif cell.protocol == "departments":
        options = {**options, "departments": list(world.departments)}
    config = ModelConfig(kind, world.categories, world.ads, world.scenes, ACTIONS, WIDTH, options)
    return config, sized(how, world, device)


def sized(how: TrainConfig, world: World, device: str, rate: float = 1.0, **changes: Any) -> TrainConfig:
    """A training fitted to the size of a world's log and to the device.

    Args:
        rate: times the learning rate. changes: of other settings.
    """
    larger = growth(int(world.log.examples.shown.sum()))
    # With five times the log half the rate was better, by .008 (DIN) to .015 pt (Base, LASER) on loud:9.
    of_size = 0.5 if larger > 1 else 1.0
    fast = resolve_device(device).type == "cuda"
    learning_rate = how.learning_rate * of_size * rate
    return replace(
        how, device=device, fast=fast, batch=how.batch * larger, learning_rate=learning_rate, **changes
    )


def chosen_device_name(device: str) -> str:
    """What a training runs on, by name."""
    return torch.cuda.get_device_name() if resolve_device(device).type == "cuda" else "cpu"


def growth(impressions: int) -> int:
    """How many times larger batches are than on a log of the size that settings were tuned on: a power of two
    that leaves about as many steps."""
    return 1 << max(round(math.log2(impressions / TUNED_ON)), 0)


def counted(config: str, history: int) -> dict[str, float]:
    """Parameters and operations of a model, as rows have them."""
    found = counts(config, history)
    return {
        "params": found.parameters,
        "tables": found.tables,
        "macs": found.by_candidates[CANDIDATES[0]],
        "macs_500": found.by_candidates[CANDIDATES[1]],
        "macs_candidate": found.per_candidate,
        "macs_request": found.per_request,
    }


@cache
def counts(config: str, history: int) -> Operations:
    """Operations of a model, which its weights do not change."""
    return operations(build_model(ModelConfig.from_json(config), seed=0), history)


def scores(model: RankingModel, world: World, history: int, device: str) -> dict[str, float | None]:
    """How the model ranks the held-out days; see `scores_of`."""
    return scores_of(logits_of(model, world.held_out, history, device), world.held_out.examples)


def scores_of(wide: NDArray[np.float32], holdout: ExampleSet) -> dict[str, float | None]:
    """How (R, C) logits rank the held-out days; probabilities as they are, not calibrated.

    "sauc" is None where the truth is not known.
    """
    shown, truth = holdout.shown, holdout.p_true
    logits, labels = wide[shown], holdout.label[shown]
    users = np.broadcast_to(holdout.user[:, None], shown.shape)[shown]
    probabilities = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
    return {
        "sauc": None if truth is None else truth_weighted_auc(logits, truth[shown]),
        "auc": auc(logits, labels),
        "gauc": gauc(logits, labels, users),
        "logloss": log_loss(probabilities, labels),
        "pcoc": pcoc(probabilities, labels),
    }


def logits_of(model: RankingModel, source: Source, history: int, device: str) -> NDArray[np.float32]:
    """(R, C) logits of all requests of a source."""
    if not isinstance(source, DeviceSource):
        return holdout_logits(BucketScorer(model, device), source.examples, history)
    rows = np.arange(len(source.examples))
    chunks = [rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK)]
    model, length = model.to(source.device).eval(), torch.tensor([history], device=source.device)
    with torch.inference_mode(), fused():
        batches = (source.aligned(torch.from_numpy(c).to(source.device), length, history) for c in chunks)
        scores: NDArray[np.float32] = torch.cat([model(batch) for batch, _ in batches]).cpu().numpy()
    model.cpu()
    return scores
