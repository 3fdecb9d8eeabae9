"""VQL: target attention over vector-quantised keys, whose per-user cache makes scoring independent of length.

Source: arXiv:2508.17125. The formulas are our reading (docs/models.md).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from laser.attention.quantised import cache, nearest, read_cached, read_exactly
from laser.batch import RankingBatch
from laser.models.history import KIND_WIDTH, BehaviourEmbedding
from laser.models.model import ModelConfig, RankingModel, choose
from laser.models.tokens import CandidateToken

_HALF_LIVES_S = (6 * 3600.0, 5 * 86_400.0, 30 * 86_400.0, 365 * 86_400.0)
_COMMITMENT = 0.25


class Vql(RankingModel):
    """Options:

    groups: G, each with a codebook of its own; heads: heads in each group; codes: N of each codebook.
    key_width: dimensions of a key and a query.
    form: "cached" or "exact" while scoring; training is exact, with straight-through keys.
    temporal: a separable kernel e^(-rate age), a learned rate for each group.
    commitment: weight of the codebook loss.
    query_init: see `TargetQuery`.
    """

    RECOGNISES = ("category.", "key", "query", "codes")
    OPTIONS: ClassVar[dict[str, Any]] = {
        "groups": 2,
        "heads": 1,
        "codes": 128,
        "key_width": 16,
        "form": "cached",
        "temporal": True,
        "commitment": 1.0,
        "query_init": 2.0,
    }

    def __init__(self, config: ModelConfig) -> None:
        chosen = choose(config.kind, self.OPTIONS, config.options)
        if chosen["form"] not in ("cached", "exact"):
            raise ValueError(f'form is {chosen["form"]!r}, expected "cached" or "exact".')
        seen, groups, heads, width = (
            config.width + KIND_WIDTH, chosen["groups"], chosen["heads"], chosen["key_width"],
        )  # fmt: skip
        super().__init__(config, attended=seen + groups)
        self.cached, self.commitment = chosen["form"] == "cached", chosen["commitment"]
        # Ages change with the request's time, and a cache must not: time enters through the kernel alone.
        self.history = BehaviourEmbedding(config.actions, config.scenes, time_gap=False)
        self.candidate = CandidateToken(config.width)
        eye = chosen["query_init"] * torch.eye(seen, width)
        self.key = nn.Parameter(eye + 0.05 * torch.randn(groups, seen, width))
        self.query = nn.Parameter(eye + 0.05 * torch.randn(groups, heads, seen, width))
        self.value = nn.Parameter(torch.randn(groups, heads, seen, seen) * seen**-0.5)
        self.codes = nn.Parameter(
            torch.randn(groups, chosen["codes"], width) * chosen["query_init"] * width**-0.5
        )
        lives = torch.tensor([_HALF_LIVES_S[g % len(_HALF_LIVES_S)] for g in range(groups)])
        rates = (0.6931 / lives).log()
        self.log_rate = nn.Parameter(rates) if chosen["temporal"] else None
        self.out = nn.Linear(groups * heads * seen, seen)
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))
        self._error: tuple[Tensor, Tensor] | None = None

    def attend(self, batch: RankingBatch, target: Tensor) -> Tensor:
        """(B, C, E + G): what was read, and the log of each group's kernel mass."""
        keys, values, kernel = self._user_side(batch)
        query = torch.einsum("bce,gaek->bcgak", self.candidate(target), self.query) * keys.shape[3] ** -0.5
        if self.training and not bool(self.started):
            self._start_codes(keys.detach(), kernel > 0)
        code = nearest(keys.detach(), self.codes.detach())
        if self.training or not self.cached:
            groups = torch.arange(len(self.codes), device=code.device).view(1, -1, 1)
            chosen = self.codes[groups, code]
            if self.training:
                self._keep_error(keys, chosen, kernel > 0)
            read = read_exactly(query, keys + (chosen - keys).detach(), values, kernel)
        else:
            read = read_cached(query, self.codes, *cache(values, code, kernel, self.codes.shape[1]))
        mass = kernel.sum(dim=2).log1p().unsqueeze(1).expand(-1, batch.candidates, -1)
        return torch.cat([self.out(read.flatten(2)), mass], dim=2)

    def _start_codes(self, keys: Tensor, real: Tensor) -> None:
        """Codes begin as keys of the first batch, evenly taken: random codes are near no key and stay unused."""
        groups, count, width = self.codes.shape
        with torch.no_grad():
            for group in range(groups):
                seen = keys[:, group][real[:, group]].unique(dim=0)
                if len(seen):
                    rows = torch.linspace(0, len(seen) - 1, count, device=seen.device).long()
                    self.codes[group] = seen[rows]
            self.started.fill_(True)

    def _user_side(self, batch: RankingBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Keys (B, G, L, K), values (B, G, A, L, E) and kernel (B, G, L) of the histories."""
        history, rows = self.history(batch, self.category.weight)
        real = (rows > 0).unsqueeze(1).float()
        keys = torch.einsum("ble,gek->bglk", history, self.key)
        values = torch.einsum("ble,gaev->bgalv", history, self.value)
        if self.log_rate is None:
            return keys, values, real.expand(-1, len(self.codes), -1)
        age_s = batch.align(batch.age_s).unsqueeze(1)
        return keys, values, torch.exp(-self.log_rate.exp().view(1, -1, 1) * age_s).clamp(min=1e-12) * real

    def _keep_error(self, keys: Tensor, chosen: Tensor, real: Tensor) -> None:
        count = real.sum(dim=2).clamp(min=1)
        codebook = ((keys.detach() - chosen).square().sum(dim=3) * real).sum(dim=2) / count
        commitment = ((keys - chosen.detach()).square().sum(dim=3) * real).sum(dim=2) / count
        self._error = codebook.mean(dim=1), commitment.mean(dim=1)

    def auxiliary_loss(self, clicks: Tensor, shown: Tensor) -> Tensor | None:
        """See `RankingModel.auxiliary_loss`: how far keys lie from their codes, both ways."""
        if self._error is None:
            return None
        codebook, commitment = self._error
        weight = self.commitment * shown.sum(dim=1)
        loss: Tensor = (weight * (codebook + _COMMITMENT * commitment)).sum()
        return loss
