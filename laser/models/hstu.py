"""HSTU: sequential transduction units, pointwise attention by SiLU instead of softmax.

Sources: HSTU, arXiv:2402.17152, and its public code, whose research form carries a relative bias of position
and time and whose production form uses absolute embeddings and a wider output projection.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from laser.attention.candidates import heads_of, joined
from laser.attention.kernels import fusing
from laser.attention.look_up import look_up
from laser.batch import RankingBatch
from laser.errors import ModelError
from laser.models.history import KIND_WIDTH, BehaviourEmbedding
from laser.models.model import ModelConfig, RankingModel, choose
from laser.models.target import recognise
from laser.models.tokens import CandidateToken, Positions

_TIME_BUCKETS = 128
_LOG_BUCKET = 0.301  # of a natural logarithm, as in the public code
# Keys and values of a head: tiles of wider ones do not fit the shared memory that the fused kernels have.
_WIDEST = 128, 64


class Hstu(RankingModel):
    """Options:

    variant: "research" (SiLU on U, V, Q, K; bias table of position and time) or "production" (SiLU on U only,
        scores over sqrt(K), absolute positions, output projection on [U ; AV ; U * LN(AV)]).
    layers, heads: of the units; key_width: of a head's queries and keys. time_gap: embed ages.
    query_init, score_bias: query and key maps begin as `recognise` says, scores at this bias.
        Left null, these and key_width are what suits the variant: SiLU drops half of a query, so that the
        research form needs every direction with both signs.
    positions: newest positions with a bias (research) or an embedding (production) of their own.
    all_rows: the last unit updates the history too, though nothing reads it, as papers count HSTU.
    normaliser: attention weights are divided by the sequence's own "length", or by a fixed number.
    """

    FIXED_SHAPES = True
    OPTIONS: ClassVar[dict[str, Any]] = {
        "variant": "research",
        "layers": 2,
        "heads": 2,
        "time_gap": True,
        "positions": 256,
        "normaliser": "length",
        "all_rows": False,
        "key_width": None,
        "query_init": None,
        "score_bias": None,
    }
    RECOGNISES = ("category.", "layers.")
    SELF_ATTENTION = True

    def __init__(self, config: ModelConfig) -> None:
        chosen = choose(config.kind, self.OPTIONS, config.options)
        if chosen["variant"] not in ("research", "production"):
            raise ModelError(f'variant is {chosen["variant"]!r}, expected "research" or "production".')
        if chosen["variant"] == "research" and chosen["positions"] < 1:
            raise ModelError(f"positions is {chosen['positions']}, expected 1 or more in the research form.")
        seen = config.width + KIND_WIDTH
        super().__init__(config, attended=seen)
        self.research: bool = chosen["variant"] == "research"
        self.normaliser, self.all_rows = chosen["normaliser"], chosen["all_rows"]
        self.history = BehaviourEmbedding(config.actions, config.scenes, chosen["time_gap"])
        self.candidate = CandidateToken()
        self.positions = Positions(0 if self.research else chosen["positions"], seen)
        bias = chosen["positions"] if self.research else 0
        start = _start(config.width, chosen)
        self._fusible = start.key_width <= _WIDEST[0] and seen // chosen["heads"] <= _WIDEST[1]
        self.layers = nn.ModuleList(
            Unit(seen, config.width, chosen["heads"], bias, start) for _ in range(chosen["layers"])
        )
        self.norm = nn.LayerNorm(seen)

    def attend(self, batch: RankingBatch, target: Tensor) -> Tensor:
        """(B, C, E), the candidates behind the last unit."""
        history, rows = self.history(batch, self.category.weight)
        history, candidates = self.positions(history), self.candidate(target)
        places = self._places(batch, rows > 0)
        for i, layer in enumerate(self.layers):
            # Nothing reads the history behind the last unit.
            last = i == len(self.layers) - 1 and not self.all_rows
            history, candidates = layer(history, candidates, places, last)
        out: Tensor = self.norm(candidates)
        return out

    def _places(self, batch: RankingBatch, real: Tensor) -> Places:
        """Who sees whom, by how much, and how far they are apart.

        Time is shifted as in the public code: from the query's *next* behaviour to the key. The newest
        behaviour's next is the request, and so is every candidate's.
        """
        length = real.shape[1]
        if self.normaliser == "length":
            share = 1.0 / (real.sum(dim=1) + 1).view(-1, 1, 1, 1).float()
        else:
            share = torch.full((1, 1, 1, 1), 1.0 / float(self.normaliser), device=real.device)
        to_history = real[:, None, None, :] * share
        age_s = batch.align(batch.age_s) if self.research else None
        of_history: Tensor | Seen
        if self._fusible and fusing(share):
            of_history = Seen(real.sum(dim=1), share.view(-1).expand(len(real)), age_s)
        else:
            of_history = to_history * torch.ones(length, length, dtype=torch.bool, device=real.device).tril()
        if age_s is None:
            return Places(of_history, to_history, share, None, None, None)
        place = torch.arange(length, device=real.device)
        behind = (length - place).unsqueeze(0), _bucket(age_s, torch.zeros_like(age_s[:, :1]))
        own = torch.zeros(1, 1, dtype=torch.long, device=real.device)
        within = None if isinstance(of_history, Seen) else _within(place, age_s)
        return Places(of_history, to_history, share, within, behind, (own, own.unsqueeze(0)))


Apart = tuple[Tensor, Tensor] | None


@dataclass(frozen=True)
class Seen:
    """What a fused kernel makes the history's weights and distances of, (L, L) nowhere.

    Attributes:
        counts: (B,) behaviours. share: (B,) 1 / n.
        age_s: (B, L), 0 where padded; None in the production form.
    """

    counts: Tensor
    share: Tensor
    age_s: Tensor | None


@dataclass(frozen=True)
class Places:
    """Weights of a pair: 1 / n where seen, 0 elsewhere; distances in positions and buckets of time.

    Attributes:
        of_history: (B, 1, L, L), of_candidates: (B, 1, 1, L), of_own: (B or 1, 1, 1, 1). In a fast step on a
            GPU the history's are made within a kernel.
        within, behind, own: (rows, columns) distances and (B or 1, rows, columns) buckets of the same three;
            None in the production form.
    """

    of_history: Tensor | Seen
    of_candidates: Tensor
    of_own: Tensor
    within: Apart
    behind: Apart
    own: Apart


def _within(place: Tensor, age_s: Tensor) -> tuple[Tensor, Tensor]:
    next_s = torch.nn.functional.pad(age_s[:, 1:], (0, 1))
    return (place.unsqueeze(1) - place.unsqueeze(0)).clamp(min=0), _bucket(age_s, next_s)


def _bucket(age_s: Tensor, next_s: Tensor) -> Tensor:
    """(B, rows, L) bucket of the time between: floor(ln(seconds) / .301)."""
    between_s = (age_s.unsqueeze(1) - next_s.unsqueeze(2)).abs().clamp(min=1.0)
    return (between_s.log() / _LOG_BUCKET).long().clamp(max=_TIME_BUCKETS - 1)


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
        width: E; values have E / heads dimensions per head. about: D, those of the category.
        bias: positions of the relative bias; 0 makes this the production form.
    """

    def __init__(self, width: int, about: int, heads: int, bias: int, start: _Start) -> None:
        super().__init__()
        if width % heads:
            raise ModelError(f"heads is {heads}, expected a divisor of the token width {width} (width + 8).")
        self.heads, self.research = heads, bias > 0
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

    def forward(
        self, history: Tensor, candidates: Tensor, places: Places, last: bool
    ) -> tuple[Tensor, Tensor]:
        """(B, L, E) and (B, C, E) behind the unit; `last` leaves the history as it was.

        Candidates see the history and themselves, never each other.
        """
        u, v, q, k = self._mixed(history)
        own_u, own_v, own_q, own_k = self._mixed(candidates)
        weights = self._weights(torch.matmul(own_q, k.transpose(2, 3)), places.behind) * places.of_candidates
        of_own = self._weights((own_q * own_k).sum(dim=3, keepdim=True), places.own) * places.of_own
        candidates = self._out(candidates, own_u, torch.matmul(weights, v) + of_own * own_v)
        if not last:
            history = self._out(history, u, self._read(q, k, v, places))
        return history, candidates

    def _read(self, q: Tensor, k: Tensor, v: Tensor, places: Places) -> Tensor:
        """(B, A, L, V), what each behaviour reads of those up to itself."""
        seen = places.of_history
        if isinstance(seen, Tensor):
            weights = self._weights(torch.matmul(q, k.transpose(2, 3)), places.within) * seen
            return torch.matmul(weights, v)
        from laser.attention.kernels.silu_attention import silu_attention

        tables = None
        if self.of_position is not None and self.of_time is not None and seen.age_s is not None:
            tables = self.of_position, self.of_time, seen.age_s
        return silu_attention(q, k, v, self.bias, seen.counts, seen.share, tables)

    def _mixed(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """U (B, N, E) and V, Q, K (B, A, N, .), queries scaled."""
        mixed = self.project(self.norm(x))
        if self.research:
            u, v, q, k = torch.split(nn.functional.silu(mixed), self.parts, dim=2)
        else:
            u, v, q, k = torch.split(mixed, self.parts, dim=2)
            u, q = nn.functional.silu(u), q * (q.shape[2] // self.heads) ** -0.5
        return u, heads_of(v, self.heads), heads_of(q, self.heads), heads_of(k, self.heads)

    def _weights(self, scores: Tensor, apart: Apart) -> Tensor:
        scores = scores + self.bias.view(1, -1, 1, 1)
        if apart is not None and self.of_position is not None and self.of_time is not None:
            place = look_up(self.of_position, apart[0].clamp(max=len(self.of_position) - 1))
            scores = scores + (place + look_up(self.of_time, apart[1])).unsqueeze(1)
        return nn.functional.silu(scores)

    def _out(self, x: Tensor, u: Tensor, read: Tensor) -> Tensor:
        attended = joined(read)
        gated = self.inner_norm(attended) * u
        out: Tensor = x + self.out(gated if self.research else torch.cat([u, attended, gated], dim=2))
        return out
