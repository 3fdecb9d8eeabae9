"""LASER over one sequence: segments to tokens (STA), the candidate over the tokens (GSTA), fusion.

Source: LASER, arXiv:2602.11562 (our reading, see docs/models.md).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from laser.attention.gradients import FeedForwardRows, written_out
from laser.attention.kernels import fusing
from laser.attention.masking import hide
from laser.attention.relu import relu
from laser.attention.segmented import gate_weights, gated_segments, gated_values, segment_sums
from laser.attention.segments import Segments, side_by_side
from laser.attention.stacked import target_attention, target_attention_with_keys
from laser.errors import ModelError
from laser.models.history import KIND_WIDTH
from laser.models.target import turned

_PARTS = ("global", "strongest", "newest")
# How a head's gates begin: closed but for the candidate's own category, or open to every behaviour. Heads
# take turns: with all closed nothing is left of short histories of related categories (docs/models.md).
CLOSED = {"gate_init": 10.0, "gate_bias": -6.0, "gate_noise": 0.05}
OPEN = {"gate_init": 0.0, "gate_bias": 0.0, "gate_noise": 0.25}


def fusion_of(chosen: dict[str, Any]) -> tuple[str, ...]:
    """The parts that reach the head, in order.

    Raises:
        ModelError: none, or an unknown one.
    """
    named = chosen["fusion"]
    if isinstance(named, bool):
        return _PARTS if named else _PARTS[:1]
    if not named or not set(named) <= set(_PARTS):
        raise ModelError(f"fusion is {named!r}, expected true, false, or some of {list(_PARTS)}.")
    return tuple(part for part in _PARTS if part in named)


def fused_parts(chosen: dict[str, Any]) -> int:
    """Vectors of width D that the fusion hands on."""
    return sum(chosen["recent"] if part == "newest" else 1 for part in fusion_of(chosen))


class Branch(nn.Module):
    """STA, GSTA and fusion over one sequence; options as in `Laser`."""

    def __init__(self, width: int, chosen: dict[str, Any]) -> None:
        super().__init__()
        self.segments = _segments(chosen)
        self.fusion = fusion_of(chosen)
        self.recent: int = chosen["recent"]
        self.gather = _gather(width, self.segments, chosen)
        inner = chosen["ffn"] * width
        self.feed = FeedForward(width, inner, chosen["norm"]) if inner else None
        layers = chosen["layers"] if "global" in self.fusion else 0
        apart = min(layers, 1) if chosen["tied"] else layers
        self.layers = nn.ModuleList(_global_layer(width, inner, chosen) for _ in range(apart))
        self.rounds = layers if chosen["tied"] else 1

    def forward(self, target: Tensor, history: Tensor, real: Tensor | None) -> Tensor:
        """Read a history for each candidate.

        Args:
            target: (B, C, D).
            history: (B, L, D + KIND_WIDTH), newest last, L as `Segments.padded` gives it.
            real: (B, L) bool, False where padded; None if nothing is.

        Returns:
            (B, C, parts x D).
        """
        fed = self.gather(target, history, real)
        if self.feed is not None:
            fed = self.feed(fed)
        filled = None if real is None else self.segments.filled(real)
        tokens = fed.transpose(1, 2).contiguous()  # (B, C, S, D): once, for all layers
        parts = []
        if "global" in self.fusion:
            refined = target
            for layer in [*self.layers] * self.rounds:
                refined = layer(refined, tokens, filled)
            parts.append(refined)
        if "strongest" in self.fusion:
            learning = torch.is_grad_enabled()
            parts.append(_strongest(tokens, filled) if learning else _strongest_at_once(fed, filled))
        if "newest" in self.fusion:
            parts.append(_newest(tokens, filled, self.recent))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def _segments(chosen: dict[str, Any]) -> Segments:
    if chosen["wide"] not in ("sum", "mean"):
        raise ModelError(f'wide is {chosen["wide"]!r}, expected "sum" or "mean".')
    # Softmax gates share out a segment's one, whatever its width: there is nothing to even out.
    mean = chosen["wide"] == "mean" and chosen["gates"] == "sigmoid"
    return Segments(chosen["segment"], chosen["double_every"], mean)


def _gather(width: int, segments: Segments, chosen: dict[str, Any]) -> nn.Module:
    if chosen["query_width"] is None and chosen["value_width"] is None:
        return AbsorbedGather(width, segments, chosen)
    return NarrowGather(width, segments, chosen)


def of_heads(chosen: dict[str, Any], name: str) -> list[float]:
    """For each head, an option that is a number for all heads, a list of one for each, or left to them.

    Raises:
        ModelError: the list has another number of entries.
    """
    value, heads = chosen[name], chosen["heads"]
    if value is None:
        return [(OPEN if head % 2 else CLOSED)[name] for head in range(heads)]
    if not isinstance(value, list):
        return [float(value)] * heads
    if len(value) != heads:
        raise ModelError(f"{name} has {len(value)} entries, expected one for each of {heads} heads.")
    return [float(each) for each in value]


def _kinds(chosen: dict[str, Any]) -> nn.Parameter | None:
    """(A, KIND_WIDTH), what kind and age add to each head's score; None without `gate_kinds`."""
    return nn.Parameter(torch.zeros(chosen["heads"], KIND_WIDTH)) if chosen["gate_kinds"] else None


