"""Train a ranking model: one pass over the log, a batch being requests with all their candidates.

Batching by request reads each history once for all its candidates. Adam with a one-cycle learning rate,
binary cross-entropy, one thread by default: the same configuration, examples and seed give the same weights
bit for bit on the same machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laser.errors import TrainingError
from laser.examples import ExampleSet
from laser.memory import keep_freed_memory
from laser.models import ModelConfig, RankingModel, build_model
from laser.models.plugins import plugin_code
from laser.out_of_memory import memory_told
from laser.sources import DeviceSource, HostSource, Source
from laser.training.config import TrainConfig
from laser.training.fast import FastSteps
from laser.training.loss import summed_loss
from laser.training.optimisers import Optimisers
from laser.training.order import batches, held_out_rows, steps_of
from laser.training.parallel import Group, join
from laser.training.state import Keeper, Kept, pack, restore
from laser.training.stopping import Watch

__all__ = ["TrainConfig", "train"]

Progress = Callable[[int, int, float], None]
# Step number from 0, its requests and history length; returns the batch's mean loss.
Take = Callable[[int, NDArray[np.int64], int], Tensor]

# On a CPU a batch goes through in chunks of at most this many behaviours, gradients added up, so that memory
# does not grow with history x batch. Smaller chunks only cost time: 16,384 took LASER a third longer.
CHUNK_BEHAVIOURS = 131_072
# From this history length on, the scores of a self-attention outweigh its tokens.
SQUARE_AT = 64


def train(
    config: ModelConfig,
    train: TrainConfig,
    examples: ExampleSet | Source,
    seed: int,
    progress: Progress | None = None,
    keeper: Keeper | None = None,
) -> RankingModel:
    """Train a model from scratch and return it in evaluation mode, on the CPU.

    Under torchrun every process calls this with the same arguments and gets the same model; the first keeps
    the state and reports progress.

    Args:
        config: the model.
        train: how to train it.
        examples: what to learn from; p_true and user are not read. A `laser.sources.Source` is used as it
            is: one that lives on the device serves several trainings.
        seed: draws the weights, the order of the requests and the history lengths.
        progress: called as (steps done, steps in all, last loss) about a hundred times.
        keeper: keeps the state on the way; a training that goes on from it ends with the same weights,
            bit for bit, as one that was never interrupted.

    Raises:
        TrainingError: no examples, an id beyond what the model is built for, or weights that are no longer
            finite.
        DeviceError: the device is absent.
        DeviceMemoryError: the device is out of memory.
    """
    known = examples if isinstance(examples, ExampleSet) else examples.examples
    check_examples(known, config)
    group, device = join(train.device)
    torch.set_num_threads(train.threads)
    keep_freed_memory()
    work = f"training on {train.batch} requests at a time, histories of up to {train.history}"
    with memory_told(device, work, "Train on smaller batches or shorter histories, or use another device."):
        return _fit(config, train, examples, seed, group, device, progress, keeper)


def _fit(
    config: ModelConfig,
    train: TrainConfig,
    examples: ExampleSet | Source,
    seed: int,
    group: Group,
    device: torch.device,
    progress: Progress | None,
    keeper: Keeper | None,
) -> RankingModel:
    known = examples if isinstance(examples, ExampleSet) else examples.examples
    learned, watched = held_out_rows(train, known.request_time_s)
    source = _source(examples, train, device) if isinstance(examples, ExampleSet) else examples
    model = _start(config, known, seed).to(device).train()
    run = _Run(model, source, train, group, device, Watch(train.patience), steps_of(train, len(learned)))
    run.through(learned, watched, seed, progress if group.rank == 0 else None, keeper)
    run.watch.restore(model)
    _check_weights(model)
    return model.to("cpu").eval()


@dataclass
class _Run:
    """A training under way."""

    model: RankingModel
    source: Source
    train: TrainConfig
    group: Group
    device: torch.device
    watch: Watch
    steps: int

    def through(
        self,
        learned: NDArray[np.int64],
        watched: NDArray[np.int64],
        seed: int,
        progress: Progress | None,
        keeper: Keeper | None,
    ) -> None:
        """All steps, from where the keeper left off."""
        optimisers, take = self._fast(learned, seed) if self.train.fast else self._plain()
        kept = None if keeper is None else keeper.load()
        begun = 0
        if kept is not None:
            begun = restore(kept, self.model, optimisers, self.watch, self.device)
        check_every = max(self.steps // self.train.checks, 1)
        for done, (places, length) in enumerate(batches(self.train, len(learned), seed), start=1):
            if self.watch.over:
                break
            if done <= begun:  # drawn again only to reach the generator's position
                continue
            rows = learned[places]
            if done == 1:
                with plugin_code(self.model.config.kind, "while looking at its first batch"):
                    self.model.look_at(self.source.batch(rows, length))
            loss = take(done - 1, rows, length)
            if len(watched) and (done % check_every == 0 or done == self.steps):
                self.watch.saw(self._loss_of(watched), self.model)
            if progress is not None and (done % max(self.steps // 100, 1) == 0 or done == self.steps):
                progress(done, self.steps, float(loss))
            # Also after the last step: what follows a training may take long, and be interrupted too.
            last = done == self.steps or self.watch.over
            if keeper is not None and self.group.rank == 0 and (last or keeper.due()):
                keeper.save(pack(done, self.model, optimisers, self.watch, self.device))

    def _plain(self) -> tuple[Kept, Take]:
        optimisers = Optimisers(self.model, self.train, self.steps)
        return optimisers, lambda step, rows, length: self._step(rows, length, optimisers)

    def _fast(self, learned: NDArray[np.int64], seed: int) -> tuple[Kept, Take]:
        if self.group.size > 1 or not isinstance(self.source, DeviceSource):
            raise TrainingError(
                f"fast with {self.group.size} processes and a {type(self.source).__name__}, expected one "
                "process and examples on the device. Train with fast = false."
            )
        fast = FastSteps(self.model, self.source, self.train, learned, seed, self.steps)
        return fast.optimisers, lambda step, rows, length: fast.take(step)

    def _step(self, rows: NDArray[np.int64], length: int, optimisers: Optimisers) -> Tensor:
        """One step; returns the batch's mean loss."""
        optimisers.zero_grad()
        total = self._weight(rows)
        loss = torch.zeros((), device=self.device)
        for part in self._chunks(self.group.part(rows), length):
            with self._precision():
                mean = self._summed(part, length) / total
            optimisers.scaler.scale(mean).backward()  # type: ignore[no-untyped-call]
            loss += mean.detach()
        self.group.add_gradients(optimisers.weights)
        optimisers.step()
        return self.group.sum(loss)

    def _loss_of(self, rows: NDArray[np.int64]) -> float:
        """The mean click loss of requests that are not learned from, at the full history."""
        self.model.eval()
        loss = torch.zeros((), device=self.device)
        with torch.no_grad():
            mine = self.group.part(rows)
            for start in range(0, len(mine), self.train.batch):
                for part in self._chunks(mine[start : start + self.train.batch], self.train.history):
                    with self._precision():
                        loss += self._summed(part, self.train.history)
        self.model.train()
        return float(self.group.sum(loss)) / self._weight(rows)

    def _summed(self, rows: NDArray[np.int64], length: int) -> Tensor:
        batch, clicks = self.source.batch(rows, length), self.source.clicks(rows)
        return summed_loss(self.model, batch, clicks, self.train.loss == "requests")

    def _weight(self, rows: NDArray[np.int64]) -> float:
        """What the whole batch weighs, of all processes."""
        counts = self.source.counts[rows]
        return max(int(np.count_nonzero(counts) if self.train.loss == "requests" else counts.sum()), 1)

    def _chunks(self, rows: NDArray[np.int64], length: int) -> list[NDArray[np.int64]]:
        """Requests that go through together: as many as fit the memory that CHUNK_BEHAVIOURS stands for."""
        if not len(rows) or self.device.type == "cuda":
            return [rows] if len(rows) else []
        weight = length * max(length // SQUARE_AT, 1) if self.model.SELF_ATTENTION else length
        chunk = max(CHUNK_BEHAVIOURS // max(weight, 1), 1)
        return [rows[start : start + chunk] for start in range(0, len(rows), chunk)]

    def _precision(self) -> torch.autocast:
        dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(self.train.precision)
        return torch.autocast(self.device.type, dtype, enabled=dtype is not None)


def _source(examples: ExampleSet, train: TrainConfig, device: torch.device) -> Source:
    if train.fast or train.resident or (train.resident is None and device.type == "cuda"):
        return DeviceSource(examples, device)
    return HostSource(examples, device)


def _start(config: ModelConfig, examples: ExampleSet, seed: int) -> RankingModel:
    """A fresh model that begins at the log's click rate."""
    model = build_model(config, seed)
    shown = examples.shown
    clicks = int(examples.label[shown].sum())
    model.head.start_at((clicks + 1.0) / (int(shown.sum()) + 2.0))
    return model


def _check_weights(model: RankingModel) -> None:
    for name, weights in model.named_parameters():
        if not bool(torch.isfinite(weights).all()):
            raise TrainingError(
                f"{name} of model {model.config.kind!r} holds NaN or infinity after training, expected "
                "numbers. Lower learning_rate, set clip, or train in float32."
            )


def check_examples(examples: ExampleSet, config: ModelConfig) -> None:
    """Refuse examples that the model cannot read.

    Raises:
        TrainingError: there are none, or an id has no row in the model.
    """
    if len(examples) == 0:
        raise TrainingError(
            "there are 0 examples, expected at least one request. Check the log and its split."
        )
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
            raise TrainingError(
                f"{name} holds {found}, expected ids below {limit}. Build the model for the log's ids."
            )
