"""STCA: stacked target-to-history cross attention, without any self-attention over the history.

Source: arXiv:2511.06077.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from laser.attention.shared import read_absorbed, read_with_keys
from laser.attention.swiglu import SwiGlu
from laser.batch import RankingBatch
from laser.errors import ModelError
from laser.models.history import KIND_WIDTH, BehaviourEmbedding
from laser.models.model import ModelConfig, RankingModel, choose
from laser.models.target import recognise
from laser.models.tokens import CandidateToken


class Stca(RankingModel):
    """One target query reads the whole history in every layer; later queries are fused from earlier reads.

        X(i) = LN(SwiGLU_i(X));  o(i) = MHA(q(i); X(i));  q(1) = LN(SwiGLU_1(t))
        q(i+1) = LN(SwiGLU_{i+1}([o(1) .. o(i) ; t] W_C));  z = SwiGLU([o(1) .. o(M) ; t] W_Z)

    Options:

        layers: M. heads: of each layer; one of fewer dimensions than a category has confuses categories.
            ratio: inner width of SwiGLU (the paper leaves it open).
        order: "absorbed" (no keys or values; cheap for few candidates), "keys" (built once per request; cheap
            for many), or "auto" by the number of candidates.
        shared_ffn: one SwiGLU over the history for all layers instead of one each.
        fusion: later queries from all earlier reads; false: from the last read only.
        time_gap: embed the behaviours' ages. query_init: the maps begin at it times I.
        identity: SwiGLU nets begin as about the identity. sink: see `masked_softmax`; null leaves it out.
    """

    RECOGNISES = ("category.", "first.", "of_history.", "reads.")
    FIXED_SHAPES = True
    OPTIONS: ClassVar[dict[str, Any]] = {
        "layers": 2,
        "heads": 1,
        "ratio": 2,
        "order": "auto",
        "shared_ffn": False,
        "fusion": True,
        "time_gap": True,
        "query_init": 2.6,
        "identity": True,
        "sink": 12.0,
    }

    def __init__(self, config: ModelConfig) -> None:
        chosen = choose(config.kind, self.OPTIONS, config.options)
        if chosen["order"] not in ("absorbed", "keys", "auto"):
            raise ModelError(f'order is {chosen["order"]!r}, expected "absorbed", "keys" or "auto".')
        seen, layers, ratio = config.width + KIND_WIDTH, chosen["layers"], chosen["ratio"]
        super().__init__(config, attended=seen)
        constant = config.width if chosen["identity"] else None  # the kind that begins at 1
        self.order: str = chosen["order"]
        self.fusion: bool = chosen["fusion"]
        self.heads: int = chosen["heads"]
        self.history = BehaviourEmbedding(config.actions, config.scenes, chosen["time_gap"])
        self.candidate = CandidateToken()
        feeds = 1 if chosen["shared_ffn"] else layers
        self.of_history = nn.ModuleList(
            Normed(SwiGlu(seen, ratio, constant=constant), seen) for _ in range(feeds)
        )
        self.first = Normed(SwiGlu(seen, ratio, constant=constant), seen)
        self.reads = nn.ModuleList(
            Read(seen, config.width, chosen["heads"], chosen["query_init"], chosen["sink"])
            for _ in range(layers)
        )
        self.fuse = nn.ModuleList(
            nn.Sequential(
                _mix((i + 1 if self.fusion else 1) + 1, seen, chosen["identity"]),
                Normed(SwiGlu(seen, ratio, constant=constant), seen),
            )
            for i in range(layers - 1)
        )
        self.last = nn.Sequential(
            _mix(layers + 1, seen, chosen["identity"]), SwiGlu(seen, ratio, constant=constant)
        )

    def attend(self, batch: RankingBatch, target: Tensor) -> Tensor:
        """(B, C, E), z of each candidate."""
        history, rows = self.history(batch, self.category.weight)
        real = rows > 0
        candidate = self.candidate(target)
        query, reads = self.first(candidate), []
        absorbed = self._absorbed(batch.candidates)
        fed = [feed(history) for feed in self.of_history]
        for i, read in enumerate(self.reads):
            seen = fed[i % len(fed)]
            reads.append(read(query, seen, real, absorbed))
            if i < len(self.fuse):
                kept = reads if self.fusion else reads[-1:]
                query = self.fuse[i](torch.cat([*kept, candidate], dim=2))
        out: Tensor = self.last(torch.cat([*reads, candidate], dim=2))
        return out

    def _absorbed(self, candidates: int) -> bool:
        if self.order != "auto":
            return self.order == "absorbed"
        # 2 A L E C multiplications without keys, 2 L E^2 + 2 L E C with them (A K = E).
        return (self.heads - 1) * candidates < self.config.width + KIND_WIDTH


class Normed(nn.Module):
    """LN(f(x))."""

    def __init__(self, inner: nn.Module, width: int) -> None:
        super().__init__()
        self.inner, self.norm = inner, nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., E) to (..., E)."""
        out: Tensor = self.norm(self.inner(x))
        return out


class Read(nn.Module):
    """Multi-head target attention of (B, C, E) queries over a (B, L, E) history, in either order."""

    def __init__(self, width: int, about: int, heads: int, query_init: float, sink: float | None) -> None:
        super().__init__()
        if width % heads:
            raise ModelError(f"heads is {heads}, expected a divisor of the token width {width} (width + 8).")
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.sink = None if sink is None else nn.Parameter(torch.full((heads,), float(sink)))
        if query_init:
            recognise(self.query, self.key, heads, about, query_init)
            with torch.no_grad():
                # The first value of every head begins as the behaviour's constant: how much was read.
                self.value.weight.view(heads, -1, width)[:, 0] = torch.eye(width)[about]

    def forward(self, query: Tensor, history: Tensor, real: Tensor, absorbed: bool) -> Tensor:
        """(B, C, E)."""
        q = _split(self.query(query), self.heads)
        q = q * q.shape[3] ** -0.5
        if absorbed:
            key, value = (f.weight.view(self.heads, -1, f.in_features) for f in (self.key, self.value))
            read = read_absorbed(torch.einsum("bcak,ake->bcae", q, key), history, real, self.sink)
            read = torch.einsum("bcae,ave->bcav", read, value)
        else:
            keys, values = (_split(f(history), self.heads) for f in (self.key, self.value))
            read = read_with_keys(q, keys, values, real, self.sink)
        out: Tensor = self.out(read.flatten(2))
        return out


def _split(x: Tensor, heads: int) -> Tensor:
    """(B, N, A K) to (B, N, A, K)."""
    return x.view(*x.shape[:2], heads, -1)


def _mix(parts: int, width: int, identity: bool) -> nn.Linear:
    """W_C and W_Z: parts side by side to one vector; `identity` begins near their sum."""
    mix = nn.Linear(parts * width, width, bias=False)
    if identity:
        with torch.no_grad():
            mix.weight += torch.eye(width).repeat(1, parts)
    return mix
