"""LASER over one sequence for serving: all that follows from the weights alone is multiplied out beforehand.

Every map of a behaviour or a token acts on sums, and a behaviour is a sum of table rows. So key and value
maps go into the tables (`segment_tokens`), the reading's key map into its query and its value map behind the
sum (`refine`), whatever their ranks; in exact arithmetic `Branch.forward` gives the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from laser.aligned import AlignedBatch
from laser.attention.kernels import fusing, operands, splits
from laser.batch import RankingBatch
from laser.models.history import AGE_BUCKETS, BehaviourEmbedding, age_bucket
from laser.models.laser_branch import (
    AbsorbedGather,
    AbsorbedReading,
    Branch,
    FeedForward,
    GlobalLayer,
    NarrowGather,
    NarrowReading,
)

Net = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
Layer = tuple[Tensor, Tensor, Tensor, Tensor, Net | None]


@dataclass(frozen=True)
class ServedBranch:
    """A branch multiplied out; dtypes and forms as `segment_tokens` and `refine` take them.

    Attributes:
        segment: behaviours in a segment. scenes: known to the model. ages: buckets of age, or 0.
        tables, net: of the segments' tokens.
        first_query: (categories, A, D), the first reading's queries. layers: of the readings, in their order.
        sink: of the readings. strongest: whether the fusion has it. recent: newest segments in the fusion.
    """

    segment: int
    scenes: int
    ages: int
    tables: tuple[Tensor, Tensor, Tensor]
    net: Net
    first_query: Tensor
    layers: list[Layer]
    sink: bool
    strongest: bool
    recent: int

    def __call__(self, batch: RankingBatch, target: Tensor) -> Tensor:
        """(B, C, parts x D), as `Branch.forward` gives it."""
        from laser.attention.kernels.readings import read_tokens
        from laser.attention.kernels.refining import Layer, refine
        from laser.attention.kernels.segments import segment_tokens

        places = self.places(batch)
        requests, candidates, width = target.shape
        parts = 1 + self.strongest + self.recent
        # Segments without behaviours are nowhere written.
        out = torch.zeros((requests, candidates, parts * width), device=target.device)
        newest = out[:, :, (parts - self.recent) * width :] if self.recent else None
        tokens = segment_tokens(target, places, self.segment, self.tables, self.net, newest)
        peaks = out[:, :, width : 2 * width] if self.strongest else None
        query = nn.functional.embedding(batch.ad_category, self.first_query.flatten(1))
        query, refined = query.view(requests, candidates, -1, width), target
        for i, layer in enumerate(self.layers):
            last = i == len(self.layers) - 1
            wanted = peaks if i == 0 else None
            read = read_tokens(query, tokens, places[2], wanted is not None)
            into = out[:, :, :width] if last else torch.empty_like(target)
            following = None if last else self.layers[i + 1][0]
            query = refine(refined, read, Layer(*layer), following, self.sink, into, wanted)
            refined = into
        return out

    def places(self, batch: RankingBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Table rows of each behaviour and the first filled segment, see `kernels.placing`."""
        if isinstance(batch, AlignedBatch) and fusing(batch.age_s):
            from laser.attention.kernels.placing import places

            columns = batch.category, batch.action, batch.scene, batch.age_s, batch.real
            return places(columns, self.scenes, self.ages, self.segment)
        how = batch.action * self.scenes + batch.scene
        if self.ages:
            how = how * self.ages + age_bucket(batch.age_s)
        about, how = (batch.align(x + 1, self.segment).int() for x in (batch.category, how))
        filled = (about > 0).view(len(about), -1, self.segment).any(dim=2)
        return about, how, (~filled).sum(dim=1, dtype=torch.int32)


def serve(branch: Branch, history: BehaviourEmbedding, category: Tensor) -> ServedBranch | None:
    """Multiply a branch out for what kernels multiply here; None if they are not made for it.

    Args:
        category: (categories, D), the shared table.
    """
    from laser.attention.kernels.products import halves
    from laser.attention.kernels.readings import MOST_HEADS
    from laser.attention.kernels.segments import fits

    gather, feed, segments = branch.gather, branch.feed, branch.segments
    assert isinstance(gather, AbsorbedGather | NarrowGather)
    if (
        feed is None
        or feed.norm is None
        or gather.gates != "sigmoid"
        or segments.double_every is not None
        or "global" not in branch.fusion
        or len(branch.layers) == 0
        or not fits(category.shape[1], feed.up.out_features)
    ):
        return None
    layers = [*branch.layers] * branch.rounds
    assert all(isinstance(layer, GlobalLayer) for layer in layers)
    query = _reading_maps(layers[0].reading)[0]
    if len(query) > MOST_HEADS:
        return None
    out = gather.value if isinstance(gather, AbsorbedGather) else gather.out
    up, up_bias, down, down_bias, scale, shift = _net(feed, operands(), out.bias)
    tables, split = _tables(gather, history, category.double(), operands()), splits()
    if split and not all(bool(x.half().isfinite().all()) for x in (*tables[:2], up, down)):
        return None  # too large for halves
    return ServedBranch(
        segment=segments.width,
        scenes=history.scenes,
        ages=0 if history.age is None else AGE_BUCKETS,
        tables=tables,
        net=(halves(up, split), up_bias, halves(down, split), down_bias, scale, shift),
        first_query=torch.einsum("nd,ade->nae", category.double(), query).float().contiguous(),
        layers=[_layer(layer, operands()) for layer in layers],
        sink=bool(layers[0].reading.sink),
        strongest="strongest" in branch.fusion,
        recent=branch.recent if "newest" in branch.fusion else 0,
    )


