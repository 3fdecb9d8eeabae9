"""Which head a model gets, from the options that every model has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from laser.errors import ModelError
from laser.models.heads.head import RankingHead
from laser.models.heads.rankmixer import RankMixerHead
from laser.models.heads.tower import TowerHead

#: head: "small" (an MLP of 64 and 32), "rankmixer" or "tower". head_tokens, head_layers, head_width,
#: head_ratio: T, L, D and k of RankMixer. tower: input and hidden widths of the tower.
HEAD_OPTIONS: dict[str, Any] = {
    "head": "small",
    "head_tokens": 4,
    "head_layers": 2,
    "head_width": 32,
    "head_ratio": 2,
    "tower": [4096, 2048, 1024, 512],
}


def build_head(ads: int, categories: int, attended: int, options: Mapping[str, Any]) -> RankingHead:
    """The head that the options ask for.

    Args:
        attended: width of what the model read.
        options: HEAD_OPTIONS, all of them.

    Raises:
        ModelError: another head, or sizes that do not fit together.
    """
    kind = options["head"]
    if kind == "small":
        return RankingHead(ads, categories, attended)
    if kind == "tower":
        return TowerHead(ads, categories, attended, options["tower"])
    if kind == "rankmixer":
        sizes = {name: options[f"head_{name}"] for name in ("tokens", "layers", "width", "ratio")}
        for name, size in sizes.items():
            if not isinstance(size, int) or size < 1:
                raise ModelError(f"head_{name} is {size!r}, expected a whole number of 1 or more.")
        return RankMixerHead(ads, categories, attended, **sizes)
    raise ModelError(f'head is {kind!r}, expected "small", "rankmixer" or "tower".')
