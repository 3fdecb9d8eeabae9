"""An arm's scores in the cache of this machine: what another run has scored is not scored again.

What a score is made from is said here: a trained model, a history length, the requests and what they may
read, how and by what code it is computed. Load, budget, servers, split and market have no part in it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from laser.models.plugins import is_plugin
from simulator.arms.arm import Arm, ModelSpec
from simulator.arms.models import TrainedModel
from simulator.arms.plan import Plan
from simulator.arms.summaries import summary_inputs
from simulator.config.settings import STORES
from simulator.execution.cache import open_cache, read_scores
from simulator.execution.checkpoints import inputs_of
from simulator.execution.environment import hardware, versions
from simulator.execution.fingerprint import code_digest

F4 = NDArray[np.float32]

# What turns requests into scores and logs into models. The market and the statistics are none of it.
_CODE = ("laser", "seqvault", "simulator.arms", "simulator.inputs", "simulator.traffic")


@cache
def made_by(device: str) -> str:
    """The digest of the code and the machine that scores and trainings depend on, to the bit."""
    machine, found = hardware(device), versions()
    return inputs_of(
        code=[code_digest(package) for package in _CODE],
        versions=[found.get(name) for name in ("torch", "numpy", "numba")],
        device=machine["cpu"] if device == "cpu" else machine["gpu"],
    )


@dataclass(frozen=True)
class KeptScores:
    """Where an arm's scores are kept, by ladder step; None where they are not.

    A store or model of the user's own has no version that could be told, so its scores stay in their run.
    """

    plan: Plan
    arm: Arm
    trained: Mapping[ModelSpec, TrainedModel]

    def find(self) -> list[F4]:
        """(R, C) logits of each step as other runs left them, NaN where there are none."""
        kept = open_cache()
        requests = self.plan.prepared.requests
        shape = requests.candidates.shape
        found = []
        for digest in self._digests() if kept is not None else ():
            logits = None if kept is None or digest is None else kept.scores(digest, *shape)
            found.append(_nothing(shape) if logits is None else logits)
        return found or [_nothing(shape) for _ in self.arm.scored_steps]

    def keep(self, logits: Sequence[F4], fresh: NDArray[np.bool_]) -> None:
        """Keep the steps of which something was scored.

        Args:
            logits: (R, C) of each step.
            fresh: (K,) which those are.
        """
        kept = open_cache()
        if kept is None:
            return
        for step, digest, scores, new in zip(
            self.arm.scored_steps, self._digests(), logits, fresh, strict=True
        ):
            if digest is not None and new:
                model = self.arm.model_of(step).key
                kept.keep_scores(digest, scores, {"model": model, "history": step.history})

    def _digests(self) -> list[str | None]:
        plan, arm = self.plan, self.arm
        return [
            None
            if arm.settings.store not in STORES or is_plugin(arm.model_of(step).kind)
            else inputs_of(
                model=self.trained[arm.model_of(step)].digest,
                history=step.history,
                precision=arm.settings.precision,
                summary=summary_inputs(plan, arm, step),
                data=plan.prepared.digest,
                threads=plan.threads,
                made_by=made_by(plan.device),
            )
            for step in arm.scored_steps
        ]


def _nothing(shape: tuple[int, ...]) -> F4:
    """Scores of nothing, in no memory."""
    return np.broadcast_to(np.float32(np.nan), shape)


@dataclass(frozen=True)
class SentScores:
    """Scores on their way from a worker: a file of the run's own, as the cache may let its file go.

    Without a path there are none.
    """

    path: Path | None
    shape: tuple[int, int]

    def open(self) -> F4:
        """Memory-map them."""
        return _nothing(self.shape) if self.path is None else read_scores(self.path, *self.shape)


def sent(logits: Sequence[F4], folder: Path) -> list[F4 | SentScores]:
    """What a worker sends home: memory-mapped scores by name, others as they are.

    Args:
        logits: (R, C) of each step.
        folder: the run's own, for links to kept files.
    """
    found: list[F4 | SentScores] = []
    for k, scores in enumerate(logits):
        shape = (scores.shape[0], scores.shape[1])
        if scores.strides == (0, 0):
            found.append(SentScores(None, shape))
            continue
        if not isinstance(scores, np.memmap) or scores.filename is None:
            found.append(scores)
            continue
        path = folder / f"kept-{k}"
        path.unlink(missing_ok=True)
        try:
            os.link(scores.filename, path)
        except OSError:  # another disk
            shutil.copyfile(scores.filename, path)
        found.append(SentScores(path, shape))
    return found


def received(logits: Sequence[F4 | SentScores]) -> list[F4]:
    """The same at home."""
    return [scores.open() if isinstance(scores, SentScores) else scores for scores in logits]