def _tables(
    gather: AbsorbedGather | NarrowGather, history: BehaviourEmbedding, category: Tensor, kind: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """By what a behaviour was about, and by how: keys and values (rows, 2, A, D), row 0 of padding; and what
    is added to the scores by how, (rows, A)."""
    width = category.shape[1]
    maps = torch.stack(_gather_maps(gather))  # (2, A, D, E)
    about = torch.einsum("ne,xade->nxad", category, maps[..., :width])
    kinds = history.kind.double()
    if history.age is not None:
        kinds = (kinds.unsqueeze(1) + history.age.double()).flatten(0, 1)
    how = torch.einsum("ne,xade->nxad", kinds, maps[..., width:])
    padded = [nn.functional.pad(x, (0, 0, 0, 0, 0, 0, 1, 0)).to(kind) for x in (about, how)]
    own = (
        kinds.new_zeros(len(kinds), len(gather.bias))
        if gather.kinds is None
        else kinds @ gather.kinds.double().t()
    )
    offset = (nn.functional.pad(own, (0, 0, 1, 0)) + gather.bias).float().contiguous()
    return padded[0].contiguous(), padded[1].contiguous(), offset


def _gather_maps(gather: AbsorbedGather | NarrowGather) -> tuple[Tensor, Tensor]:
    """Q and V, (A, D, E): gates are sigmoid(t . Q x + bias), tokens sums of V x."""
    if isinstance(gather, AbsorbedGather):
        return gather.query.double(), _of_heads(gather.value, len(gather.query))
    key, query = gather.key.double(), gather.query.double()
    query = torch.einsum("adk,aek->ade", query, key) * query.shape[2] ** -0.5
    out = _of_heads(gather.out, len(query))
    return query, out if gather.value is None else torch.einsum("adv,aev->ade", out, gather.value.double())


def _of_heads(out: nn.Linear, heads: int) -> Tensor:
    """(A, D, inputs of a head) of a map of all heads side by side."""
    weight = out.weight.double()
    return weight.view(len(weight), heads, -1).transpose(0, 1)


def _net(feed: FeedForward, kind: torch.dtype, constant: Tensor | None = None) -> Net:
    """As the kernels take it; a constant of its input becomes part of the biases."""
    assert feed.norm is not None
    up, down = (map.weight.t().to(kind).contiguous() for map in (feed.up, feed.down))
    up_bias, down_bias = feed.up.bias.detach(), feed.down.bias.detach()
    if constant is not None:
        up_bias = (up_bias.double() + feed.up.weight.double() @ constant.double()).float()
        down_bias = down_bias + constant
    return up, up_bias, down, down_bias, feed.norm.weight, feed.norm.bias


def _layer(layer: GlobalLayer, kind: torch.dtype) -> Layer:
    """As `laser.attention.kernels.refining.Layer` has it."""
    query, value, bias = _reading_maps(layer.reading)
    norm = torch.stack([layer.norm.weight, layer.norm.bias])
    net = None if layer.feed is None else _net(layer.feed, kind)
    return query.to(kind).contiguous(), value.to(kind).contiguous(), bias, norm, net


def _reading_maps(reading: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
    """Query and value maps (A, D, D), inputs first: scores are u Q . h, what is read is sum_s p_s h_s V."""
    if isinstance(reading, AbsorbedReading):
        value = _of_heads(reading.value, len(reading.query))
        return reading.query.double(), value.transpose(1, 2), reading.value.bias
    assert isinstance(reading, NarrowReading)
    query, key, value = (
        map.weight.double().view(reading.heads, -1, map.in_features)
        for map in (reading.query, reading.key, reading.value)
    )  # (A, K, D)
    out = _of_heads(reading.out, reading.heads)  # (A, D, K)
    absorbed = torch.einsum("akd,ake->ade", query, key) * query.shape[1] ** -0.5
    return absorbed, torch.einsum("aok,akd->ado", out, value), reading.out.bias
