"""What kernels made for serving give is what the plain forms give."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreted import DEVICE, with_kernels
from ranking_batches import config, random_batch
from torch import Tensor

from laser.attention import activation_unit
from laser.attention.activation_unit import ActivationUnit, activation_unit_plain
from laser.attention.candidates import softmax_candidates, softmax_history
from laser.attention.kernels import Dots, fused
from laser.attention.shared import read_absorbed, read_with_keys
from laser.batch import RankingBatch
from laser.models import RankingModel, build_model
from laser.models.laser import Laser
from laser.models.laser_branch import Branch
from laser.models.laser_serving import serve
from laser.scoring.block import Filling, Layout
from laser.scoring.requests import Requests
from laser.scoring.shapes import Shape

# The interpreter's exp(-x) overflows to infinity, as a GPU's does: a gate of 0.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in exp")
FORMS: list[dict[str, Any]] = [
    {},
    {"query_width": 4, "value_width": 4, "global_width": 4},
    {"query_width": 5, "time_gap": False, "heads": 1},
    {"fusion": ["global", "newest"], "layers": 1, "heads": 3, "global_heads": 3},
    {"sink": False, "tied": True, "global_heads": 1},
    {"branches": [[0], [1, 2]], "ffn": 1, "gate_kinds": True},
    {"query_width": 4, "gate_kinds": True},
]


def made(kind: str, width: int = 16, **options: object) -> RankingModel:
    """A model away from a beginning that hides what a history says."""
    model = build_model(config(kind, width, **options), seed=1).to(DEVICE).eval()
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.1 * torch.randn(weights.shape, generator=draw).to(DEVICE)
    return model


def far(one: Tensor, other: Tensor) -> float:
    """The largest difference, in units of the largest number if that is above 1."""
    return float((one - other).abs().max() / other.abs().max().clamp(min=1.0))


def far_served(model: RankingModel, batch: RankingBatch, dots: Dots = "tf32x3") -> float:
    """How far what LASER's kernels read is from what its plain form reads."""
    assert isinstance(model, Laser)
    with torch.inference_mode():
        target = model.category(batch.ad_category)
        expected = model.attend(batch, target)
        found = []
        for scenes, branch in zip(model.scenes, model.branches, strict=True):
            with fused(dots):
                served = serve(branch, model.history, model.category.weight)  # type: ignore[arg-type]
                assert served is not None
                found.append(served(batch if scenes is None else batch.only_scenes(scenes), target))
    return far(torch.cat(found, dim=2), expected)


@with_kernels
@settings(max_examples=8)
@given(
    form=st.sampled_from(FORMS),
    width=st.sampled_from([16, 32]),
    segment=st.integers(5, 100),
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=2),
    candidates=st.sampled_from([1, 2, 17]),
)
def test_served_laser_reads_what_the_plain_one_reads(
    form: dict[str, Any], width: int, segment: int, lengths: list[int], candidates: int
) -> None:
    model = made("laser", width, **{"segment": segment, **form})
    assert far_served(model, random_batch(lengths, candidates).to(DEVICE)) < 2e-5


@with_kernels
@pytest.mark.parametrize(
    ("width", "ffn", "segment"), [(16, 2, 128), (64, 2, 32), (128, 2, 10), (128, 4, 100)]
)
def test_sizes_from_small_to_large_are_read_alike(width: int, ffn: int, segment: int) -> None:
    model = made("laser", width, segment=segment, ffn=ffn, layers=1)
    assert far_served(model, random_batch([segment + 3], 5).to(DEVICE)) < 2e-5


@with_kernels
def test_two_thousand_candidates_have_the_plain_tokens() -> None:
    from laser.attention.kernels.segments import segment_tokens

    model, batch = made("laser", segment=10, heads=1), random_batch([7], 2000).to(DEVICE)
    assert isinstance(model, Laser)
    branch = model.branches[0]
    assert isinstance(branch, Branch)
    with torch.inference_mode(), fused("tf32x3"):
        target = model.category(batch.ad_category)
        history, rows = model.history(batch, model.category.weight, 10)
        served = serve(branch, model.history, model.category.weight)
        assert served is not None
        found = segment_tokens(target, served.places(batch), 10, served.tables, served.net)
        assert branch.feed is not None
        plain = branch.feed(branch.gather(target, history, rows > 0)).transpose(1, 2)
        assert far(found, plain) < 2e-5


@with_kernels
def test_a_long_history_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from laser.attention.kernels import readings

    monkeypatch.setattr(readings, "_A_PART", 3)
    model = made("laser", segment=5, layers=2)
    assert far_served(model, random_batch([5 * 8, 0, 9], 2).to(DEVICE)) < 2e-5


@with_kernels
def test_half_precision_stays_near() -> None:
    assert far_served(made("laser"), random_batch([70]).to(DEVICE), "float16") < 5e-3


