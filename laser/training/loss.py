"""The click loss of a batch, weighted by impression or by request."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from laser.batch import RankingBatch
from laser.models import RankingModel
from laser.models.plugins import plugin_code


def weights_of(batch: RankingBatch, by_request: bool) -> Tensor:
    """(B, C) float32: what each candidate's loss counts, 0 where there is none.

    Args:
        by_request: every request counts 1, shared by its candidates; else every candidate does.
    """
    places = torch.arange(batch.candidates, device=batch.candidate_count.device)
    counts = batch.candidate_count.unsqueeze(1)
    weights = (places < counts).to(torch.float32)
    return weights / counts.clamp(min=1) if by_request else weights


def summed_loss(model: RankingModel, batch: RankingBatch, clicks: Tensor, by_request: bool) -> Tensor:
    """Weighted binary cross-entropy, summed over candidates, with the model's own losses beside it.

    Args:
        clicks: (B, C) float32, the labels.
    """
    weights = weights_of(batch, by_request)
    with plugin_code(model.config.kind, "while training"):
        logits: Tensor = model(batch).float()
        beside = model.auxiliary_loss(clicks, weights)
    loss = click_loss(logits, clicks, weights)
    return loss if beside is None else loss + beside


def click_loss(logits: Tensor, clicks: Tensor, weights: Tensor) -> Tensor:
    """Weighted binary cross-entropy, summed. A NaN logit of a candidate that exists makes it NaN."""
    # -inf times a weight of 0 would be NaN.
    there = logits.masked_fill(weights == 0, 0.0)
    return functional.binary_cross_entropy_with_logits(there, clicks, weight=weights, reduction="sum")
