"""Scoring: a trained model and a device, behind one call that takes a batch and returns logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laser.batch import RankingBatch
from laser.errors import LaserError
from laser.memory import keep_freed_memory
from laser.models import ModelConfig, RankingModel
from laser.models.plugins import is_plugin, plugin_code
from laser.out_of_memory import memory_told
from laser.scoring.limits import check_limits
from laser.scoring.snapshot import ScoreError, Snapshot, freeze

_MEND = {
    False: "Its weights have grown too large: train it again.",
    True: "Its attend must return finite numbers, for empty histories too.",
}
_LESS = "Score fewer requests at a time or shorter histories, or use another device."


class DeviceError(LaserError):
    """A device that was asked for and is not there."""


def resolve_device(name: str) -> torch.device:
    """The device for "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:N".

    Raises:
        DeviceError: another name, or a GPU that is absent.
    """
    present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda:0" if present else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind != "cuda" or (":" in name and not number.isdecimal()):
        raise DeviceError(f'device is {name!r}, expected "auto", "cpu", "cuda" or "cuda:N".')
    needed = int(number or 0) + 1
    if present < needed:
        raise DeviceError(
            f"device {name!r} is absent: found {present} GPUs here, expected at least {needed}. "
            'Use "cpu" or "auto" (experiment.device in an experiment file).'
        )
    return torch.device("cuda", needed - 1)


class Scorer:
    """Scores batches of any make-up with one snapshot on one device. Threads are process-wide in torch: the
    newest Scorer rules.

    The same batch gives the same logits bit for bit. A request's logits may differ in the last bits between
    batches of different make-up; `laser.scoring.buckets` is for where that matters.
    """

    def __init__(
        self, model: RankingModel | Snapshot, device: str | torch.device = "cpu", threads: int = 1
    ) -> None:
        """Make one; a model is frozen as it is now, what becomes of it later changes no score.

        Raises:
            ScoreError: a weight is NaN or infinite.
            DeviceMemoryError: the device is out of memory.
        """
        if threads < 1:
            raise ValueError(f"threads is {threads}, expected 1 or more. Pass the CPU threads to score with.")
        if isinstance(model, RankingModel):
            model = freeze(model, device if isinstance(device, torch.device) else resolve_device(device))
        self.snapshot = model
        torch.set_num_threads(threads)
        keep_freed_memory()

    @property
    def device(self) -> torch.device:
        """Where it scores."""
        return self.snapshot.device

    def swap(self, snapshot: Snapshot) -> None:
        """Score with other weights from now on."""
        self.snapshot = snapshot

    def score(self, batch: RankingBatch) -> NDArray[np.float32]:
        """Logits (B, C); -inf for candidates beyond candidate_count.

        Histories may be empty, or longer than those of the training: positions beyond the known ones share
        the last. Ids must be known.

        Raises:
            ScoreError: an id is beyond what the model was built for, an age is negative or not finite, or a
                candidate's score is NaN or infinite.
            PluginError: a model of the user's own raised.
            DeviceMemoryError: the device is out of memory.
        """
        model = self.snapshot.model
        check_batch(batch, model.config)
        if batch.requests == 0:
            return np.zeros((0, batch.candidates), np.float32)
        with (
            memory_told(self.device, _work(batch), _LESS),
            plugin_code(model.config.kind, "while scoring"),
            self.snapshot.computing(),
        ):
            moved = batch if self.device.type == "cpu" else batch.to(self.device)
            logits: Tensor = model(moved)
            scores: NDArray[np.float32] = logits.cpu().numpy()
        check_scores(scores, batch.candidate_count.cpu().numpy(), model.config)
        return scores


def check_scores(scores: NDArray[np.float32], counts: NDArray[Any], config: ModelConfig) -> None:
    """Refuse scores of candidates that are no numbers.

    Args:
        scores: (B, C). counts: (B,) candidates.

    Raises:
        ScoreError: one is NaN or infinite.
    """
    broken = ~np.isfinite(scores)
    if broken.any():
        broken &= np.arange(scores.shape[1]) < counts[:, None]
        if broken.any():
            raise ScoreError(
                f"{int(broken.sum())} of {scores.size} scores of model {config.kind!r} are NaN or infinite, "
                f"expected numbers. {_MEND[is_plugin(config.kind)]}"
            )


def _work(batch: RankingBatch) -> str:
    return f"scoring {batch.requests} x {batch.candidates} candidates, histories of up to {batch.longest}"


def check_batch(batch: RankingBatch, config: ModelConfig) -> None:
    """Refuse what the model cannot read; a few microseconds per batch.

    Raises:
        ScoreError: see `check_limits`.
    """
    check_limits(config, batch.candidates, lambda name: _ends(getattr(batch, name)))


def _ends(values: Tensor) -> tuple[float, float]:
    """Least and largest; both 0 of nothing."""
    if not values.numel():
        return 0.0, 0.0
    low, high = values.aminmax()
    return float(low), float(high)
