"""Behaviours put where a kernel reads them: a block's columns laid out, and rows of tables for each place.

Each is a dozen passes in torch, and starting a kernel takes longer than what one does for a request.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_PLACES = 256

Places = tuple[Tensor, Tensor, Tensor]


def lay_out(columns: dict[str, Tensor], length: int, candidates: int) -> dict[str, Tensor]:
    """Histories that lie one behind the other, each with its newest behaviour in the last of its L places.

    Args:
        columns: category, action, scene, age_s, dwell_s (B x L,), filled from the front; of each request the
            end of its history there and its length, end and length (B,); ad, ad_category, position (B, C) and
            candidate_count (B,). Whole numbers of any width.
        length: L. candidates: C.

    Returns:
        The five columns (B x L,), those of candidates and their count, numbers int64, and `real` (B, L) bool.
        Empty places hold anything.
    """
    requests, device = len(columns["end"]), columns["end"].device
    total, wide = requests * length, (requests, candidates)
    sizes: dict[str, tuple[int, ...]] = dict.fromkeys(("category", "action", "scene"), (total,))
    sizes |= dict.fromkeys(("ad", "ad_category", "position"), wide) | {"candidate_count": (requests,)}
    found = {name: torch.empty(size, dtype=torch.int64, device=device) for name, size in sizes.items()}
    found |= {name: torch.empty(total, device=device) for name in ("age_s", "dwell_s")}
    real = torch.empty((requests, length), dtype=torch.bool, device=device)
    _lay_out[(triton.cdiv(max(length, candidates), _PLACES), requests)](
        *(columns[name] for name in (*found, "end", "length")), *found.values(), real, length, candidates,
        _PLACES,
    )  # fmt: skip
    return found | {"real": real}


@triton.jit
def _lay_out(
    category_at, action_at, scene_at, ad_at, ad_category_at, position_at, count_at, age_at, dwell_at,
    end_at, length_at, categories_at, actions_at, scenes_at, ads_at, ad_categories_at, positions_at,
    counts_at, ages_at, dwells_at, real_at, length, candidates, PLACES: tl.constexpr,
):  # fmt: skip
    request = tl.program_id(1).to(tl.int64)
    place = tl.program_id(0) * PLACES + tl.arange(0, PLACES)
    inside = place < length
    end = tl.load(end_at + request)
    source = end - length + place
    real = source >= end - tl.load(length_at + request)
    to, source = request * length + place, tl.maximum(source, 0)
    _copy(category_at, source, categories_at, to, inside)
    _copy(action_at, source, actions_at, to, inside)
    _copy(scene_at, source, scenes_at, to, inside)
    _copy(age_at, source, ages_at, to, inside)
    _copy(dwell_at, source, dwells_at, to, inside)
    tl.store(real_at + to, real, mask=inside)
    candidate, inside = request * candidates + place, place < candidates
    _copy(ad_at, candidate, ads_at, candidate, inside)
    _copy(ad_category_at, candidate, ad_categories_at, candidate, inside)
    _copy(position_at, candidate, positions_at, candidate, inside)
    _copy(count_at, request + place, counts_at, request + place, place == 0)


@triton.jit
def _copy(source_at, source, to_at, to, inside):
    """Numbers from one place to another, in the other's width."""
    x = tl.load(source_at + source, mask=inside, other=0)
    tl.store(to_at + to, x.to(to_at.dtype.element_ty), mask=inside)


def places(
    columns: tuple[Tensor, Tensor, Tensor, Tensor, Tensor], scenes: int, ages: int, segment: int
) -> Places:
    """Table rows of aligned behaviours, padded in front to whole segments.

    Args:
        columns: category, action, scene int64 and age_s (B x L,); real (B, L) bool, true from some place on.
        scenes: that there are. ages: buckets of age that there are, 0 where ages are not looked at.
        segment: behaviours in a segment.

    Returns:
        about (B, L') int32, category + 1; how (B, L') int32, 1 + (action x scenes + scene) x ages + bucket;
        both 0 where padded; and the first segment (B,) int32 that holds a behaviour, or their number.
    """
    real = columns[4]
    requests, length = real.shape
    segments = max(triton.cdiv(length, segment), 1)
    padded = segments * segment
    about, how = (torch.empty((requests, padded), dtype=torch.int32, device=real.device) for _ in range(2))
    first = torch.empty(requests, dtype=torch.int32, device=real.device)
    _places[(triton.cdiv(padded, _PLACES), requests)](
        *columns, about, how, first, length, padded, scenes, ages, segment, _PLACES
    )
    return about, how, first


@triton.jit
def _places(
    category_at, action_at, scene_at, age_at, real_at, about_at, how_at, first_at, length, padded,
    SCENES: tl.constexpr, AGES: tl.constexpr, SEGMENT: tl.constexpr, PLACES: tl.constexpr,
):  # fmt: skip
    request = tl.program_id(1)
    to = tl.program_id(0) * PLACES + tl.arange(0, PLACES)
    place = to - (padded - length)
    source = request.to(tl.int64) * length + place
    inside = (place >= 0) & (to < padded)
    real = tl.load(real_at + source, mask=inside, other=0).to(tl.int1)
    before = tl.load(real_at + source - 1, mask=inside & (place > 0), other=0).to(tl.int1)
    category = tl.load(category_at + source, mask=real, other=0)
    how = tl.load(action_at + source, mask=real, other=0) * SCENES
    how += tl.load(scene_at + source, mask=real, other=0)
    if AGES > 0:
        # Half powers of two of seconds, as `age_bucket` reads them from the bits of the square.
        age_s = tl.maximum(tl.load(age_at + source, mask=real, other=0.0), 1.0)
        bits = (age_s * age_s).to(tl.int32, bitcast=True)
        how = how * AGES + tl.minimum((bits >> 23) - 127, AGES - 1)
    out = request.to(tl.int64) * padded + to
    tl.store(about_at + out, tl.where(real, category + 1, 0).to(tl.int32), mask=to < padded)
    tl.store(how_at + out, tl.where(real, how + 1, 0).to(tl.int32), mask=to < padded)
    # Exactly one place of a request says where its history begins.
    begins = real & ~before
    never = (to == padded - 1) & ~real
    at = tl.where(never, padded, to) // SEGMENT
    tl.store(first_at + request + tl.zeros_like(to), at, mask=begins | never)
