"""SIM: a search unit picks the behaviours that concern the candidate, target attention reads them.

Source: Search-based Interest Model, arXiv:2006.05639.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from laser.attention.retrieval import gather, highest, newest_matching
from laser.attention.shared import masked_softmax
from laser.batch import RankingBatch
from laser.errors import ModelError
from laser.models.history import KIND_WIDTH, BehaviourEmbedding
from laser.models.model import ModelConfig, RankingModel, choose
from laser.models.target import TargetQuery


class Sim(RankingModel):
    """Search, then attention over what was found, and a branch for the recent behaviours beside it.

    Options:
        search: "soft" (r_j = W_a t . W_b x_j, with a loss of its own) or "hard" (the candidate's category).
        found: behaviours the search keeps.
        heads: of the exact unit.
        recent: behaviours the short-term branch reads; 0 leaves it out.
        search_loss: weight of the soft search's own click loss.
        time_gap: embed the behaviours' ages.
        query_init, sink: see `TargetQuery`.
    """

    FIXED_SHAPES = True
    OPTIONS: ClassVar[dict[str, Any]] = {
        "search": "soft",
        "found": 50,
        "heads": 2,
        "recent": 50,
        "search_loss": 1.0,
        "time_gap": True,
        "query_init": 6.0,
        "sink": 5.0,
    }

    def __init__(self, config: ModelConfig) -> None:
        chosen = choose(config.kind, self.OPTIONS, config.options)
        if chosen["search"] not in ("soft", "hard"):
            raise ModelError(f'search is {chosen["search"]!r}, expected "soft" or "hard".')
        seen, heads = config.width + KIND_WIDTH, chosen["heads"]
        branches = 2 if chosen["recent"] else 1
        super().__init__(config, attended=branches * (heads * seen + 1))
        self.search, self.found, self.recent = chosen["search"], chosen["found"], chosen["recent"]
        self.history = BehaviourEmbedding(config.actions, config.scenes, chosen["time_gap"])
        self.exact = TargetQuery(config.width, seen, heads, chosen["query_init"], chosen["sink"])
        self.short = (
            TargetQuery(config.width, seen, heads, chosen["query_init"], chosen["sink"])
            if self.recent
            else None
        )
        self.search_loss = chosen["search_loss"] if self.search == "soft" else 0.0
        if self.search == "soft":
            # The search, too, begins by recognising, or at random if the exact unit does.
            one, noise = (1.0, 0.05) if chosen["query_init"] else (0.0, config.width**-0.5)
            self.of_target = nn.Parameter(
                one * torch.eye(config.width) + noise * torch.randn(config.width, config.width)
            )
            self.of_behaviour = nn.Parameter(
                one * torch.eye(config.width, seen) + noise * torch.randn(config.width, seen)
            )
            self.searched = nn.Linear(seen + config.width, 1)

    def attend(self, batch: RankingBatch, target: Tensor) -> Tensor:
        """(B, C, branches x (A E + 1)): what was found, how much of it, and the same of the recent ones."""
        history, rows = self.history(batch, self.category.weight)
        real = rows > 0
        if self.search == "hard":
            kinds = self.history.kind.shape[0]
            category = (rows - 1).div(kinds, rounding_mode="floor")
            match = (batch.ad_category.unsqueeze(2) == category.unsqueeze(1)) & real.unsqueeze(1)
            places, kept = newest_matching(match, self.found)
        else:
            # Two products: where opt_einsum is installed one einsum of all three takes another order.
            query = target @ self.of_target @ self.of_behaviour
            scores = torch.einsum("bce,ble->bcl", query, history)
            places, kept = highest(scores.detach(), real, self.found)
            if self.training:
                self._keep_search(target, history, scores, real)
        outputs = [self._read(self.exact, target, gather(history, places), kept)]
        if self.short is not None:
            length = min(self.recent, history.shape[1])
            recent = history[:, -length:].unsqueeze(1).expand(-1, batch.candidates, -1, -1)
            shown = real[:, -length:].unsqueeze(1).expand(-1, batch.candidates, -1)
            outputs.append(self._read(self.short, target, recent, shown))
        return torch.cat(outputs, dim=2)

    def _read(self, unit: TargetQuery, target: Tensor, found: Tensor, kept: Tensor) -> Tensor:
        scores = torch.einsum("bcae,bcke->bcak", unit(target), found)
        weights = masked_softmax(scores, kept.unsqueeze(2), unit.sink)
        read = torch.einsum("bcak,bcke->bcae", weights, found).flatten(2)
        # A softmax forgets how many behaviours there were, which is half of what a search finds.
        return torch.cat([read, kept.sum(dim=2, keepdim=True).float().log1p()], dim=2)

    def _keep_search(self, target: Tensor, history: Tensor, scores: Tensor, real: Tensor) -> None:
        """The soft search's own prediction, from sum_j r_j x_j, for `auxiliary_loss`."""
        count = real.sum(dim=1).clamp(min=1).view(-1, 1, 1)
        summed = torch.bmm(scores, history) / count
        self._searched: Tensor = self.searched(torch.cat([summed, target], dim=2)).squeeze(2)

    def auxiliary_loss(self, clicks: Tensor, weights: Tensor) -> Tensor | None:
        """See `RankingModel.auxiliary_loss`: the soft search's click loss."""
        if not self.search_loss or not self.training:
            return None
        loss = nn.functional.binary_cross_entropy_with_logits(
            self._searched.float(), clicks, weight=weights, reduction="sum"
        )
        return self.search_loss * loss