class AbsorbedGather(nn.Module):
    """STA at full rank: the key map absorbed in the query, the value map behind the sum."""

    def __init__(self, width: int, segments: Segments, chosen: dict[str, Any]) -> None:
        super().__init__()
        self.segments, self.gates, heads = segments, chosen["gates"], chosen["heads"]
        seen = width + KIND_WIDTH
        # A candidate recognises its own category from the start; what kinds of behaviour it heeds is learned.
        init, noise = (
            torch.tensor(of_heads(chosen, name)).view(-1, 1, 1) for name in ("gate_init", "gate_noise")
        )
        start = init * torch.eye(width, seen) + noise * torch.randn(heads, width, seen)
        self.query = nn.Parameter(start)
        self.bias = nn.Parameter(torch.tensor(of_heads(chosen, "gate_bias")))
        self.kinds = _kinds(chosen)
        self.value = nn.Linear(heads * seen, width)

    def forward(self, target: Tensor, history: Tensor, real: Tensor | None) -> Tensor:
        """(B, S, C, D), c_s of every segment and candidate."""
        query = self._queries(target)
        if self._values_first(target.shape[1]):
            return self._gated_values(query, history)
        sums = [
            self.segments.evened(gated_segments(query, run, width, self.bias, self.gates, there), width)
            for width, there, (run,) in self.segments.each(real, history)
        ]
        tokens: Tensor = self.value(side_by_side(sums).flatten(3))
        return tokens

    def _values_first(self, candidates: int) -> bool:
        """Whether scoring multiplies less with values that are built once a request. (Training has its own
        gradient for sums.)"""
        if torch.is_grad_enabled() or self.gates != "sigmoid":
            return False
        _, width, seen = self.query.shape
        # Multiplications for a behaviour and a head: its value and what is summed, or a sum and its map.
        values = seen * width + candidates * width
        return values < candidates * seen * (1 + width / self.segments.width)

    def _gated_values(self, query: Tensor, history: Tensor) -> Tensor:
        """(B, S, C, D): the same with the value map before the sum."""
        heads, width, seen = self.query.shape
        maps = self.value.weight.view(width, heads, seen).transpose(0, 1).reshape(-1, seen)
        values = nn.functional.linear(history, maps)
        sums = [
            self.segments.evened(gated_values(query, run, of_run, width, self.bias), width)
            for width, _, (run, of_run) in self.segments.each(None, history, values)
        ]
        return side_by_side(sums) + self.value.bias

    def _queries(self, target: Tensor) -> Tensor:
        query = torch.einsum("bcd,ade->bcae", target, self.query)
        # The same for every candidate, on the dimensions of kind and age alone.
        return query if self.kinds is None else query + nn.functional.pad(self.kinds, (target.shape[2], 0))


