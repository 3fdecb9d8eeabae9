"""VQL: target attention over vector-quantised keys, whose per-user cache makes scoring independent of length.

Source: arXiv:2508.17125. The formulas are our reading (docs/models.md).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from laser.attention.look_up import look_up
from laser.attention.quantised import cache, nearest, read_cached, read_exactly, spread
from laser.batch import RankingBatch
from laser.errors import ModelError
from laser.models.history import KIND_WIDTH, BehaviourEmbedding
from laser.models.model import ModelConfig, RankingModel, choose

_HALF_LIVES_S = (365 * 86_400.0, 5 * 86_400.0, 6 * 3600.0, 30 * 86_400.0)
_COMMITMENT = 0.25

Summary = tuple[Tensor, Tensor, Tensor]


class Vql(RankingModel):
    """Options:

    groups: G, each with a codebook of its own; heads: heads in each group; codes: N of each codebook.
    key_width: dimensions of a key and a query.
    form: "cached" or "exact" while scoring; training is exact, with straight-through keys.
    quantised: false keeps the keys as they are, for comparison (and needs form = "exact").
    temporal: a separable kernel e^(-rate age), a learned rate for each group.
    commitment: weight of the codebook loss.
    query_init: see `TargetQuery`. sink: see `masked_softmax`; null leaves it out.
    """

    RECOGNISES = ("category.", "key", "query", "codes")
    FIXED_SHAPES = True
    OPTIONS: ClassVar[dict[str, Any]] = {
        "groups": 2,
        "heads": 1,
        "codes": 128,
        "key_width": 16,
        "form": "cached",
        "quantised": True,
        "temporal": True,
        "commitment": 1.0,
        "query_init": 6.0,
        "sink": 8.0,
    }

    def __init__(self, config: ModelConfig) -> None:
        chosen = choose(config.kind, self.OPTIONS, config.options)
        if chosen["form"] not in ("cached", "exact"):
            raise ModelError(f'form is {chosen["form"]!r}, expected "cached" or "exact".')
        seen, groups, heads = config.width + KIND_WIDTH, chosen["groups"], chosen["heads"]
        width = chosen["key_width"]
        super().__init__(config, attended=groups * (heads * seen + 1))
        if chosen["form"] == "cached" and not chosen["quantised"]:
            raise ModelError(
                'quantised is false with form "cached", expected form "exact": a cache is by code.'
            )
        self.cached, self.commitment = chosen["form"] == "cached", chosen["commitment"]
        self.quantised = chosen["quantised"]
        self.history_width = seen
        # Ages change with the request's time, and a cache must not: time enters through the kernel alone.
        self.history = BehaviourEmbedding(config.actions, config.scenes, time_gap=False)
        start, init = torch.eye(seen, width), chosen["query_init"]
        known, of_key, of_query = (1.0, 0.02, 0.05) if init else (0.0, seen**-0.5, config.width**-0.5)
        self.key = nn.Parameter(known * start + of_key * torch.randn(groups, seen, width))
        self.query = nn.Parameter(
            init * start[: config.width] + of_query * torch.randn(groups, heads, config.width, width)
        )
        self.codes = nn.Parameter(torch.randn(groups, chosen["codes"], width) * width**-0.5)
        lives = torch.tensor([_HALF_LIVES_S[g % len(_HALF_LIVES_S)] for g in range(groups)])
        rates = (0.6931 / lives).log()
        self.log_rate = nn.Parameter(rates) if chosen["temporal"] else None
        sink = chosen["sink"]
        self.sink = None if sink is None else nn.Parameter(torch.full((groups, heads), float(sink)))
        self._error: tuple[Tensor, Tensor] | None = None

    def attend(self, batch: RankingBatch, target: Tensor) -> Tensor:
        """(B, C, G (A E + 1)): what was read, and the log of each group's kernel mass."""
        if self.cached and not self.training:
            return self.read(self.summarise(batch), target)
        history, keys, kernel = self._user_side(batch)
        query = self._queries(target)
        if not self.quantised:
            read = read_exactly(query, keys, history, kernel, self.sink)
        elif self.training:
            keys = self._straight_through(keys, kernel > 0)
            read = read_exactly(query, keys, history, kernel, self.sink)
        else:
            code = nearest(keys, self.codes)
            read = read_exactly(query, self._rows(code), history, kernel, self.sink)
        return _beside(read, _mass(kernel))

    def summarise(self, batch: RankingBatch) -> Summary:
        """What a server keeps for each user; it knows nothing of candidates.

        Returns:
            Sums by code (B, G, N, E), their weights (B, G, N) and the log of each group's kernel mass (B, G),
            as of the requests' time.
        """
        history, keys, kernel = self._user_side(batch)
        sums, count = cache(history, nearest(keys, self.codes), kernel, self.codes.shape[1])
        return sums, count, _mass(kernel)

    @property
    def summary_bytes(self) -> int:
        """See `RankingModel.summary_bytes`: float32 sums, weights and masses; 0 for what reads exactly."""
        groups, codes, _ = self.codes.shape
        return 4 * groups * (codes * (self.history_width + 1) + 1) if self.cached else 0

    def read(self, summary: Summary, target: Tensor) -> Tensor:
        """(B, C, G (A E + 1)) from summaries, fresh or kept, and (B, C, D) candidates."""
        sums, count, mass = summary
        return _beside(read_cached(self._queries(target), self.codes, sums, count, self.sink), mass)

    def _queries(self, target: Tensor) -> Tensor:
        return torch.einsum("bcd,gadk->bcgak", target, self.query)

    def _rows(self, code: Tensor) -> Tensor:
        first = torch.arange(len(self.codes), device=code.device).view(1, -1, 1) * self.codes.shape[1]
        return look_up(self.codes.flatten(0, 1), code + first)

    def _straight_through(self, keys: Tensor, real: Tensor) -> Tensor:
        """The nearest codes, with the keys' gradients; keeps how far they lie apart for the loss."""
        chosen = self._rows(nearest(keys.detach(), self.codes.detach()))
        count = real.sum(dim=2).clamp(min=1)
        codebook = ((keys.detach() - chosen).square().sum(dim=3) * real).sum(dim=2) / count
        commitment = ((keys - chosen.detach()).square().sum(dim=3) * real).sum(dim=2) / count
        self._error = codebook.mean(dim=1), commitment.mean(dim=1)
        return keys + (chosen - keys).detach()

    def look_at(self, batch: RankingBatch) -> None:
        """Codes begin among the keys of the first batch: random codes are near no key and stay unused."""
        with torch.no_grad():
            _, keys, kernel = self._user_side(batch)
            real = kernel > 0
            for group, codes in enumerate(self.codes):
                seen = keys[:, group][real[:, group]]
                if len(seen):
                    codes.copy_(spread(seen, len(codes)))

    def _user_side(self, batch: RankingBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Behaviours (B, L, E), keys (B, G, L, K) and kernel (B, G, L) of the histories."""
        history, rows = self.history(batch, self.category.weight)
        real = (rows > 0).unsqueeze(1).float()
        keys = torch.einsum("ble,gek->bglk", history, self.key)
        if self.log_rate is None:
            return history, keys, real.expand(-1, len(self.codes), -1)
        age_s = batch.align(batch.age_s).unsqueeze(1)
        kernel = torch.exp(-self.log_rate.exp().view(1, -1, 1) * age_s).clamp(min=1e-12) * real
        return history, keys, kernel

    def auxiliary_loss(self, clicks: Tensor, weights: Tensor) -> Tensor | None:
        """See `RankingModel.auxiliary_loss`: how far keys lie from their codes, both ways."""
        if self._error is None or not self.training:
            return None
        codebook, commitment = self._error
        weight = self.commitment * weights.sum(dim=1)
        loss: Tensor = (weight * (codebook + _COMMITMENT * commitment)).sum()
        return loss


def _mass(kernel: Tensor) -> Tensor:
    return kernel.sum(dim=2).log1p()


def _beside(read: Tensor, mass: Tensor) -> Tensor:
    """(B, C, G (A E + 1)) of (B, C, G, A, E) and (B, G)."""
    return torch.cat([read.flatten(2), mass.unsqueeze(1).expand(-1, read.shape[1], -1)], dim=2)
