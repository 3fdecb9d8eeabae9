"""The head every model shares: attention outputs, the candidate and its context to one logit.

Shared so that models differ in how they read the history and in nothing else.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from laser.batch import RankingBatch

POSITIONS = 64  # Later positions share the last row.
_AD_WIDTH = 4
_CATEGORY_WIDTH = 8
_HIDDEN = (64, 32)


class RankingHead(nn.Module):
    """logit = b + w propensity + b_ad + b_category + b_position + MLP([attended; candidate; context]).

    The propensity carries most of the variance between users, so it also enters the logit directly: the
    network only has to learn what bends it.
    """

    def __init__(self, ads: int, categories: int, attended: int) -> None:
        super().__init__()
        self.ad = nn.Embedding(ads, _AD_WIDTH)
        self.category = nn.Embedding(categories, _CATEGORY_WIDTH)
        self.ad_bias = nn.Embedding(ads, 1)
        self.category_bias = nn.Embedding(categories, 1)
        self.position_bias = nn.Embedding(POSITIONS, 1)
        first, second = _HIDDEN
        self.of_candidate = nn.Linear(_CATEGORY_WIDTH + _AD_WIDTH + attended, first)
        self.of_request = nn.Linear(3, first, bias=False)
        self.hidden = nn.Linear(first, second)
        self.out = nn.Linear(second, 1)
        self.propensity = nn.Parameter(torch.ones(()))
        nn.init.normal_(self.ad.weight, std=0.05)
        nn.init.normal_(self.category.weight, std=0.05)
        for table in (self.ad_bias, self.category_bias, self.position_bias):
            nn.init.zeros_(table.weight)
        with torch.no_grad():
            self.out.weight.mul_(0.5)

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
        turn = batch.hour * (2.0 * math.pi / 24.0)
        context = torch.stack([turn.sin(), turn.cos(), batch.propensity], dim=1)
        parts = [self.category(batch.ad_category), self.ad(batch.ad)]
        if attended is not None:
            parts.append(attended)
        hidden = self.of_candidate(torch.cat(parts, dim=2)) + self.of_request(context).unsqueeze(1)
        scores: Tensor = self.out(torch.relu_(self.hidden(torch.relu_(hidden))))
        bias: Tensor = self.ad_bias(batch.ad) + self.category_bias(batch.ad_category)
        bias = bias + self.position_bias(batch.position.clamp(max=POSITIONS - 1))
        prior = (self.propensity * batch.propensity).unsqueeze(1)
        return (scores + bias).squeeze(2) + prior