class NarrowGather(nn.Module):
    """STA with low-dimensional keys or values, or both, built once per request: the paper's form."""

    def __init__(self, width: int, segments: Segments, chosen: dict[str, Any]) -> None:
        super().__init__()
        self.segments, self.gates, heads = segments, chosen["gates"], chosen["heads"]
        seen = width + KIND_WIDTH
        inner = chosen["query_width"] or seen
        outer = chosen["value_width"]
        self.query = nn.Parameter(torch.empty(heads, width, inner))
        self.key = nn.Parameter(torch.empty(heads, seen, inner))
        self.bias = nn.Parameter(torch.tensor(of_heads(chosen, "gate_bias")))
        self.kinds = _kinds(chosen)
        self.value = None if outer is None else nn.Parameter(torch.randn(heads, seen, outer) * seen**-0.5)
        self.out = nn.Linear(heads * (outer or seen), width)
        # As at full rank: q . k / sqrt(K) begins near gate_init t . c on the category's dimensions.
        scale = [(init * inner**0.5) ** 0.5 for init in of_heads(chosen, "gate_init")]
        noise = of_heads(chosen, "gate_noise")
        with torch.no_grad():
            for a in range(heads):
                map = scale[a] * turned(width, inner)
                self.query[a] = map + noise[a] * torch.randn(width, inner)
                self.key[a] = noise[a] * torch.randn(seen, inner)
                self.key[a, :width] += map
            if self.value is not None:
                self.value[:, width, 0] = (
                    1.0  # the constant, so that sums begin with the total weight in them
                )

    def forward(self, target: Tensor, history: Tensor, real: Tensor | None) -> Tensor:
        """(B, S, C, D), c_s of every segment and candidate."""
        query = torch.einsum("bcd,adk->bcak", target, self.query) * self.query.shape[2] ** -0.5
        keys = torch.einsum("ble,aek->balk", history, self.key)
        if self.kinds is not None:
            # Kind and age beside the keys, the same part of every query beside the queries.
            own = history[:, None, :, -KIND_WIDTH:].expand(-1, keys.shape[1], -1, -1)
            query = torch.cat([query, self.kinds.expand(*query.shape[:2], -1, -1)], dim=3)
            keys = torch.cat([keys, own], dim=3)
        values = history if self.value is None else torch.einsum("ble,aev->balv", history, self.value)
        sums = []
        for width, there, (of_keys, of_values) in self.segments.each(real, keys, values):
            weights = gate_weights(query, of_keys, width, self.bias, self.gates, there)
            sums.append(self.segments.evened(segment_sums(weights, of_values, width), width))
        tokens: Tensor = self.out(side_by_side(sums).flatten(3))
        return tokens


def _global_layer(width: int, inner: int, chosen: dict[str, Any]) -> nn.Module:
    heads, key_width, sink = chosen["global_heads"], chosen["global_width"], chosen["sink"]
    init: float = chosen["global_init"]
    reading: nn.Module
    if key_width is None:
        reading = AbsorbedReading(width, heads, sink, init)
    else:
        reading = NarrowReading(width, heads, key_width, sink, init)
    return GlobalLayer(width, inner, reading)


class GlobalLayer(nn.Module):
    """u' = LN(u + attention(u, tokens)), then u'' = LN(u' + FFN(u'))."""

    def __init__(self, width: int, inner: int, reading: nn.Module) -> None:
        super().__init__()
        self.reading = reading
        self.norm = nn.LayerNorm(width)
        self.feed = FeedForward(width, inner, norm=True) if inner else None

    def forward(self, refined: Tensor, tokens: Tensor, filled: Tensor | None) -> Tensor:
        """(B, C, D) the candidate after one more reading of its (B, C, S, D) tokens."""
        refined = self.norm(refined + self.reading(refined, tokens, filled))
        return refined if self.feed is None else self.feed(refined)


class AbsorbedReading(nn.Module):
    """Multi-head attention of one query at full rank: no key or value of a token is built."""

    def __init__(self, width: int, heads: int, sink: bool, init: float = 1.0) -> None:
        super().__init__()
        self.sink = sink
        noise = 0.05 if init else width**-0.5
        self.query = nn.Parameter(init * torch.eye(width) + noise * torch.randn(heads, width, width))
        self.value = nn.Linear(heads * width, width)

    def forward(self, refined: Tensor, tokens: Tensor, filled: Tensor | None) -> Tensor:
        """(B, C, D) of (B, C, D) candidates and (B, C, S, D) tokens."""
        query = torch.einsum("bcd,ade->bcae", refined, self.query)
        read = target_attention(query, tokens, filled, self.sink)
        out: Tensor = self.value(read.flatten(2))
        return out


