"""Train a ranking model: one pass over the log, a batch being requests with all their candidates.

Batching by request reads each history once for all its candidates. Adam with a one-cycle learning rate,
binary cross-entropy, one thread by default: the same configuration, examples and seed give the same weights
bit for bit on the same machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from laser.batch import RankingBatch
from laser.examples import ExampleSet
from laser.memory import keep_freed_memory
from laser.models import ModelConfig, RankingModel, build_model
from laser.scoring.runtime import resolve_device
from laser.training.state import Keeper, pack, restore

Progress = Callable[[int, int, float], None]

# On a CPU a batch goes through in chunks of at most this many behaviours, gradients added up, so that memory
# does not grow with history x batch. Smaller chunks only cost time: 16,384 took LASER a third longer.
CHUNK_BEHAVIOURS = 131_072
# From this history length on, the scores of a self-attention outweigh its tokens.
SQUARE_AT = 64


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        history: behaviours of a full history; 0 for a model that reads none.
        lengths: shares of `history`, one drawn for each batch, so that one model serves several lengths.
        batch: requests in a batch.
        learning_rate: peak of the one-cycle schedule.
        table_rate: learning rate of the shared category table, as a share of learning_rate. Candidates
        recognise
            behaviours by it; at the full rate it drifts and every match blurs (docs/models.md has the
            figures).
        epochs: passes over the examples.
        threads: CPU threads, fixed for the whole process.
        device: "auto", "cpu", "cuda" or "cuda:N".
    """

    history: int
    lengths: tuple[float, ...] = (1.0,)
    batch: int = 128
    learning_rate: float = 4e-3
    table_rate: float = 0.1
    epochs: int = 1
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, least in (("history", 0), ("batch", 1), ("epochs", 1), ("threads", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected {least} or more.")
        if not self.lengths or not all(0.0 < share <= 1.0 for share in self.lengths):
            raise ValueError(
                f"lengths is {self.lengths}, expected shares of the history in (0, 1], such as (1.0, 0.5)."
            )
        if not 0.0 <= self.table_rate <= 1.0:
            raise ValueError(f"table_rate is {self.table_rate}, expected a share of learning_rate in [0, 1].")
        if not self.learning_rate > 0.0:
            raise ValueError(f"learning_rate is {self.learning_rate}, expected more than 0.")


def train(
    config: ModelConfig,
    train: TrainConfig,
    examples: ExampleSet,
    seed: int,
    progress: Progress | None = None,
    keeper: Keeper | None = None,
) -> RankingModel:
    """Train a model from scratch and return it in evaluation mode, on the CPU.

    Args:
        config: the model. train: how to train it.
        examples: what to learn from; p_true and user are not read.
        seed: draws the weights, the order of the requests and the history lengths.
        progress: called as (steps done, steps in all, last loss) about a hundred times.
        keeper: keeps the state on the way; a training that goes on from it ends with the same weights,
            bit for bit, as one that was never interrupted.

    Raises:
        ValueError: no examples, or an id beyond what the model is built for.
        DeviceError: the device is absent.
    """
    check_examples(examples, config)
    device = resolve_device(train.device)
    torch.set_num_threads(train.threads)
    keep_freed_memory()
    steps = -(-len(examples) // train.batch) * train.epochs
    model = _start(config, examples, seed).to(device).train()
    optimiser, schedule = _optimiser(model, train, steps)
    kept = None if keeper is None else keeper.load()
    begun = 0 if kept is None else restore(kept, model, optimiser, schedule, device)
    for done, (rows, length) in enumerate(_batches(train, len(examples), seed), start=1):
        if done <= begun:  # drawn again only to reach the generator's position
            continue
        optimiser.zero_grad(set_to_none=True)
        loss = _accumulate(model, examples, rows, length, device)
        optimiser.step()
        schedule.step()
        if progress is not None and (done % max(steps // 100, 1) == 0 or done == steps):
            progress(done, steps, loss)
        # Also after the last step: what follows a training may take long, and be interrupted too.
        if keeper is not None and (done == steps or keeper.due()):
            keeper.save(pack(done, model, optimiser, schedule, device))
    return model.to("cpu").eval()


def _start(config: ModelConfig, examples: ExampleSet, seed: int) -> RankingModel:
    """A fresh model that begins at the log's click rate."""
    model = build_model(config, seed)
    shown = examples.shown
    clicks = int(examples.label[shown].sum())
    model.head.start_at((clicks + 1.0) / (int(shown.sum()) + 2.0))
    return model


def _optimiser(
    model: RankingModel, train: TrainConfig, steps: int
) -> tuple[torch.optim.Adam, torch.optim.lr_scheduler.OneCycleLR]:
    recognising: list[Any] = [w for name, w in model.named_parameters() if name.startswith(model.RECOGNISES)]
    others = [w for name, w in model.named_parameters() if not name.startswith(model.RECOGNISES)]
    rates = [train.learning_rate, train.learning_rate * train.table_rate]
    groups: list[dict[str, Any]] = [{"params": others}, {"params": recognising}]
    optimiser = torch.optim.Adam(groups)
    # The schedule wants at least one step on either side of its peak.
    return optimiser, torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=max(steps, 4))


def _batches(train: TrainConfig, examples: int, seed: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """The rows and the history length of every step, the same for the same seed."""
    draws = np.random.Generator(np.random.Philox(key=seed))
    for _ in range(train.epochs):
        order = draws.permutation(examples)
        for start in range(0, examples, train.batch):
            share = train.lengths[int(draws.integers(len(train.lengths)))]
            yield order[start : start + train.batch], round(train.history * share)


def check_examples(examples: ExampleSet, config: ModelConfig) -> None:
    """Refuse examples that the model cannot read.

    Raises:
        ValueError: there are none, or an id has no row in the model.
    """
    if len(examples) == 0:
        raise ValueError("there are 0 examples, expected at least one request. Check the log and its split.")
    limits = {
        "category": config.categories,
        "action": config.actions,
        "scene": config.scenes,
        "ad": config.ads,
        "ad_category": config.categories,
    }
    for name, limit in limits.items():
        ids = getattr(examples, name)
        if ids.size and (found := int(ids.max())) >= limit:
            raise ValueError(
                f"{name} holds {found}, expected ids below {limit}. Build the model for the log's ids."
            )


def _accumulate(
    model: RankingModel, examples: ExampleSet, rows: NDArray[np.int64], length: int, device: torch.device
) -> float:
    """Add the gradients of one batch's mean loss, chunk by chunk, and return that loss."""
    chunk = _chunk(model, len(rows), length, device)
    shown = max(int(examples.shown[rows].sum()), 1)
    total = 0.0
    for start in range(0, len(rows), chunk):
        part = rows[start : start + chunk]
        loss = _summed_loss(model, examples.batch(part, length).to(device), examples.label[part]) / shown
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return total


def _chunk(model: RankingModel, requests: int, length: int, device: torch.device) -> int:
    """Requests that go through together: as many as fit the memory that CHUNK_BEHAVIOURS stands for."""
    if device.type == "cuda":
        return requests
    weight = length * max(length // SQUARE_AT, 1) if model.SELF_ATTENTION else length
    return max(CHUNK_BEHAVIOURS // max(weight, 1), 1)


def _summed_loss(model: RankingModel, batch: RankingBatch, label: NDArray[np.uint8]) -> Tensor:
    """Binary cross-entropy summed over the candidates that exist, and the model's own losses beside it."""
    logits: Tensor = model(batch)
    clicks = torch.from_numpy(label.astype(np.float32)).to(logits.device)
    shown = torch.isfinite(logits)
    beside = model.auxiliary_loss(clicks, shown)
    if not batch.full:
        logits, clicks = logits[shown], clicks[shown]
    loss = functional.binary_cross_entropy_with_logits(logits, clicks, reduction="sum")
    return loss if beside is None else loss + beside
