"""VISTA: learned seeds gather a history into a few summary vectors; candidates read only those.

The summary does not depend on the candidate, so a server keeps it for each user, quantised, and refreshes it
now and then: scoring costs the same however long the history is.

Source: arXiv:2510.22049.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from laser.attention.candidates import heads_of, joined
from laser.attention.quasi_linear import quasi_linear_candidates, summary_matrix
from laser.batch import RankingBatch
from laser.errors import ModelError
from laser.models.history import KIND_WIDTH, BehaviourEmbedding
from laser.models.model import ModelConfig, RankingModel, choose
from laser.models.target import directions
from laser.models.tokens import CandidateToken
from laser.models.transformer import EncoderLayer

_DAY_S = 86_400.0


class Vista(RankingModel):
    """Options:

    seeds: summary vectors of a user. layers: of the summariser; target_layers: of the candidate's reading.
    heads: of both.
    attention: of the summariser, "quasi-linear" or "softmax" (both reported).
    target_attention: of the candidate's reading, "softmax", or "quasi-linear": the candidates' part of the
        published quasi-linear attention, over the summary.
    key_width: of a head's keys in the quasi-linear form.
    summary_init, summary_bias: its query and key maps begin as random directions of the category times the
        first, at the second, so that a feature is on for few categories. An init of 0 is torch's
        own start.
    reconstruction: weight of the loss by which the summary must reconstruct the history; 0 leaves it out.
    time_gap: embed the behaviours' ages. query_init: maps of softmax layers begin as `recognise` says.
    own_bias, seed_bias: on a candidate's and a seed's score of itself, see `softmax_candidates`.
    chunk: positions summed at a time in the summariser; 0: all.
    quantise: "int8" (a scale for each vector) or "none", of the summaries that are read while scoring.
    refresh_s: summaries are as old as the day's last full multiple of it, seconds; 0: made for each request.
    """

    RECOGNISES = ("category.", "seeds", "layers.", "reading.")
    FIXED_SHAPES = True
    OPTIONS: ClassVar[dict[str, Any]] = {
        "seeds": 64,
        "layers": 1,
        "target_layers": 1,
        "heads": 1,
        "reconstruction": 1.0,
        "time_gap": True,
        "query_init": 3.0,
        "own_bias": -20.0,
        "key_width": 64,
        "attention": "quasi-linear",
        "target_attention": "softmax",
        "seed_bias": 2.0,
        "summary_init": 4.0,
        "summary_bias": -4.0,
        "chunk": 0,
        "quantise": "none",
        "refresh_s": 0.0,
    }

    def __init__(self, config: ModelConfig) -> None:
        chosen = choose(config.kind, self.OPTIONS, config.options)
        if chosen["quantise"] not in ("int8", "none"):
            raise ModelError(f'quantise is {chosen["quantise"]!r}, expected "int8" or "none".')
        for name in ("attention", "target_attention"):
            if chosen[name] not in ("quasi-linear", "softmax"):
                raise ModelError(f'{name} is {chosen[name]!r}, expected "quasi-linear" or "softmax".')
        if not 0 <= chosen["refresh_s"] <= _DAY_S:
            raise ModelError(f"refresh_s is {chosen['refresh_s']}, expected 0 to {_DAY_S:.0f} seconds.")
        seen, heads = config.width + KIND_WIDTH, chosen["heads"]
        super().__init__(config, attended=seen)
        self.quantise, self.refresh_s = chosen["quantise"], chosen["refresh_s"]
        self.history = BehaviourEmbedding(config.actions, config.scenes, chosen["time_gap"])
        self.candidate = CandidateToken()
        self.seeds = nn.Parameter(torch.randn(chosen["seeds"], seen) * 0.3)
        with torch.no_grad():
            # Seeds begin at categories, as many as there are seeds for.
            rows = torch.arange(chosen["seeds"]) % config.categories
            self.seeds[:, : config.width] = self.category.weight[rows]
            self.seeds[:, config.width] = 1.0
        self.layers = nn.ModuleList(_summariser(config.width, chosen) for _ in range(chosen["layers"]))
        self.reading = nn.ModuleList(_reading(config.width, chosen) for _ in range(chosen["target_layers"]))
        self.norm = nn.LayerNorm(seen)
        self.reconstruction: float = chosen["reconstruction"]
        self.decoder = Decoder(seen, heads) if self.reconstruction else None
        self._told: tuple[Tensor, Tensor, Tensor] | None = None

    def attend(self, batch: RankingBatch, target: Tensor) -> Tensor:
        """(B, C, E), the candidates behind the reading of their users' summaries."""
        return self.read(self.summarise(batch), target)

    def summarise(self, batch: RankingBatch) -> Tensor:
        """(B, seeds, E), what a server keeps for each user; it knows nothing of candidates.

        While scoring it is what int8 leaves of it, where `quantise` says so.
        """
        seen = batch if not self.refresh_s else _as_of_refresh(batch, self.refresh_s)
        history, rows = self.history(seen, self.category.weight)
        real = rows > 0
        tokens, summary = history, self.seeds.expand(len(history), -1, -1)
        for i, layer in enumerate(self.layers):
            tokens, summary = layer(tokens, summary, real, last=i == len(self.layers) - 1)
        self._told = (summary, history, real) if self.training else None
        return dequantised(*quantised(summary)) if self.quantise == "int8" and not self.training else summary

    @property
    def summary_bytes(self) -> int:
        """See `RankingModel.summary_bytes`: int8 with a scale for each vector, or float32."""
        seeds, width = self.seeds.shape
        return seeds * (width + 4) if self.quantise == "int8" else 4 * seeds * width

    def read(self, summary: Tensor, target: Tensor) -> Tensor:
        """(B, C, E) from (B, seeds, E) summaries, fresh or kept, and (B, C, D) candidates."""
        real = torch.ones(summary.shape[:2], dtype=torch.bool, device=summary.device)
        candidates = self.candidate(target)
        for i, layer in enumerate(self.reading):
            summary, candidates = layer(summary, candidates, real, last=i == len(self.reading) - 1)
        out: Tensor = self.norm(candidates)
        return out

    def auxiliary_loss(self, clicks: Tensor, weights: Tensor) -> Tensor | None:
        """See `RankingModel.auxiliary_loss`: squared error of reconstructing the history from the summary."""
        if self.decoder is None or self._told is None:
            return None
        summary, history, real = self._told
        decoded = self.decoder(summary, history)[:, :-1]
        # The targets do not move towards what is easy to reconstruct.
        error = (decoded - history[:, 1:].detach()).square().sum(dim=2)
        counted = real[:, :-1] & real[:, 1:]
        per_request = (error * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)
        loss: Tensor = self.reconstruction * (per_request * weights.sum(dim=1)).sum() / history.shape[2]
        return loss


