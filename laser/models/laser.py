"""LASER: segments of the whole history become tokens of the candidate, which then reads them.

history -> STA (a token for each segment) -> GSTA (the candidate, refined M times) -> fusion -> head.
One sequence is read by `laser_branch.Branch`; this file has the options and the scenes' branches.

Source: LASER, arXiv:2602.11562. Its equations were not available; docs/models.md marks what is our reading.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from laser.attention.kernels import fusing
from laser.attention.segmented import GATES
from laser.batch import RankingBatch
from laser.errors import ModelError
from laser.models.history import BehaviourEmbedding
from laser.models.laser_branch import Branch, fused_parts
from laser.models.laser_serving import ServedBranch, serve
from laser.models.model import ModelConfig, RankingModel, choose

_MERGES = ("concat", "mean", "gated")


class Laser(RankingModel):
    """Lifelong histories by segmented, then stacked target attention.

    Segments are counted from the newest behaviour: the newest `segment` behaviours are one segment whatever
    the history's length, and only the oldest segment may be partly filled. Options:

        segment: behaviours in a segment; a list has one for each branch.
        double_every: n, segments of a width, after which older ones are twice as wide: n of `segment`
            behaviours, n of twice as many, and so on; null: all of one width. wide: what gates sum over a
            wider segment counts as the "sum", or as the "mean": divided by how many times wider it is.
        heads: gates of a behaviour.
        query_width, value_width: dimensions of a head's queries and keys, and of its values, built once a
            request (the paper's low-dimensional form); null: full rank, absorbed, neither is ever built.
        layers: M, readings of GSTA; tied: all by one set of weights; global_heads: heads; global_width: of
            its keys and values per head, built for every token; null: full rank, absorbed.
        ffn: hidden width of the feed-forward nets in units of D; 0 leaves them and the LayerNorm behind out.
        norm: LayerNorm behind the segments' feed-forward net.
        gates: "sigmoid", "softmax" over the segment, or "softmax-sink", with one more entry that is nothing.
        fusion: which of "global" (the refined candidate), "strongest" (elementwise maximum of the segments)
            and "newest" (the `recent` newest segments) go to the head; true: all; false: "global".
        recent: r, newest segments; a list has one for each branch.
        time_gap: embed the behaviours' ages.
        gate_kinds: what a behaviour was and how old it is opens or closes a gate by itself too, whatever the
            candidate: n . [kind + age], learned for each head from 0. Without it a gate sees both only
            through the candidate, whose map of them has mean 0 over candidates.
        gate_init, gate_bias, gate_noise: the query map starts as gate_init I + noise, gates at this bias;
            each a number, or a list of one for each head. 0 and a noise of D^-0.5 is a usual random start.
            null: every second head open to all behaviours, the first and third closed but for the candidate's
            own category (see laser_branch.CLOSED and OPEN).
        global_init: GSTA's query maps start at it times I; 0 is a usual random start.
        sink: GSTA may read nothing (see `target_attention`).
        branches: groups of scenes, each read on its own, such as [[0], [1, 2]], a scene in no group by none;
            null reads all as one.
        merge: branches side by side ("concat"), their "mean", or "gated": a share for each by the candidate.
    """

    FIXED_SHAPES = True
    OPTIONS: ClassVar[dict[str, Any]] = {
        "segment": 10,
        "double_every": None,
        "wide": "sum",
        "heads": 2,
        "query_width": None,
        "value_width": None,
        "layers": 2,
        "tied": False,
        "global_heads": 2,
        "global_width": None,
        "ffn": 2,
        "norm": True,
        "gates": "sigmoid",
        "gate_kinds": False,
        "fusion": True,
        "recent": 5,
        "time_gap": True,
        "gate_init": None,
        "gate_bias": None,
        "gate_noise": None,
        "global_init": 1.0,
        "sink": True,
        "branches": None,
        "merge": "concat",
    }

    def __init__(self, config: ModelConfig) -> None:
        chosen = choose(config.kind, self.OPTIONS, config.options)
        scenes = _groups(chosen["branches"], config.scenes)
        each = [_of_branch(chosen, i, len(scenes)) for i in range(len(scenes))]
        widths = [fused_parts(own) * config.width for own in each]
        if chosen["gates"] not in GATES:
            raise ModelError(f"gates is {chosen['gates']!r}, expected one of {list(GATES)}.")
        if chosen["merge"] not in _MERGES:
            raise ModelError(f"merge is {chosen['merge']!r}, expected one of {list(_MERGES)}.")
        if chosen["merge"] != "concat" and len(set(widths)) > 1:
            raise ModelError(f"branches are {widths} wide, expected one width for merge {chosen['merge']!r}.")
        super().__init__(config, attended=sum(widths) if chosen["merge"] == "concat" else widths[0])
        self.scenes = scenes
        self.merge: str = chosen["merge"]
        self.history = BehaviourEmbedding(config.actions, config.scenes, chosen["time_gap"])
        branches = [Branch(config.width, own) for own in each]
        self.segments = [branch.segments for branch in branches]
        self.branches = nn.ModuleList(branches)
        self.share = nn.Linear(config.width, len(scenes)) if self.merge == "gated" else None
        self._served: list[ServedBranch | None] = [None] * len(branches)

    def multiply_out(self) -> None:
        """See `RankingModel.multiply_out`; branches that no kernel is made for stay as they are."""
        table = self.category.weight
        self._served = [
            serve(part, self.history, table) for part in self.branches if isinstance(part, Branch)
        ]

    def attend(self, batch: RankingBatch, target: Tensor) -> Tensor:
        """(B, C, parts x D), times the branches where they are side by side."""
        outputs: list[Tensor] = []
        parts = zip(self.scenes, self.segments, self.branches, self._served, strict=True)
        for scenes, segments, branch, served in parts:
            seen = batch if scenes is None else batch.only_scenes(scenes)
            if served is not None and fusing(target):
                outputs.append(served(seen, target))
                continue
            length = segments.padded(seen.longest)
            history, rows = self.history(seen, self.category.weight, length)
            outputs.append(branch(target, history, None if seen.even_segments(length) else rows > 0))
        return outputs[0] if len(outputs) == 1 else self._merged(outputs, target)

    def _merged(self, outputs: list[Tensor], target: Tensor) -> Tensor:
        if self.merge == "concat":
            return torch.cat(outputs, dim=2)
        stacked = torch.stack(outputs, dim=3)
        if self.share is None:
            return stacked.mean(dim=3)
        shares: Tensor = self.share(target).softmax(dim=2).unsqueeze(2)
        return (stacked * shares).sum(dim=3)


def _groups(branches: Any, scenes: int) -> list[tuple[int, ...] | None]:
    """The scenes of each branch; None for all.

    Raises:
        ModelError: no groups, an empty one, or a scene that is unknown or in two of them.
    """
    if branches is None:
        return [None]
    listed = isinstance(branches, list) and all(isinstance(group, list) and group for group in branches)
    named = [scene for group in branches for scene in group] if listed else []
    if not named or len(set(named)) < len(named) or not set(named) <= set(range(scenes)):
        raise ModelError(
            f"branches is {branches!r}, expected groups of scenes below {scenes}, none of them twice, "
            f"such as {[[scene] for scene in range(min(scenes, 3))]}."
        )
    return [tuple(group) for group in branches]


def _of_branch(chosen: dict[str, Any], branch: int, branches: int) -> dict[str, Any]:
    """The options of one branch: its own entry of those that are lists.

    Raises:
        ModelError: a list has another number of entries.
    """
    own = dict(chosen)
    for name in ("segment", "recent"):
        value = chosen[name]
        if isinstance(value, list):
            if len(value) != branches:
                raise ModelError(
                    f"{name} has {len(value)} entries, expected one for each of {branches} branches."
                )
            own[name] = value[branch]
    return own
