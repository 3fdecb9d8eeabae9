"""HSTU: sequential transduction units, pointwise attention by SiLU instead of softmax.

Sources: HSTU, arXiv:2402.17152, and its public code, whose research form carries a relative bias of position
and time and whose production form uses absolute embeddings and a wider output projection.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from laser.attention.candidates import heads_of, joined, visible
from laser.batch import RankingBatch
from laser.models.history import KIND_WIDTH, BehaviourEmbedding
from laser.models.model import ModelConfig, RankingModel, choose
from laser.models.target import recognise
from laser.models.tokens import CandidateToken, Positions

_TIME_BUCKETS = 128
_LOG_BUCKET = 0.301  # of a natural logarithm, as in the public code


class Hstu(RankingModel):
    """Options:

    variant: "research" (SiLU on U, V, Q, K; bias table of position and time) or "production" (SiLU on U only,
        scores over sqrt(K), absolute positions, output projection on [U ; AV ; U * LN(AV)]).
    layers, heads: of the units; key_width: of a head's queries and keys. time_gap: embed ages.
    query_init, score_bias: query and key maps begin as `recognise` says, scores at this bias.
        Left null, these and key_width are what suits the variant: SiLU drops half of a query, so that the
        research form needs every direction with both signs.
    positions: newest positions with a bias (research) or an embedding (production) of their own.
    normaliser: attention weights are divided by the sequence's own "length", or by a fixed number.
    """

    OPTIONS: ClassVar[dict[str, Any]] = {
        "variant": "research",
        "layers": 2,
        "heads": 2,
        "time_gap": True,
        "positions": 256,
        "normaliser": "length",
        "key_width": None,
        "query_init": None,
        "score_bias": None,
    }
    RECOGNISES = ("category.", "layers.")
    SELF_ATTENTION = True

    def __init__(self, config: ModelConfig) -> None:
        chosen = choose(config.kind, self.OPTIONS, config.options)
        if chosen["variant"] not in ("research", "production"):
            raise ValueError(f'variant is {chosen["variant"]!r}, expected "research" or "production".')
        if chosen["variant"] == "research" and chosen["positions"] < 1:
            raise ValueError(f"positions is {chosen['positions']}, expected 1 or more in the research form.")
        seen = config.width + KIND_WIDTH
        super().__init__(config, attended=seen)
        self.research: bool = chosen["variant"] == "research"
        self.normaliser = chosen["normaliser"]
        self.history = BehaviourEmbedding(config.actions, config.scenes, chosen["time_gap"])
        self.candidate = CandidateToken(config.width)
        self.positions = Positions(0 if self.research else chosen["positions"], seen)
        bias = chosen["positions"] if self.research else 0
        start = _start(config.width, chosen)
        self.layers = nn.ModuleList(
            Unit(seen, config.width, chosen["heads"], bias, start) for _ in range(chosen["layers"])
        )
        self.norm = nn.LayerNorm(seen)

    def attend(self, batch: RankingBatch, target: Tensor) -> Tensor:
        """(B, C, E), the candidates behind the last unit."""
        history, rows = self.history(batch, self.category.weight)
        real = rows > 0
        tokens = torch.cat([self.positions(history), self.candidate(target)], dim=1)
        seen = visible(real, batch.candidates, causal=True)
        if self.normaliser == "length":
            scale = 1.0 / (real.sum(dim=1) + 1).view(-1, 1, 1, 1).float()
        else:
            scale = torch.full((1, 1, 1, 1), 1.0 / float(self.normaliser), device=tokens.device)
        weights = seen.unsqueeze(1) * scale
        apart = self._apart(batch, history.shape[1]) if self.research else None
        for layer in self.layers:
            tokens = layer(tokens, weights, apart)
        out: Tensor = self.norm(tokens[:, history.shape[1] :])
        return out

    def _apart(self, batch: RankingBatch, length: int) -> tuple[Tensor, Tensor]:
        """(N, N) distance in positions and (B, N, N) bucket of the time between, N = L + C.

        Time is shifted as in the public code: from the query's *next* behaviour to the key. The newest
        behaviour's next is the request, and so is every candidate's.
        """
        candidates = batch.candidates
        age_s = torch.nn.functional.pad(batch.align(batch.age_s), (0, candidates))
        next_s = torch.nn.functional.pad(age_s[:, 1:], (0, 1))
        between_s = (age_s.unsqueeze(1) - next_s.unsqueeze(2)).abs().clamp(min=1.0)
        bucket = (between_s.log() / _LOG_BUCKET).long().clamp(max=_TIME_BUCKETS - 1)
        place = torch.arange(length + candidates, device=age_s.device).clamp(max=length)
        distance = (place.unsqueeze(1) - place.unsqueeze(0)).clamp(min=0)
        return distance, bucket


@dataclass(frozen=True)
class _Start:
    """Width of a head's queries and keys, and how they begin."""

    key_width: int
    query_init: float
    score_bias: float


