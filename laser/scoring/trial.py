"""A user's own model on trial: what a run relies on and no shape shows. Start at `try_out`.

A run scores a request once and keeps the result, so a model must give it again, whatever was scored before
and beside it, and must leave alone what is not its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laser.batch import CANDIDATES, HISTORY, REQUEST, RankingBatch
from laser.errors import PluginError
from laser.models import ModelConfig
from laser.scoring.runtime import Scorer

_TIMES = 4  # a clock's last digits agree once by chance, hardly three times more
_NEAR = 1e-3  # of the logits: what another order of additions may change

Scores = NDArray[np.float32]


def try_out(scorer: Scorer, batch: RankingBatch) -> None:
    """Score a few requests several times, together and alone, and compare.

    Args:
        scorer: holds the model.
        batch: a few requests, their histories of different lengths; it is left as it was.

    Raises:
        PluginError: scores differ between two scorings of the same requests, or with the requests beside
            them; or scoring changed the batch, the weights, or what belongs to the whole process.
        ScoreError: a score is NaN or infinite.
    """
    model = scorer.snapshot.model
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    given = _copy(batch)
    first, found = _scored(scorer, given)
    found += [f"it changed {f.name} of the batch" for f in fields(batch) if not _kept(f.name, batch, given)]
    again = [_scored(scorer, _copy(batch))[0] for _ in range(_TIMES - 1)]
    found += [
        f"it changed its weight {name}"
        for name, value in model.state_dict().items()
        if not torch.equal(value, weights[name])
    ]
    if any(module.training for module in model.modules()):
        found.append("it put itself, or a part of it, into training mode")
    if (differ := max(_apart(first, scores) for scores in again)) > 0:
        found.append(f"two scorings of the same batch differ by up to {differ:.2g}")
    elif not found and (moved := _moved_by_others(scorer, batch, first)) > _NEAR:
        found.append(f"a request scored alone differs by {moved:.1%} from the same request in a batch")
    if found:
        raise PluginError(
            f"model plug-in {model.config.kind!r} is not repeatable: {'; '.join(found)}. Expected "
            "scores that follow from the request and the weights alone: no draws, no clock, nothing changed "
            "in place. Correct the plug-in; see docs/plugins.md."
        )


def small_batch(config: ModelConfig, history: int) -> RankingBatch:
    """Three requests that a model of any sizes can score: one without a history, a short and a full one."""
    lengths = np.array([0, min(2, history), history])
    rows, shape = int(lengths.sum()), (3, 4)
    ads = np.arange(12).reshape(shape)
    return RankingBatch.from_numpy(
        category=np.arange(rows) % config.categories,
        action=np.arange(rows) % config.actions,
        scene=np.arange(rows) % config.scenes,
        age_s=3600.0 * np.arange(rows, 0, -1),
        dwell_s=np.arange(rows) % 60,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        ad=ads % config.ads,
        ad_category=ads % config.categories,
        position=np.zeros(shape, np.int64),
        hour=np.array([0.0, 9.5, 23.0]),
        propensity=np.array([-2.0, -3.0, -4.0]),
    )


def _scored(scorer: Scorer, batch: RankingBatch) -> tuple[Scores, list[str]]:
    """Scores, and what scoring did to the process, which is undone."""
    before = {name: read() for name, (read, _) in _PROCESS.items()}
    try:
        scores = scorer.score(batch)
        return scores, [
            f"it {name}" for name, (read, _) in _PROCESS.items() if not _same(before[name], read())
        ]
    finally:
        for name, (_, write) in _PROCESS.items():
            write(before[name])


def _copy(batch: RankingBatch) -> RankingBatch:
    """The same batch in memory of its own."""
    columns = ("offsets", *HISTORY, *CANDIDATES, *REQUEST)
    return replace(batch, **{name: getattr(batch, name).clone() for name in columns})


def _kept(column: str, before: RankingBatch, after: RankingBatch) -> bool:
    return _same(getattr(before, column), getattr(after, column))


def _moved_by_others(scorer: Scorer, batch: RankingBatch, together: Scores) -> float:
    """How far a request's logits alone lie from those in the batch, relative to their size."""
    alone = np.concatenate([_scored(scorer, _request(batch, row))[0] for row in range(batch.requests)])
    return _apart(alone, together) / (1.0 + float(np.abs(together[np.isfinite(together)]).max()))


def _request(batch: RankingBatch, row: int) -> RankingBatch:
    """One of a batch's requests, as a batch."""
    start, end = int(batch.offsets[row]), int(batch.offsets[row + 1])
    history = {name: getattr(batch, name)[start:end].numpy() for name in HISTORY}
    request = {name: getattr(batch, name)[row : row + 1].numpy() for name in (*CANDIDATES, *REQUEST)}
    return RankingBatch.from_numpy(**history, **request, offsets=np.array([0, end - start]))


def _apart(one: Scores, other: Scores) -> float:
    """The largest difference; both are -inf where there is no candidate."""
    there = np.isfinite(one)
    return float(np.abs(one[there] - other[there]).max(initial=0.0))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, tuple):
        return all(_same(a, b) for a, b in zip(one, other, strict=True))
    return bool(np.all(one == other))


#: What a model can do to the whole process: how to see it, and how to undo it.
_PROCESS: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "used torch's global generator": (torch.get_rng_state, torch.set_rng_state),
    "used numpy's global generator": (np.random.get_state, np.random.set_state),
    "used Python's global generator": (random.getstate, random.setstate),
    "changed torch's threads": (torch.get_num_threads, torch.set_num_threads),
    "changed torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
}
