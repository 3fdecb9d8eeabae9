"""The head every model shares: attention outputs, the candidate and its context to one logit.

Shared so that models differ in how they read the history and in nothing else. This file has what all heads
have and the small one; `tower.py` and `rankmixer.py` have larger ones.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from laser.attention.kernels import fusing
from laser.attention.look_up import embedded
from laser.attention.relu import relu
from laser.batch import RankingBatch

POSITIONS = 64  # Later positions share the last row.
CATEGORY_WIDTH = 8
CONTEXT = 3  # sine and cosine of the hour, propensity
_AD_WIDTH = 4
_HIDDEN = (64, 32)


class RankingHead(nn.Module):
    """logit = b + w propensity + b_ad + b_category + b_position + MLP([attended; candidate; context]).

    The propensity carries most of the variance between users, so it also enters the logit directly: the
    network only has to learn what bends it. Larger heads replace the MLP (`_build` and `_scores`).
    """

    out: nn.Linear

    def __init__(self, ads: int, categories: int, attended: int, ad_width: int = _AD_WIDTH) -> None:
        super().__init__()
        self.ad = nn.Embedding(ads, ad_width)
        self.category = nn.Embedding(categories, CATEGORY_WIDTH)
        self.ad_bias = nn.Embedding(ads, 1)
        self.category_bias = nn.Embedding(categories, 1)
        self.position_bias = nn.Embedding(POSITIONS, 1)
        self._build(CATEGORY_WIDTH + ad_width + attended)
        self.propensity = nn.Parameter(torch.ones(()))
        nn.init.normal_(self.ad.weight, std=0.05)
        nn.init.normal_(self.category.weight, std=0.05)
        for table in (self.ad_bias, self.category_bias, self.position_bias):
            nn.init.zeros_(table.weight)
        with torch.no_grad():
            self.out.weight.mul_(0.5)

    def _build(self, inputs: int) -> None:
        """Make the network over `inputs` numbers of a candidate and CONTEXT of its request, `out` its last
        map."""
        first, second = _HIDDEN
        self.of_candidate = nn.Linear(inputs, first)
        self.of_request = nn.Linear(CONTEXT, first, bias=False)
        self.hidden = nn.Linear(first, second)
        self.out = nn.Linear(second, 1)

    def _scores(self, candidate: Tensor, context: Tensor) -> Tensor:
        """(B, C, 1) of (B, C, inputs) and (B, CONTEXT)."""
        hidden = self.of_candidate(candidate) + self.of_request(context).unsqueeze(1)
        scores: Tensor = self.out(relu(self.hidden(relu(hidden))))
        return scores

    def start_at(self, rate: float) -> None:
        """Begin at a known click rate, so that the first steps need not learn it."""
        with torch.no_grad():
            self.out.bias.fill_(math.log(rate / (1.0 - rate)))

    def forward(self, batch: RankingBatch, attended: Tensor | None) -> Tensor:
        """Logits (B, C).

        Args:
            batch: the requests.
            attended: (B, C, attended) what the history says, or None.
        """
        if attended is not None and not torch.is_grad_enabled() and fusing(attended) and self._is_small():
            return self._fused(batch, attended)
        turn = batch.hour * (2.0 * math.pi / 24.0)
        context = torch.stack([turn.sin(), turn.cos(), batch.propensity], dim=1)
        ad, category = batch.ad, batch.ad_category
        parts = [embedded(self.category.weight, category), embedded(self.ad.weight, ad)]
        if attended is not None:
            parts.append(attended)
        scores = self._scores(torch.cat(parts, dim=2), context)
        bias = embedded(self.ad_bias.weight, ad) + embedded(self.category_bias.weight, category)
        bias = bias + embedded(self.position_bias.weight, batch.position.clamp(max=POSITIONS - 1))
        prior = (self.propensity * batch.propensity).unsqueeze(1)
        return (scores + bias).squeeze(2) + prior

    def _is_small(self) -> bool:
        return type(self) is RankingHead

    def _fused(self, batch: RankingBatch, attended: Tensor) -> Tensor:
        """The same by one kernel."""
        from laser.attention.kernels.heading import small_head

        first, second = self.of_candidate, self.hidden
        return small_head(
            (batch.ad, batch.ad_category, batch.position),
            (batch.hour, batch.propensity),
            attended,
            (self.category.weight, self.ad.weight),
            (self.ad_bias.weight, self.category_bias.weight, self.position_bias.weight),
            (first.weight, first.bias, self.of_request.weight),
            (second.weight, second.bias),
            (self.out.weight, self.out.bias),
            self.propensity,
        )


def with_context(candidate: Tensor, context: Tensor) -> Tensor:
    """(B, C, inputs) and (B, CONTEXT) side by side: (B, C, inputs + CONTEXT)."""
    return torch.cat([candidate, context.unsqueeze(1).expand(-1, candidate.shape[1], -1)], dim=2)
