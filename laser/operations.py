"""What scoring costs in arithmetic: multiply-accumulates of a model, counted on real forward passes.

torch counts the matrix products that a forward pass runs (2 FLOPs a multiply-accumulate); additions,
activations and look-ups are not counted, as in the papers' figures. The count is of the form that runs:
absorbed maps are cheaper than the published formulas with keys and values, and models have switches for those
(docs/models.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from laser.batch import RankingBatch
from laser.models import ModelConfig, RankingModel

CANDIDATES = (100, 500)


@dataclass(frozen=True)
class Operations:
    """Multiply-accumulates of scoring one request; FLOPs are twice as many.

    Attributes:
        parameters: trained numbers; tables: those of them that are embeddings, read but not multiplied.
        by_candidates: of a whole request by its number of candidates.
        per_candidate: what one candidate more costs, between the smallest and the largest of those numbers.
        per_request: what the request costs whatever its candidates: what they share.
    """

    parameters: int
    tables: int
    by_candidates: dict[int, int]
    per_candidate: float
    per_request: float


def operations(model: RankingModel, history: int, candidates: tuple[int, ...] = CANDIDATES) -> Operations:
    """Count a model's work on a request with a full history.

    Args:
        model: on the CPU.
        history: behaviours of the request. candidates: two or more different numbers.

    Raises:
        ValueError: fewer than two numbers of candidates.
    """
    if len(set(candidates)) < 2:
        raise ValueError(f"candidates is {candidates}, expected two different numbers or more.")
    counted = {count: multiply_accumulates(model, history, count) for count in sorted(set(candidates))}
    least, most = min(counted), max(counted)
    per_candidate = (counted[most] - counted[least]) / (most - least)
    tables = [part for part in model.modules() if isinstance(part, torch.nn.Embedding)]
    return Operations(
        parameters=sum(weights.numel() for weights in model.parameters()),
        tables=sum(table.weight.numel() for table in tables),
        by_candidates=counted,
        per_candidate=per_candidate,
        per_request=counted[least] - least * per_candidate,
    )


def multiply_accumulates(model: RankingModel, history: int, candidates: int) -> int:
    """Multiply-accumulates of scoring one request of so many behaviours and candidates.

    Raises:
        ValueError: history is negative or there is no candidate.
    """
    if history < 0 or candidates < 1:
        raise ValueError(f"history is {history} and candidates {candidates}, expected 0 and 1 or more.")
    batch = _request(model.config, history, candidates)
    training, learning = model.training, [w for w in model.parameters() if w.requires_grad]
    counter = FlopCounterMode(display=False, custom_mapping=_FUSED)
    try:
        # The counter hooks modules, and stumbles over views of weights that could have a gradient.
        model.requires_grad_(False)
        with counter:
            model.eval()(batch)
    finally:
        model.train(training)
        for weights in learning:
            weights.requires_grad_(True)
    return int(counter.get_total_flops()) // 2


def _fused(query: list[int], key: list[int], value: list[int], *_: Any, **__: Any) -> int:
    """FLOPs of a fused attention, from the shapes (B, A, N, K), (B, A, L, K) and (B, A, L, V)."""
    batch, heads, rows, width = query
    return 2 * batch * heads * rows * key[2] * (width + value[3])


# torch counts the fused attention of GPUs by itself, that of CPUs not.
_FUSED = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _fused}


def _request(config: ModelConfig, history: int, candidates: int) -> RankingBatch:
    """A request like any other: what the ids are changes no count."""
    behaviour, candidate = np.arange(history), np.arange(candidates)[None, :]
    return RankingBatch.from_numpy(
        category=behaviour % config.categories,
        action=behaviour % config.actions,
        scene=behaviour % config.scenes,
        age_s=60.0 * (history - behaviour),
        dwell_s=np.zeros(history),
        offsets=np.array([0, history]),
        ad=candidate % config.ads,
        ad_category=candidate % config.categories,
        position=np.zeros_like(candidate),
        hour=np.array([12.0]),
        propensity=np.array([0.0]),
    )
