"""TWIN: search and attention by the same scores, so that what is found is what would be read.

Source: TWo-stage Interest Network, arXiv:2302.02352.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from laser.attention.look_up import look_up
from laser.attention.retrieval import gather, highest_of_heads
from laser.attention.shared import masked_softmax
from laser.batch import RankingBatch
from laser.models.history import KIND_WIDTH, BehaviourEmbedding, age_bucket
from laser.models.model import ModelConfig, RankingModel, choose
from laser.models.target import TargetQuery


class Twin(RankingModel):
    """score = (K_h W^h) (W^q t) / sqrt(d) + sum over cross features of beta (k_c . w^c), in both stages.

    The behaviour's category is inherent: its part of the score can be kept for each item. Action with scene,
    and age, are cross features of user and item: each is compressed to one number. Options:

        found: behaviours the search hands on (100 of 10,000 in the paper).
        heads: of both stages; the search walks them in turn.
        time_gap: age as a cross feature.
        value_width: dimensions of a head's values: found behaviours are mapped (W^v) before they are summed,
            and the heads together (W^o) behind it, as published; null: they are summed raw, head by head.
        query_init, sink: see `TargetQuery`.
    """

    FIXED_SHAPES = True
    OPTIONS: ClassVar[dict[str, Any]] = {
        "found": 100,
        "heads": 4,
        "time_gap": True,
        "value_width": None,
        "query_init": 6.0,
        "sink": 5.0,
    }

    def __init__(self, config: ModelConfig) -> None:
        chosen = choose(config.kind, self.OPTIONS, config.options)
        seen, heads = config.width + KIND_WIDTH, chosen["heads"]
        values: int | None = chosen["value_width"]
        super().__init__(config, attended=(seen if values else heads * seen) + 1)
        self.found: int = chosen["found"]
        self.history = BehaviourEmbedding(config.actions, config.scenes, chosen["time_gap"])
        self.query = TargetQuery(config.width, config.width, heads, chosen["query_init"], chosen["sink"])
        features = 2 if chosen["time_gap"] else 1
        self.compress = nn.Parameter(torch.randn(features, KIND_WIDTH) * 0.1)  # w^c
        self.beta = nn.Parameter(torch.ones(heads, features))
        self.value = nn.Parameter(torch.randn(heads, seen, values) * seen**-0.5) if values else None
        self.out = nn.Linear(heads * values, seen) if values else None

    def attend(self, batch: RankingBatch, target: Tensor) -> Tensor:
        """(B, C, A E + 1), or E + 1 where values are mapped: what was read, and how much was found."""
        history, rows = self.history(batch, self.category.weight)
        query, cross = self.query(target), self._cross(batch, rows)
        with torch.no_grad():  # A choice has no gradient: it flows through the second stage alone.
            places, kept = highest_of_heads(self._scores(query, history, cross), rows > 0, self.found)
        found = gather(history, places)
        inherent = found[..., : self.config.width]
        features = cross.shape[1]
        at = places.reshape(len(places), 1, -1).expand(-1, features, -1)
        chosen = cross.gather(2, at).view(len(places), features, *places.shape[1:])
        scores = torch.einsum("bcad,bckd->bcak", query, inherent)
        scores = scores + self._weighed(chosen)
        weights = masked_softmax(scores, kept.unsqueeze(2), self.query.sink)
        read = torch.einsum("bcak,bcke->bcae", weights, found)
        if self.value is not None and self.out is not None:
            # The value map waits behind the sum: the same numbers, for one vector and not for each found one.
            read = torch.einsum("bcae,aev->bcav", read, self.value)
            return torch.cat([self.out(read.flatten(2)), _found(kept)], dim=2)
        return torch.cat([read.flatten(2), _found(kept)], dim=2)

    def _scores(self, query: Tensor, history: Tensor, cross: Tensor) -> Tensor:
        """(B, C, A, L) scores of every behaviour, by the formula of the second stage."""
        scores = torch.einsum("bcad,bld->bcal", query, history[..., : self.config.width])
        scores += self._weighed(cross).unsqueeze(1)
        return scores

    def _weighed(self, cross: Tensor) -> Tensor:
        """(B, A, L) or (B, C, A, K), the sum of beta f over the features of (B, J, L) or (B, J, C, K).

        Element by element: as one product its columns are those of the whole batch, and a GPU gives the last
        of several million to another kernel, with other bits.
        """
        parts = [cross[:, j].unsqueeze(-2) * self.beta[:, j].unsqueeze(1) for j in range(cross.shape[1])]
        return sum(parts[1:], parts[0])

    def _cross(self, batch: RankingBatch, rows: Tensor) -> Tensor:
        """(B, J, L) compressed cross features; any value where padded."""
        kinds = self.history.kind @ self.compress[0]
        kind = look_up(kinds, (rows - 1).clamp(min=0) % len(kinds))
        if self.history.age is None:
            return kind.unsqueeze(1)
        age = look_up(self.history.age @ self.compress[1], batch.align(age_bucket(batch.age_s)))
        return torch.stack([kind, age], dim=1)


def _found(kept: Tensor) -> Tensor:
    """(B, C, 1), the log of how many behaviours the search found."""
    return kept.sum(dim=2, keepdim=True).float().log1p()
