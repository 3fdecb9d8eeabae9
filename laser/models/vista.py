"""VISTA: learned seeds gather a history into a few summary vectors; candidates read only those.

The summary does not depend on the candidate, so a server keeps it for each user, quantised, and refreshes it
now and then: scoring costs the same however long the history is.

Source: arXiv:2510.22049.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from laser.attention.candidates import heads_of, joined
from laser.attention.quasi_linear import quasi_linear
from laser.batch import RankingBatch
from laser.models.history import KIND_WIDTH, BehaviourEmbedding
from laser.models.model import ModelConfig, RankingModel, choose
from laser.models.tokens import CandidateToken
from laser.models.transformer import EncoderLayer

_DAY_S = 86_400.0


class Vista(RankingModel):
    """Options:

    seeds: summary vectors of a user. layers: of the summariser; target_layers: of the candidate's reading.
    heads: of both.
    reconstruction: weight of the loss by which the summary must tell the history again; 0 leaves it out.
    time_gap: embed the behaviours' ages. query_init: see `TargetQuery`, of the candidate's reading.
    chunk: positions summed at a time in the summariser; 0: all.
    quantise: "int8" (a scale for each vector) or "none", of the summaries that are read while scoring.
    refresh_s: summaries are as old as the day's last full multiple of it, seconds; 0: made for each request.
    """

    OPTIONS: ClassVar[dict[str, Any]] = {
        "seeds": 32,
        "layers": 1,
        "target_layers": 1,
        "heads": 2,
        "reconstruction": 1.0,
        "time_gap": True,
        "query_init": 2.0,
        "chunk": 0,
        "quantise": "none",
        "refresh_s": 0.0,
    }

    def __init__(self, config: ModelConfig) -> None:
        chosen = choose(config.kind, self.OPTIONS, config.options)
        if chosen["quantise"] not in ("int8", "none"):
            raise ValueError(f'quantise is {chosen["quantise"]!r}, expected "int8" or "none".')
        if not 0 <= chosen["refresh_s"] <= _DAY_S:
            raise ValueError(f"refresh_s is {chosen['refresh_s']}, expected 0 to {_DAY_S:.0f} seconds.")
        seen, heads = config.width + KIND_WIDTH, chosen["heads"]
        super().__init__(config, attended=seen)
        self.quantise, self.refresh_s, self.chunk = chosen["quantise"], chosen["refresh_s"], chosen["chunk"]
        self.history = BehaviourEmbedding(config.actions, config.scenes, chosen["time_gap"])
        self.candidate = CandidateToken(config.width)
        self.seeds = nn.Parameter(torch.randn(chosen["seeds"], seen) * 0.3)
        self.layers = nn.ModuleList(Summariser(seen, heads, self.chunk) for _ in range(chosen["layers"]))
        self.reading = nn.ModuleList(
            EncoderLayer(seen, heads, 1, chosen["query_init"] if i == 0 else 0.0)
            for i in range(chosen["target_layers"])
        )
        self.norm = nn.LayerNorm(seen)
        self.reconstruction: float = chosen["reconstruction"]
        self.decoder = Decoder(seen, heads) if self.reconstruction else None
        self._told: tuple[Tensor, Tensor, Tensor] | None = None

    def attend(self, batch: RankingBatch, target: Tensor) -> Tensor:
        """(B, C, E), the candidates behind the reading of their users' summaries."""
        summary = self.summarise(batch)
        if self.quantise == "int8" and not self.training:
            summary = dequantised(*quantised(summary))
        return self.read(summary, target)

    def summarise(self, batch: RankingBatch) -> Tensor:
        """(B, seeds, E), what a server keeps for each user; it knows nothing of candidates."""
        seen = batch if not self.refresh_s else _as_of_refresh(batch, self.refresh_s)
        history, rows = self.history(seen, self.category.weight)
        real = rows > 0
        tokens = torch.cat([history, self.seeds.expand(len(history), -1, -1)], dim=1)
        valid = torch.nn.functional.pad(real, (0, len(self.seeds)), value=True)
        for layer in self.layers:
            tokens = layer(tokens, valid)
        summary = tokens[:, history.shape[1] :]
        self._told = (summary, history, real) if self.training else None
        return summary

    def read(self, summary: Tensor, target: Tensor) -> Tensor:
        """(B, C, E) from (B, seeds, E) summaries, fresh or kept, and (B, C, D) candidates."""
        real = torch.ones(summary.shape[:2], dtype=torch.bool, device=summary.device)
        candidates = self.candidate(target)
        for i, layer in enumerate(self.reading):
            summary, candidates = layer(summary, candidates, real, last=i == len(self.reading) - 1)
        out: Tensor = self.norm(candidates)
        return out

    def auxiliary_loss(self, clicks: Tensor, shown: Tensor) -> Tensor | None:
        """See `RankingModel.auxiliary_loss`: squared error of telling the history from the summary."""
        if self.decoder is None or self._told is None:
            return None
        summary, history, real = self._told
        told = self.decoder(summary, history)[:, :-1]
        # The targets do not move towards what is easy to tell.
        error = (told - history[:, 1:].detach()).square().sum(dim=2)
        counted = real[:, :-1] & real[:, 1:]
        per_request = (error * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)
        loss: Tensor = self.reconstruction * (per_request * shown.sum(dim=1)).sum() / history.shape[2]
        return loss


class Summariser(nn.Module):
    """x' = x + QLA(LN(x)), x'' = x' + (LN(x') W_1 * LN(x') W_2) W_3, over [history ; seeds]."""

    def __init__(self, width: int, heads: int, chunk: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"heads is {heads}, expected a divisor of the token width {width} (width + 8).")
        self.heads, self.chunk = heads, chunk
        self.norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.one, self.two, self.three = (nn.Linear(width, width, bias=False) for _ in range(3))

    def forward(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """(B, N, E) tokens of which (B, N) are valid."""
        x = self.norm(tokens)
        query, key, value = (heads_of(f(x), self.heads) for f in (self.query, self.key, self.value))
        tokens = tokens + self.out(joined(quasi_linear(query, key, value, valid, self.chunk)))
        x = self.feed_norm(tokens)
        out: Tensor = tokens + self.three(self.one(x) * self.two(x))
        return out


class Decoder(nn.Module):
    """A causal layer over [summary ; history] whose state at behaviour i foretells behaviour i + 1."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.feed = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )

    def forward(self, summary: Tensor, history: Tensor) -> Tensor:
        """(B, L, E): v_i, which the loss compares with behaviour i + 1."""
        tokens = torch.cat([summary, history], dim=1)
        x = self.norm(tokens)
        query, key, value = (heads_of(f(x), self.heads) for f in (self.query, self.key, self.value))
        read = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        tokens = tokens + self.out(joined(read))
        told: Tensor = (tokens + self.feed(tokens))[:, summary.shape[1] :]
        return told


def quantised(summary: Tensor) -> tuple[Tensor, Tensor]:
    """(B, seeds, E) int8 and (B, seeds, 1) scales: one scale a vector (our reading; the paper names none)."""
    scale = summary.abs().amax(dim=2, keepdim=True).clamp(min=1e-12) / 127.0
    return (summary / scale).round().to(torch.int8), scale


def dequantised(codes: Tensor, scale: Tensor) -> Tensor:
    """What `quantised` kept, within half a scale of what it was."""
    return codes.to(scale.dtype) * scale


def _as_of_refresh(batch: RankingBatch, refresh_s: float) -> RankingBatch:
    """The histories as they were at the last refresh before each request."""
    since_s = (batch.hour * 3600.0) % refresh_s
    return batch.older(since_s)