def _summariser(width: int, chosen: dict[str, Any]) -> nn.Module:
    seen, heads = width + KIND_WIDTH, chosen["heads"]
    if chosen["attention"] == "softmax":
        return EncoderLayer(seen, width, heads, 1, chosen["query_init"], chosen["seed_bias"])
    return Summariser(seen, width, heads, chosen)


def _reading(width: int, chosen: dict[str, Any]) -> nn.Module:
    seen, heads = width + KIND_WIDTH, chosen["heads"]
    if chosen["target_attention"] == "softmax":
        return EncoderLayer(seen, width, heads, 1, chosen["query_init"], chosen["own_bias"])
    return QuasiLinearReading(seen, width, heads, chosen)


class Summariser(nn.Module):
    """x' = x + QLA(LN(x)), x'' = x' + (LN(x') W_1 * LN(x') W_2) W_3, over [history ; seeds]."""

    def __init__(self, width: int, about: int, heads: int, chosen: dict[str, Any]) -> None:
        super().__init__()
        if width % heads:
            raise ModelError(f"heads is {heads}, expected a divisor of the token width {width} (width + 8).")
        self.heads, self.chunk = heads, chosen["chunk"]
        keys = heads * chosen["key_width"]
        self.norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key = (nn.Linear(width, keys) for _ in range(2))
        self.value, self.out = (nn.Linear(width, width) for _ in range(2))
        self.one, self.two, self.three = (nn.Linear(width, width, bias=False) for _ in range(3))
        if not chosen["summary_init"]:
            return
        turned = directions(keys, about) * chosen["summary_init"]
        with torch.no_grad():
            for part in (self.query, self.key):
                part.weight *= 0.1
                part.weight[:, :about] = turned
                part.bias.fill_(chosen["summary_bias"])
            self.value.weight.view(heads, -1, width)[:, 0] = torch.eye(width)[about]
            # What a seed gathers begins beside the direction by which candidates find it, not on top of it.
            self.out.weight[:about] *= 0.02
            self.out.bias.zero_()
            self.three.weight[:about] *= 0.02

    def forward(self, history: Tensor, seeds: Tensor, real: Tensor, last: bool) -> tuple[Tensor, Tensor]:
        """(B, L, E) and (B, seeds, E) after the layer; `last` leaves the history as it was."""
        both = self.norm(torch.cat([history, seeds], dim=1))
        valid = torch.nn.functional.pad(real, (0, seeds.shape[1]), value=True)
        key, value = (heads_of(f(both), self.heads) for f in (self.key, self.value))
        matrix = summary_matrix(key, value, valid, self.chunk)
        length = history.shape[1]
        seeds = self._read(seeds, both[:, length:], matrix)
        return (history if last else self._read(history, both[:, :length], matrix)), seeds

    def _read(self, x: Tensor, normed: Tensor, matrix: Tensor) -> Tensor:
        query = silu(heads_of(self.query(normed), self.heads))
        return self._fed(x + self.out(joined(torch.matmul(query, silu(matrix)))))

    def _fed(self, x: Tensor) -> Tensor:
        fed = self.feed_norm(x)
        out: Tensor = x + self.three(self.one(fed) * self.two(fed))
        return out


class QuasiLinearReading(Summariser):
    """The same layer over [summary ; candidates]: a candidate reads the summary's matrix and itself."""

    def forward(self, history: Tensor, candidates: Tensor, real: Tensor, last: bool) -> tuple[Tensor, Tensor]:
        """(B, N, E) the summary and (B, C, E) after the layer; `last` leaves the summary as it was."""
        normed, own = self.norm(history), self.norm(candidates)
        key, value = (heads_of(f(normed), self.heads) for f in (self.key, self.value))
        matrix = summary_matrix(key, value, real, self.chunk)
        query, own_key, own_value = (heads_of(f(own), self.heads) for f in (self.query, self.key, self.value))
        read = quasi_linear_candidates(query, own_key, own_value, matrix)
        candidates = self._fed(candidates + self.out(joined(read)))
        return (history if last else self._read(history, normed, matrix)), candidates


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
        decoded: Tensor = (tokens + self.feed(tokens))[:, summary.shape[1] :]
        return decoded


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
