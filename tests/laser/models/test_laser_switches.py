"""LASER's switches: the low-dimensional form, the fusion's parts, branches of scenes and their merging."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ranking_batches import config, random_batch
from torch import Tensor

from laser.models import RankingModel, build_model
from laser.models.history import age_bucket
from laser.models.laser_branch import (
    CLOSED,
    OPEN,
    AbsorbedGather,
    AbsorbedReading,
    NarrowGather,
    NarrowReading,
)

LENGTHS = [40, 23, 0, 7]
D, E = 8, 16


def attended(model: RankingModel, **changes: Any) -> Tensor:
    batch = random_batch(LENGTHS, **changes)
    with torch.inference_mode():
        found = model.eval().attend(batch, model.category(batch.ad_category))
    assert found is not None
    return found


def laser(seed: int = 1, **options: Any) -> RankingModel:
    return build_model(config("laser", **{"segment": 5, **options}), seed)


def branch(model: RankingModel, i: int = 0) -> Any:
    return model.branches[i]  # type: ignore[index, union-attr]


def without_head(model: RankingModel) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict().items() if not name.startswith("head.")}


@pytest.mark.parametrize("kinds", [False, True])
@pytest.mark.parametrize("gates", ["sigmoid", "softmax", "softmax-sink"])
@pytest.mark.parametrize("widths", [(E, E), (E, None), (None, E)])
def test_the_low_dimensional_form_at_full_rank_is_the_absorbed_one(
    gates: str, widths: tuple[int | None, int | None], kinds: bool
) -> None:
    narrow = laser(query_width=widths[0], value_width=widths[1], gates=gates, gate_kinds=kinds)
    wide = laser(seed=2, gates=gates, gate_kinds=kinds)
    one, other = branch(narrow).gather, branch(wide).gather
    assert isinstance(one, NarrowGather)
    assert isinstance(other, AbsorbedGather)
    with torch.no_grad():
        other.query.copy_(torch.einsum("adk,aek->ade", one.query, one.key) * one.query.shape[2] ** -0.5)
        other.bias.copy_(one.bias)
        if kinds:
            one.kinds.copy_(torch.randn(2, E - D))
            other.kinds.copy_(one.kinds)
        out = one.out.weight.view(D, 2, -1)
        behind = out if one.value is None else torch.einsum("dav,aev->dae", out, one.value)
        other.value.weight.copy_(behind.reshape(D, -1))
        other.value.bias.copy_(one.out.bias)
    same = {k: v for k, v in narrow.state_dict().items() if ".gather." not in k}
    wide.load_state_dict(same, strict=False)
    torch.testing.assert_close(attended(narrow), attended(wide), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("query_width", [None, 16])
def test_heads_may_begin_apart_each_as_if_all_began_so(query_width: int | None) -> None:
    closed, open_ = {"gate_init": 10.0, "gate_bias": -6.0}, {"gate_init": 0.0, "gate_bias": 0.5}
    both = {name: [closed[name], open_[name]] for name in closed}
    made = [laser(query_width=query_width, gate_noise=0.0, **chosen) for chosen in (closed, open_, both)]
    each = [branch(model).gather for model in made]
    for head, alone in enumerate(each[:2]):
        assert each[2].bias[head] == alone.bias[head]
        if query_width is None:  # maps of low rank are turned at random
            torch.testing.assert_close(each[2].query[head], alone.query[head])
        else:
            size = alone.query[head].norm()
            torch.testing.assert_close(each[2].query[head].norm(), size, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_heads_left_to_themselves_begin_closed_and_open_in_turn(heads: int) -> None:
    in_turn = [(CLOSED, OPEN, CLOSED)[head] for head in range(heads)]
    said = laser(heads=heads, **{name: [start[name] for start in in_turn] for name in CLOSED})
    for one, other in zip(laser(heads=heads).parameters(), said.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("query_width", [None, 3])
def test_with_gate_kinds_a_gate_opens_by_kind_and_age_whatever_the_candidate(query_width: int | None) -> None:
    model = laser(gate_kinds=True, query_width=query_width, gate_bias=-1.0)
    gather, batch = branch(model).gather, random_batch([5])
    with torch.no_grad():
        gather.query.zero_()  # candidates say nothing
        history, _ = model.history(batch, model.category.weight)  # type: ignore[operator]
        target = model.category(batch.ad_category)
        shut = gather(target, history, None)
        gather.kinds.copy_(torch.randn(2, E - D))
        opened = gather(target, history, None)
    out = gather.value if query_width is None else gather.out
    of_kind = model.history.kind[batch.action * 3 + batch.scene]  # type: ignore[union-attr, index, operator]
    of_age = model.history.age[age_bucket(batch.age_s)]  # type: ignore[union-attr, index, operator]
    for kinds, tokens in ((torch.zeros(2, E - D), shut), (gather.kinds, opened)):
        gates = torch.sigmoid((of_kind + of_age) @ kinds.T - 1.0)  # (L, heads), by hand
        expected = out((gates.T @ history[0]).flatten())
        torch.testing.assert_close(tokens, expected.expand_as(tokens))


@pytest.mark.parametrize("sink", [True, False])
def test_reading_tokens_with_keys_at_full_rank_is_the_absorbed_reading(sink: bool) -> None:
    torch.manual_seed(3)
    one, other = NarrowReading(D, 2, D, sink), AbsorbedReading(D, 2, sink)
    with torch.no_grad():
        query, key, value = (m.weight.view(2, D, D) for m in (one.query, one.key, one.value))
        other.query.copy_(torch.einsum("akd,ake->ade", query, key) * D**-0.5)
        other.value.weight.copy_(torch.einsum("oav,ave->oae", one.out.weight.view(D, 2, D), value).flatten(1))
        other.value.bias.copy_(one.out.bias)
    target, tokens = torch.randn(3, 4, D), torch.randn(3, 4, 6, D)
    filled = torch.tensor([[True] * 6, [False] * 2 + [True] * 4, [False] * 6])
    for real in (filled, None):
        read = one(target, tokens, real)
        torch.testing.assert_close(read, other(target, tokens, real), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [4, 8, 20])
def test_low_dimensional_gates_begin_near_the_start_of_the_absorbed_ones(width: int) -> None:
    gather = branch(laser(query_width=width, gate_init=10.0, gate_noise=0.0)).gather
    start = torch.einsum("adk,aek->ade", gather.query, gather.key) * width**-0.5
    expected = 10.0 * torch.eye(D, E)
    if width >= D:
        torch.testing.assert_close(start, expected.expand(2, -1, -1), rtol=1e-4, atol=1e-4)
    else:  # a projection: right on average over directions
        assert float(start.detach().diagonal(dim1=1, dim2=2).mean()) == pytest.approx(10.0, rel=1e-4)


def test_each_part_of_the_fusion_is_what_all_parts_hold_of_it() -> None:
    every = laser(recent=3)
    whole = attended(every)
    assert whole.shape[2] == 5 * D
    places = {"global": slice(0, D), "strongest": slice(D, 2 * D), "newest": slice(2 * D, 5 * D)}
    for part, place in places.items():
        alone = laser(seed=5, recent=3, fusion=[part])
        missing = alone.load_state_dict(without_head(every), strict=False).missing_keys
        assert not [name for name in missing if name.startswith("branches")]
        torch.testing.assert_close(attended(alone), whole[..., place])
    assert not branch(laser(fusion=["strongest"])).layers
    assert torch.equal(attended(laser(fusion=False)), attended(laser(fusion=["global"])))
    assert torch.equal(
        attended(laser(fusion=True)), attended(laser(fusion=["newest", "strongest", "global"]))
    )


def test_a_branch_reads_its_own_scenes_by_its_own_segments() -> None:
    both = laser(branches=[[0], [1, 2]], segment=[5, 8], recent=[1, 2], fusion=["newest"])
    first = laser(seed=2, branches=[[0]], segment=5, recent=1, fusion=["newest"])
    second = laser(seed=2, branches=[[1, 2]], segment=8, recent=2, fusion=["newest"])
    state = without_head(both)
    first.load_state_dict({k: v for k, v in state.items() if ".1." not in k}, strict=False)
    moved = {k.replace("branches.1.", "branches.0."): v for k, v in state.items() if "branches.0." not in k}
    second.load_state_dict(moved, strict=False)
    torch.testing.assert_close(attended(both)[..., :D], attended(first))
    torch.testing.assert_close(attended(both)[..., D:], attended(second))


def test_merged_branches_are_the_mean_or_the_candidates_shares_of_the_branches_side_by_side() -> None:
    options = {"branches": [[0], [1, 2]], "fusion": ["strongest"]}
    side_by_side = laser(**options)
    one, two = attended(side_by_side).split(D, dim=2)
    merged = {merge: laser(seed=7, merge=merge, **options) for merge in ("mean", "gated")}
    for model in merged.values():
        model.load_state_dict(without_head(side_by_side), strict=False)
    torch.testing.assert_close(attended(merged["mean"]), (one + two) / 2)
    gated = merged["gated"]
    with torch.inference_mode():
        batch = random_batch(LENGTHS)
        shares = gated.share(gated.category(batch.ad_category)).softmax(dim=2)  # type: ignore[operator]
    expected = shares[..., :1] * one + shares[..., 1:] * two
    torch.testing.assert_close(attended(gated), expected)
    assert shares.std() > 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fusion": ["latest"]}, "fusion is .* expected true, false, or some of"),
        ({"fusion": []}, "expected true, false, or some of"),
        ({"double_every": 0}, "double_every is 0, expected a whole number of 1 or more, or null"),
        ({"wide": "max"}, 'wide is \'max\', expected "sum" or "mean"'),
        ({"double_every": True}, "double_every is True, expected a whole number"),
        ({"double_every": 2.0}, "double_every is 2.0, expected a whole number"),
        ({"branches": [[0], [1]], "segment": [5]}, "segment has 1 entries, expected one for each of 2"),
        ({"branches": [[0], [1]], "recent": [1, 2], "merge": "mean"}, "expected one width for merge 'mean'"),
        ({"merge": "max"}, "merge is 'max', expected one of"),
        ({"branches": [[0], [3]]}, "branches is .* expected groups of scenes below 3, none of them twice"),
        ({"branches": [[0, 1], [1]]}, "none of them twice"),
        ({"branches": [[0], []]}, "expected groups of scenes"),
        ({"branches": []}, "expected groups of scenes"),
        ({"branches": [0, 1]}, "expected groups of scenes"),
        ({"gate_bias": [0.0]}, "gate_bias has 1 entries, expected one for each of 2 heads"),
    ],
)
def test_switches_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        laser(**options)