@pytest.mark.parametrize(
    ("width", "options"),
    [
        (16, {"gates": "softmax"}),
        (16, {"double_every": 2}),
        (16, {"ffn": 3}),
        (16, {"ffn": 0}),
        (16, {"norm": False}),
        (16, {"fusion": ["newest"]}),
        (24, {}),
    ],
)
def test_what_the_kernels_are_not_made_for_is_left_to_torch(width: int, options: dict[str, object]) -> None:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("needs triton")
    model = build_model(config("laser", width, **options), seed=1)
    assert isinstance(model, Laser)
    model.multiply_out()
    assert model._served == [None]


@with_kernels
def test_the_fused_head_is_the_plain_one() -> None:
    model = made("laser")
    batch = random_batch([3, 0, 9], candidates=33).to(DEVICE)
    attended = torch.randn(3, 33, model.attended, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    with torch.inference_mode():
        expected = model.head(batch, attended)
        with fused("tf32x3"):
            found = model.head._fused(batch, attended)
    assert far(found, expected) < 1e-6


@with_kernels
@settings(max_examples=5)
@given(
    length=st.integers(1, 70),
    empty=st.integers(0, 70),
    rows=st.sampled_from([1, 5]),
    width=st.sampled_from([4, 12, 36]),
    part=st.sampled_from([32, 2048]),
    seed=st.integers(0, 1000),
)
def test_fused_softmax_attention_is_the_plain_one(
    length: int, empty: int, rows: int, width: int, part: int, seed: int
) -> None:
    from laser.attention.kernels import softmax_attention as kernel

    draw = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw).to(DEVICE)

    real = torch.arange(length) >= torch.tensor([[0], [min(empty, length)], [length]])
    real = real.to(DEVICE)
    k, v, q = (drawn(3, length, 2, width).transpose(1, 2) for _ in range(3))
    own_k, own_v, own_q = (drawn(3, 2, rows, width) for _ in range(3))
    bias, heads_last = drawn(2), [x.transpose(1, 2) for x in (own_q, k, v)]
    query, history = drawn(3, rows, 1, width), drawn(3, length, width)
    scale, shown = width**-0.5, real[:, None, :, None]
    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "_A_PART", part)
        plain = [
            softmax_history(q, k, v, real) * shown,
            softmax_candidates(own_q, own_k, own_v, k, v, real, bias),
            read_with_keys(heads_last[0], heads_last[1], heads_last[2], real, bias),
            read_absorbed(query, history, None),
        ]
        with fused("tf32x3"):
            attend, one = kernel.softmax_attention, history.unsqueeze(1)
            found = [
                attend(q, k, v, real, scale) * shown,
                attend(own_q, k, v, real, scale, own=kernel.Own(own_k, own_v, bias), few=True),
                attend(own_q, k, v, real, 1.0, sink=bias, few=True).transpose(1, 2),
                attend(query.transpose(1, 2), one, one, None, 1.0, few=True).transpose(1, 2),
            ]
    for got, expected in zip(found, plain, strict=True):
        assert far(got, expected) < 5e-6


@with_kernels
@pytest.mark.parametrize(
    ("width", "seen", "hidden", "length"), [(16, 24, 32, 100), (4, 12, 16, 1), (64, 72, 64, 130)]
)
def test_the_fused_activation_unit_is_the_plain_one(
    width: int, seen: int, hidden: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    unit = ActivationUnit(width, seen, hidden, 6.0, -3.0).to(DEVICE)
    target, history = torch.randn(2, 5, width).to(DEVICE), torch.randn(2, length, seen).to(DEVICE)
    history[1, : length // 2] = 0.0
    with torch.inference_mode():
        expected = activation_unit_plain(unit, target, history)
        monkeypatch.setattr(activation_unit, "fusing", lambda x: True)
        with fused("tf32x3"):
            assert far(unit(target, history), expected) < 2e-6


@with_kernels
@pytest.mark.parametrize("lengths", [[5, 0, 300], [1], [280, 281, 17]])
@pytest.mark.parametrize(("ages", "segment"), [(64, 10), (0, 7)])
def test_places_are_laid_out_as_torch_lays_them_out(lengths: list[int], ages: int, segment: int) -> None:
    from laser.attention.kernels.placing import lay_out, places

    longest = 280
    requests = Requests.of(random_batch(lengths)).take(np.arange(len(lengths)), longest)
    model = made("laser", segment=segment, time_gap=ages > 0)
    layout = Layout(Shape(len(lengths) + 1, longest, 4), model.config)  # one place more than requests
    filling = Filling(layout, pinned=False)
    filling.fill(requests)
    columns = {name: column.to(DEVICE) for name, column in filling.columns.items()}
    plain = layout.aligned(columns)
    found = lay_out(columns, longest, 4)
    real = plain.real.flatten()
    assert torch.equal(found.pop("real"), plain.real)
    for name, column in found.items():
        shown = real if len(column) == len(real) else slice(None)
        assert torch.equal(column[shown], getattr(plain, name)[shown])
    assert isinstance(model, Laser)
    served = serve(model.branches[0], model.history, model.category.weight)  # type: ignore[arg-type]
    assert served is not None
    laid = plain.category, plain.action, plain.scene, plain.age_s, plain.real
    for got, expected in zip(places(laid, 3, ages, segment), served.places(plain), strict=True):
        assert torch.equal(got, expected)
