"""The kernel that makes LASER's tokens gives what the plain form gives.

It runs on a GPU, or on a CPU where triton is installed and TRITON_INTERPRET is 1.
"""

from __future__ import annotations

import importlib.util
import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ranking_batches import config

from laser.attention.kernels import fused
from laser.models import build_model
from laser.models.laser import Laser
from laser.models.laser_branch import AbsorbedGather

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1" and importlib.util.find_spec("triton") is not None
DEVICE = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"
# The interpreter's exp(-x) overflows to infinity, as a GPU's does: a gate of 0.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in exp")
with_kernels = pytest.mark.skipif(
    DEVICE == "cpu" and not INTERPRETED, reason="needs a GPU, or triton and TRITON_INTERPRET=1"
)


@with_kernels
@settings(max_examples=15, deadline=None)
@given(
    width=st.sampled_from([16, 32]),
    ffn=st.sampled_from([1, 2]),
    heads=st.integers(1, 3),
    segment=st.integers(5, 100),
    segments=st.integers(1, 20),
    candidates=st.sampled_from([1, 2, 31, 33, 65]),
    empty=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_tokens_are_the_plain_ones(
    width: int, ffn: int, heads: int, segment: int, segments: int, candidates: int, empty: bool, seed: int
) -> None:
    branch, gather = made(width, ffn, heads, segment)
    draw = torch.Generator().manual_seed(seed)
    target = torch.randn(2, candidates, width, generator=draw)
    history = torch.randn(2, segments * segment, width + 8, generator=draw)
    history[1, : segments * segment if empty else segment // 2] = (
        0.0  # a request without behaviours, or with fewer
    )
    assert_same(branch, gather, target.to(DEVICE), history.to(DEVICE))


@with_kernels
@pytest.mark.parametrize(("width", "segment"), [(16, 10), (16, 128), (32, 100), (64, 32)])
def test_the_largest_sizes_that_fit_run(width: int, segment: int) -> None:
    branch, gather = made(width, 2, 2, segment)
    draw = torch.Generator().manual_seed(2)
    target = torch.randn(1, 40, width, generator=draw)
    history = torch.randn(1, 3 * segment, width + 8, generator=draw)
    assert_same(branch, gather, target.to(DEVICE), history.to(DEVICE))


@with_kernels
def test_two_thousand_candidates_have_the_plain_tokens() -> None:
    branch, gather = made(16, 2, 2, 10)
    draw = torch.Generator().manual_seed(1)
    target, history = torch.randn(1, 2000, 16, generator=draw), torch.randn(1, 20, 24, generator=draw)
    assert_same(branch, gather, target.to(DEVICE), history.to(DEVICE))


def made(width: int, ffn: int, heads: int, segment: int):  # type: ignore[no-untyped-def]
    model = build_model(config("laser", width, ffn=ffn, heads=heads, segment=segment), seed=1).to(DEVICE)
    assert isinstance(model, Laser)
    branch = model.branches[0]
    gather = branch.gather
    assert isinstance(gather, AbsorbedGather)
    torch.nn.init.constant_(gather.bias, -0.5)  # gates neither open nor closed
    return branch, gather


def assert_same(branch, gather, target, history) -> None:  # type: ignore[no-untyped-def]
    with torch.inference_mode():
        expected = branch._tokens(target, history, None)
        with fused("tf32x3"):
            assert gather.fuses(branch.feed.up.out_features)
            found = gather.with_net(target, history, branch.feed, branch.feed.norm)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < 2e-5


@pytest.mark.parametrize(
    ("options", "fuses"),
    [
        ({}, True),
        ({"gates": "softmax"}, False),
        ({"double_every": 2}, False),
        ({"segment": 200}, False),
        ({"ffn": 3}, False),
    ],
)
def test_what_the_kernel_is_not_made_for_is_left_to_torch(options: dict[str, object], fuses: bool) -> None:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("needs triton")
    model = build_model(config("laser", 16, **options), seed=1)
    assert isinstance(model, Laser)
    branch = model.branches[0]
    assert isinstance(branch.gather, AbsorbedGather)
    assert branch.gather.fuses(branch.feed.up.out_features) == fuses