class NarrowReading(nn.Module):
    """The same with keys and values of `inner` dimensions per head, as published."""

    def __init__(self, width: int, heads: int, inner: int, sink: bool, init: float = 1.0) -> None:
        super().__init__()
        self.sink, self.heads = sink, heads
        self.query, self.key, self.value = (nn.Linear(width, heads * inner, bias=False) for _ in range(3))
        self.out = nn.Linear(heads * inner, width)
        if not init:
            return
        with torch.no_grad():
            for a in range(heads):
                # q . k / sqrt(K) begins near init u . h, as at full rank.
                map = init**0.5 * inner**0.25 * turned(width, inner).t()
                for part in (self.query, self.key):
                    part.weight[a * inner : (a + 1) * inner] = map

    def forward(self, refined: Tensor, tokens: Tensor, filled: Tensor | None) -> Tensor:
        """(B, C, D) of (B, C, D) candidates and (B, C, S, D) tokens."""
        query, keys, values = (
            part(x).unflatten(-1, (self.heads, -1))
            for part, x in ((self.query, refined), (self.key, tokens), (self.value, tokens))
        )
        read = target_attention_with_keys(query * query.shape[-1] ** -0.5, keys, values, filled, self.sink)
        out: Tensor = self.out(read.flatten(2))
        return out


class FeedForward(nn.Module):
    """LN(x + W_2 relu(W_1 x)), the LayerNorm being optional."""

    def __init__(self, width: int, inner: int, norm: bool) -> None:
        super().__init__()
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        if self.norm is not None and fusing(x):
            from laser.attention.kernels.feed import feed_forward, fits

            if fits(self.up.in_features, self.up.out_features):
                weights = (self.down.weight, self.down.bias, self.norm.weight, self.norm.bias)
                return feed_forward(x, self.up.weight, self.up.bias, *weights)
        if self.norm is not None and written_out(x):
            rows: Tensor = FeedForwardRows.apply(  # type: ignore[no-untyped-call]
                x.flatten(0, -2), self.up.weight, self.up.bias, self.down.weight, self.down.bias,
                self.norm.weight, self.norm.bias,
            )  # fmt: skip
            return rows.view(x.shape)
        x = x + self.down(relu(self.up(x)))
        return x if self.norm is None else self.norm(x)


def _strongest(tokens: Tensor, filled: Tensor | None) -> Tensor:
    """(B, C, D), the elementwise maximum over real segments; zeros where there are none."""
    if filled is None:
        return tokens.max(dim=2).values
    # Added and not filled in: the gradient of a filling passes over all tokens twice.
    strongest = (tokens + _lowered(tokens, filled)[:, None, :, None]).max(dim=2).values
    return strongest * filled.any(dim=1)[:, None, None]


def _strongest_at_once(fed: Tensor, filled: Tensor | None) -> Tensor:
    """The same of (B, S, C, D), where no gradient asks for the places: in a tenth of the time."""
    if filled is None:
        return fed.amax(dim=1)
    strongest = (fed + _lowered(fed, filled)[:, :, None, None]).amax(dim=1)
    return strongest * filled.any(dim=1)[:, None, None]


def _lowered(tokens: Tensor, filled: Tensor) -> Tensor:
    """(B, S), what to add to a segment's tokens so that only real ones are found."""
    return hide(tokens.new_zeros(filled.shape), ~filled)


def _newest(tokens: Tensor, filled: Tensor | None, recent: int) -> Tensor:
    """(B, C, r D), the newest real segments side by side; zeros where there are none."""
    first = max(tokens.shape[2] - recent, 0)
    tokens = tokens[:, :, first:]
    if filled is not None:
        tokens = tokens * filled[:, None, first:, None]
    missing = recent - tokens.shape[2]
    if missing > 0:
        tokens = nn.functional.pad(tokens, (0, 0, missing, 0))
    return tokens.flatten(2)
