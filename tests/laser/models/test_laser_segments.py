"""LASER's segments that double in width, and its variants with fewer parts."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ranking_batches import config, random_batch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from laser.attention.segments import Segments
from laser.batch import RankingBatch
from laser.examples import ExampleSet
from laser.models import build_model
from laser.models.laser import Laser
from laser.models.laser_branch import AbsorbedGather, Branch, NarrowGather
from laser.sources import HostSource
from laser.training.config import TrainConfig
from laser.training.loop import train

D, E, C = 6, 14, 3
everywhere = st.integers(1, 12), st.none() | st.integers(1, 9), st.integers(0, 900)


def borders(segments: Segments, longest: int) -> list[int]:
    """Behaviours newer than each end of a segment, from the newest on."""
    newest_first = segments.runs(segments.padded(longest))[::-1]
    widths = [width for width, behaviours in newest_first for _ in range(behaviours // width)]
    return [0, *accumulate(widths)]


def test_five_thousand_behaviours_are_five_hundred_segments_or_forty_eight() -> None:
    assert Segments(10).runs(5000) == [(10, 5000)]
    doubling = Segments(10, double_every=8)
    assert doubling.padded(5000) == 5040
    newest_first = [(80, 10), (160, 20), (320, 40), (640, 80), (1280, 160), (2560, 320)]
    assert doubling.runs(5040) == [(width, length) for length, width in newest_first][::-1]
    assert len(borders(doubling, 5000)) - 1 == 48


@given(*everywhere)
def test_only_the_oldest_segment_may_be_partly_filled(width: int, every: int | None, longest: int) -> None:
    segments = Segments(width, every)
    ends = borders(segments, longest)
    assert ends[-1] == segments.padded(longest) == segments.padded(ends[-1])
    assert ends[-2] < max(longest, 1) <= ends[-1]
    widths = np.diff(ends)
    assert widths.tolist() == [width << (0 if every is None else i // every) for i in range(len(widths))]


@given(*everywhere, st.integers(0, 900))
def test_a_behaviours_segment_does_not_depend_on_how_many_are_older(
    width: int, every: int | None, longest: int, more: int
) -> None:
    segments = Segments(width, every)
    few = borders(segments, longest)
    assert borders(segments, longest + more)[: len(few)] == few


def branch(**options: Any) -> Branch:
    torch.manual_seed(3)
    return Branch(D, {**Laser.OPTIONS, "segment": 3, "double_every": 2, **options}).double()


def looped(
    gather: AbsorbedGather | NarrowGather, target: Tensor, history: Tensor, real: Tensor, mean: bool
) -> Tensor:
    """STA behaviour by behaviour: (B, S, C, D), the tokens of segments of 3, 3, 6, 6, 12 ... from the end."""
    rows = []
    for b in range(len(history)):
        ends, tokens = borders(Segments(3, 2), history.shape[1]), []
        for newer, older in pairwise(ends):
            places = range(history.shape[1] - older, history.shape[1] - newer)
            inside = [place for place in places if real[b, place]]
            share = 3 / (older - newer) if mean else 1.0
            tokens.append([one_token(gather, t, history[b, inside], share) for t in target[b]])
        rows.append(torch.stack([torch.stack(token) for token in tokens[::-1]]))
    return torch.stack(rows)


def one_token(gather: AbsorbedGather | NarrowGather, t: Tensor, behaviours: Tensor, share: float) -> Tensor:
    heads = []
    out = gather.value if isinstance(gather, AbsorbedGather) else gather.out
    for a in range(len(gather.bias)):
        query, values = t @ gather.query[a], behaviours
        if isinstance(gather, NarrowGather):
            query = gather.key[a] @ query * gather.query.shape[2] ** -0.5
            if gather.value is not None:
                values = behaviours @ gather.value[a]
        scores = behaviours @ query
        powers = (scores + gather.bias[a]).exp()
        gates = {
            "sigmoid": (scores + gather.bias[a]).sigmoid(),
            "softmax": scores.softmax(dim=0),
            "softmax-sink": powers / (1 + powers.sum()),
        }[gather.gates]
        heads.append(share * (gates[:, None] * values).sum(dim=0))
    token: Tensor = out(torch.cat(heads))  # type: ignore[operator]
    return token


@pytest.mark.parametrize(
    ("gates", "wide"),
    [
        ("sigmoid", "sum"),
        ("sigmoid", "mean"),
        ("softmax", "sum"),
        ("softmax", "mean"),
        ("softmax-sink", "sum"),
    ],
)
@pytest.mark.parametrize("widths", [{}, {"query_width": 4, "value_width": 5}, {"query_width": 4}], ids=str)
def test_doubling_segments_are_a_loop_over_segments(gates: str, wide: str, widths: dict[str, int]) -> None:
    """Of softmax gates nothing is divided: a segment has one to share out, whatever its width."""
    made = branch(gates=gates, wide=wide, gate_bias=-1.0, gate_init=1.0, **widths)
    real = torch.stack([torch.arange(30) >= 30 - length for length in (30, 23, 4, 0)])
    target = torch.randn(4, C, D, dtype=torch.float64, requires_grad=True)
    raw = torch.randn(4, 30, E, dtype=torch.float64, requires_grad=True)
    history = raw * real.unsqueeze(2)
    gather: Any = made.gather
    fast = gather(target, history, real)
    plain = looped(gather, target, history, real, wide == "mean" and gates == "sigmoid")
    assert fast.shape == (4, 5, C, D)
    torch.testing.assert_close(fast, plain, rtol=1e-10, atol=1e-12)
    learned = [
        weights for name, weights in made.gather.named_parameters() if gates == "sigmoid" or name != "bias"
    ]
    direction = torch.randn_like(plain)
    both = (
        torch.autograd.grad(x, [target, raw, *learned], direction, retain_graph=True) for x in (fast, plain)
    )
    for one, other in zip(*both, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
    ends = borders(Segments(3, 2), 30)
    expected = [
        [bool(real[b, 30 - older : 30 - newer].any()) for newer, older in pairwise(ends)] for b in range(4)
    ]
    assert made.segments.filled(real).flip(1).tolist() == expected


@pytest.mark.parametrize(
    "options",
    [{}, {"gates": "softmax"}, {"wide": "mean"}, {"query_width": 4, "value_width": 4, "global_width": 4}],
)
def test_a_history_reads_the_same_whatever_the_longest_of_its_batch(options: dict[str, Any]) -> None:
    """17 behaviours fill 2, 2, 4, 4 and some of 8 places; neighbours add segments of up to 64."""
    model = build_model(config("laser", segment=2, double_every=2, **options), seed=1).double().eval()
    found, layouts = [], set()
    for beside in (0, 17, 18, 30, 101, 250):
        batch = beside_another(beside)
        layouts.add(len(borders(Segments(2, 2), batch.longest)))
        with torch.inference_mode():
            attended = model.attend(batch, model.category(batch.ad_category))
        assert attended is not None
        found.append(attended[0])
    assert len(layouts) == 4
    assert found[0].abs().max() > 0.1
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0, atol=1e-10)


def beside_another(length: int) -> RankingBatch:
    """Always the same first request, with 17 behaviours, and one with `length`."""
    one, other = random_batch([17], seed=1), random_batch([length], seed=2)
    joined = {
        name: torch.cat([value, getattr(other, name)])
        for name, value in vars(one).items()
        if isinstance(value, Tensor) and name != "offsets"
    }
    return RankingBatch(**joined, offsets=torch.tensor([0, 17, 17 + length]))


def test_tied_layers_are_layers_with_equal_weights() -> None:
    tied = build_model(config("laser", segment=5, layers=3, tied=True), seed=1)
    apart = build_model(config("laser", segment=5, layers=3), seed=2)
    state = tied.state_dict()
    for name in apart.state_dict():
        for copy in (1, 2):
            if f".layers.{copy}." in name:
                state[name] = state[name.replace(f".layers.{copy}.", ".layers.0.")]
    apart.load_state_dict(state)
    batch = random_batch([40, 23, 0, 7])
    scores = [model(batch) for model in (tied, apart)]
    assert torch.equal(*scores)
    for score in scores:
        score.square().sum().backward()
    of_apart = {name: weights.grad for name, weights in apart.named_parameters()}
    names = [name for name, _ in tied.named_parameters() if ".layers.0." in name]
    assert len(names) == 11
    for name in names:
        three = [of_apart[name.replace(".layers.0.", f".layers.{i}.")] for i in range(3)]
        expected = torch.stack([g for g in three if g is not None]).sum(dim=0)
        torch.testing.assert_close(tied.get_parameter(name).grad, expected, rtol=1e-4, atol=1e-5)


SMALLER: list[dict[str, Any]] = [
    {"ffn": 0},
    {"layers": 1, "fusion": ["strongest", "newest"]},
    {"ffn": 0, "layers": 1, "fusion": ["strongest", "newest"]},
    {"ffn": 0, "layers": 1, "double_every": 1},
    {"layers": 3, "tied": True, "double_every": 2, "segment": 4, "wide": "mean"},
]


@pytest.mark.parametrize("options", SMALLER, ids=str)
def test_variants_with_fewer_parts_learn(
    small_world: tuple[ExampleSet, ExampleSet], options: dict[str, Any]
) -> None:
    examples = small_world[0].take(np.arange(256))
    model = train(config("laser", **options), TrainConfig(history=60, batch=64, epochs=3), examples, 1)
    start = build_model(config("laser", **options), 1)
    source = HostSource(examples, torch.device("cpu"))
    batch, clicks = source.batch(np.arange(256), 60), source.clicks(np.arange(256))
    with torch.inference_mode():
        before, after = (
            float(binary_cross_entropy_with_logits(one(batch), clicks)) for one in (start, model)
        )
    assert after < 0.7 * before
    for name, weights in model.named_parameters():
        assert not torch.equal(weights, start.get_parameter(name)), name