def _start(width: int, chosen: dict[str, Any]) -> _Start:
    research = chosen["variant"] == "research"
    suited = (
        _Start(2 * width, 1.5, -9.0)
        if research
        else _Start((width + KIND_WIDTH) // chosen["heads"], 2.0, -6.0)
    )
    own = {
        name: chosen[name] for name in ("key_width", "query_init", "score_bias") if chosen[name] is not None
    }
    return replace(suited, **own)


class Unit(nn.Module):
    """[U V Q K] = SiLU(LN(x) W); A = SiLU(Q K^T + bias) / n, masked; out = x + (LN(A V) * U) W_o.

    Args:
        width: E; values have E / heads dimensions a head. about: D, those of the category.
        bias: positions of the relative bias; 0 makes this the production form.
    """

    def __init__(self, width: int, about: int, heads: int, bias: int, start: _Start) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"heads is {heads}, expected a divisor of the token width {width} (width + 8).")
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.inner_norm = nn.LayerNorm(width)
        inner = heads * start.key_width
        self.parts = [width, width, inner, inner]
        self.project = nn.Linear(width, sum(self.parts), bias=False)
        self.of_position = nn.Parameter(torch.randn(bias + 1) * 0.02) if bias else None
        self.of_time = nn.Parameter(torch.randn(_TIME_BUCKETS) * 0.02) if bias else None
        self.out = nn.Linear(width if bias else 3 * width, width)
        # Scores begin low, so that what does not match weighs about nothing: SiLU has no softmax to say so.
        self.bias = nn.Parameter(torch.full((heads,), start.score_bias))
        if start.query_init:
            query, key = (nn.Linear(width, inner, bias=False) for _ in range(2))
            recognise(query, key, heads, about, start.query_init, mirrored=bias > 0)
            with torch.no_grad():
                self.project.weight[2 * width :] = torch.cat([query.weight, key.weight])

    def forward(self, x: Tensor, weights: Tensor, apart: tuple[Tensor, Tensor] | None) -> Tensor:
        """(B, N, E) tokens; weights (B, 1, N, N) are 1 / n where seen and 0 elsewhere."""
        mixed = self.project(self.norm(x))
        if apart is not None:
            u, v, q, k = torch.split(nn.functional.silu(mixed), self.parts, dim=2)
            scale = 1.0
        else:
            u, v, q, k = torch.split(mixed, self.parts, dim=2)
            u = nn.functional.silu(u)
            scale = (k.shape[2] // self.heads) ** -0.5
        v, q, k = (heads_of(part, self.heads) for part in (v, q, k))
        scores = torch.matmul(q, k.transpose(2, 3)) * scale + self.bias.view(1, -1, 1, 1)
        if apart is not None and self.of_position is not None and self.of_time is not None:
            place = self.of_position[apart[0].clamp(max=len(self.of_position) - 1)]
            scores = scores + (place + self.of_time[apart[1]]).unsqueeze(1)
        read = joined(torch.matmul(nn.functional.silu(scores) * weights, v))
        gated = self.inner_norm(read) * u
        out: Tensor = x + self.out(gated if apart is not None else torch.cat([u, read, gated], dim=2))
        return out
