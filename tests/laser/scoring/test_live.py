"""Scores in service: right in every lane, with no history padded to a much longer one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from ranking_batches import KINDS, config, random_batch

from laser.models import build_model
from laser.out_of_memory import DeviceMemoryError
from laser.scoring import held
from laser.scoring.bucket import Bucket
from laser.scoring.live import LiveScorer
from laser.scoring.requests import Requests
from laser.scoring.runtime import Scorer
from laser.scoring.shapes import Shape, lanes, live_shape, live_shapes
from laser.scoring.snapshot import Snapshot, freeze

LENGTHS = [300, 0, 5, 140, 7, 69, 6, 1]
MODEL = build_model(config("laser"), seed=3)


def in_buckets(scorer: LiveScorer) -> LiveScorer:
    """As on a GPU."""
    scorer._in_buckets = True
    return scorer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("captured", [False, True])
def test_a_batch_in_lanes_scores_as_each_request_does_alone(kind: str, captured: bool) -> None:
    model = build_model(config(kind), seed=3)
    batch = random_batch(LENGTHS, candidate_count=np.array([4, 4, 1, 0, 4, 4, 4, 2]))
    scorer = LiveScorer(model, 300)
    scorer._in_buckets = captured
    scored = scorer.score(Requests.of(batch))
    assert np.allclose(scored.logits, Scorer(model).score(batch), atol=1e-5)
    assert scored.version == freeze(model).version


@given(
    st.lists(st.integers(0, 2000), min_size=1, max_size=64),
    st.sampled_from([1, 32, 500]),
    st.sampled_from(["cpu", "cuda"]),
)
def test_lanes_hold_every_request_once_and_never_cost_more_than_one(
    lengths: list[int], candidates: int, device: str
) -> None:
    given_lengths = np.array(lengths)
    parts = lanes(given_lengths, candidates, device)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(lengths)))
    longest = [int(given_lengths[part].max()) for part in parts]
    assert longest == sorted(longest, reverse=True)
    call = {"cpu": 1 << 15, "cuda": 1 << 20}[device] / candidates
    cost = sum(len(part) * most + call for part, most in zip(parts, longest, strict=True))
    assert cost <= len(lengths) * max(lengths) + call + 1e-6


def test_one_long_history_has_a_lane_of_its_own() -> None:
    parts = lanes(np.array([50, 50, 20_000, 40, 50]), 32, "cuda")
    assert [part.tolist() for part in parts] == [[2], [0, 1, 4, 3]]
    assert [part.tolist() for part in lanes(np.array([50, 49, 48]), 32, "cpu")] == [[0, 1, 2]]
    assert lanes(np.array([], np.int64), 32, "cpu") == []


@given(
    st.integers(1, 64), st.integers(0, 3000), st.integers(1, 3000), st.integers(1, 500), st.integers(1, 64)
)
@example(1, 0, 1017, 1, 1)  # halved by turns up and down: 1017, 509, 255, 128, 64
def test_every_shape_that_a_batch_asks_for_was_built_beforehand(
    requests: int, longest: int, full: int, candidates: int, most: int
) -> None:
    requests, longest = min(requests, most), min(longest, full)
    shape = live_shape(MODEL, requests, longest, full, candidates, "cuda")
    assert shape in live_shapes(MODEL, most, full, candidates, "cuda")
    assert shape.history >= longest
    assert shape.candidates >= candidates
    assert shape.requests & (shape.requests - 1) == 0


def test_out_of_memory_takes_a_smaller_bucket_while_serving_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fits = 2

    class Small(Bucket):
        def __init__(self, snapshot: Snapshot, shape: Shape) -> None:
            if shape.requests > fits:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
            super().__init__(snapshot, shape)

    monkeypatch.setattr(held, "Bucket", Small)
    batch = random_batch([60] * 7)
    scorer = in_buckets(LiveScorer(MODEL, 60))
    assert np.allclose(scorer.score(Requests.of(batch)).logits, Scorer(MODEL).score(batch), atol=1e-5)
    assert scorer.held.smaller == {Shape(8, 64, 8): Shape(2, 64, 8)}
    assert "taking 2 x 64 x 8" in caplog.text
    fits = 0
    with pytest.raises(DeviceMemoryError, match="with one request of 64 behaviours"):
        in_buckets(LiveScorer(MODEL, 60)).warm(4, 4)


def test_batches_under_way_keep_their_logits_and_their_version() -> None:
    scorer = in_buckets(LiveScorer(MODEL, 60))
    batches = [random_batch([60, 3, 9], seed=seed) for seed in range(4)]
    under_way = [scorer.begin(Requests.of(batch)) for batch in batches]
    other = freeze(build_model(config("laser"), seed=4))
    scorer.swap(other)
    after = scorer.score(Requests.of(batches[0]))
    for batch, begun in zip(batches, under_way, strict=True):
        scores = begun.scores()
        assert np.allclose(scores.logits, Scorer(MODEL).score(batch), atol=1e-5)
        assert scores.version == freeze(MODEL).version
    assert np.allclose(after.logits, Scorer(other).score(batches[0]), atol=1e-5)
    assert after.version == other.version
    with pytest.raises(ValueError, match="Make a new scorer"):
        scorer.swap(freeze(build_model(config("din"), seed=3)))


def test_a_warm_scorer_builds_nothing_while_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = in_buckets(LiveScorer(MODEL, 300))
    scorer.warm(8, 4)
    warmed = set(scorer.held.buckets)
    monkeypatch.setattr(held, "Bucket", None)
    for lengths in (LENGTHS, [300] * 5, [1], [64, 65]):
        scorer.score(Requests.of(random_batch(lengths)))
    assert warmed == set(scorer.held.buckets)
    assert warmed
