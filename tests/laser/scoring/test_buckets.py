"""Scores in fixed shapes: right, and the same bits whoever shares the batch."""

from __future__ import annotations

import logging
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ranking_batches import KINDS, config, random_batch
from torch import Tensor

from benchmarks.serving.equal_bits import beside, differing, drawn_requests
from laser.batch import RankingBatch
from laser.models import ModelConfig, RankingModel, build_model
from laser.models.din import Din
from laser.out_of_memory import DeviceMemoryError
from laser.scoring import held
from laser.scoring.bucket import Bucket
from laser.scoring.buckets import BucketScorer
from laser.scoring.requests import Requests
from laser.scoring.runtime import Scorer
from laser.scoring.shapes import Shape, plan
from laser.scoring.snapshot import ScoreError, Snapshot, freeze

LENGTHS = [300, 0, 5, 140, 70, 69, 301, 1, 150, 151, 10, 9, 8, 7, 6, 5, 4, 3]
CUT = np.array([1] * 9 + [4] * 8 + [0])
MODELS = st.one_of(
    st.sampled_from([(kind, ()) for kind in KINDS]),
    st.sampled_from(
        [
            ("laser", (("branches", [[0], [1, 2]]), ("double_every", 3))),
            ("laser", (("query_width", 4), ("value_width", 4), ("global_width", 4))),
            ("laser", (("gates", "softmax-sink"), ("short", 9))),
            ("vista", (("refresh_s", 21_600.0), ("quantise", "int8"))),
            ("vista", (("target_attention", "quasi-linear"), ("target_layers", 2))),
            ("laser", (("gate_kinds", True),)),
            ("laser", (("gate_kinds", True), ("query_width", 4))),
            ("twin", (("value_width", 6), ("found", 20))),
            ("vql", (("form", "exact"),)),
            ("sim", (("search", "hard"),)),
            ("hstu", (("variant", "production"),)),
        ]
    ),
)


@settings(max_examples=30)
@given(
    model=MODELS,
    width=st.sampled_from([4, 8, 16]),
    history=st.integers(1, 200),
    candidates=st.integers(1, 40),
    requests=st.integers(2, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_requests_bits_depend_on_no_neighbour_no_place_and_no_scorer(
    model: tuple[str, tuple[tuple[str, object], ...]],
    width: int,
    history: int,
    candidates: int,
    requests: int,
    seed: int,
) -> None:
    kind, options = model
    rng = np.random.default_rng(seed)
    made = build_model(config(kind, width, **dict(options)), seed=1)
    for weights in made.parameters():  # away from a beginning that hides what a history says
        weights.data += 0.2 * torch.from_numpy(rng.standard_normal(tuple(weights.shape), np.float32))
    # Some histories are longer than what the step reads.
    lengths = rng.integers(history + history // 4 + 1, size=requests)
    drawn = drawn_requests(made.config, lengths, candidates, rng)
    assert not any(differing(lambda: BucketScorer(made), history, drawn, rng).values())


@pytest.mark.parametrize("kind", [*KINDS, "counts"])
def test_fixed_shapes_score_as_batches_of_any_shape_do(kind: str) -> None:
    model = build_model(config(kind), seed=3)
    batch = random_batch(LENGTHS, candidate_count=CUT)
    scored = BucketScorer(model).score(Requests.of(batch), 280)
    assert np.allclose(scored.logits, Scorer(model).score(batch.newest(280)), atol=1e-5)
    assert (np.isneginf(scored.logits) == (np.arange(4) >= CUT[:, None])).all()
    assert scored.version == freeze(model).version


def test_what_earlier_batches_left_in_a_block_is_never_read() -> None:
    model, rng = build_model(config("laser"), seed=3), np.random.default_rng(5)
    few = drawn_requests(model.config, np.array([3, 0, 7]), 4, rng)
    loud = drawn_requests(model.config, np.full(16, 64), 4, rng)
    for scorer in (BucketScorer(model), BucketScorer(model)):
        first = scorer.score(few, 64).logits
        scorer.score(loud, 64)
        (bucket,) = scorer.held.buckets.values()
        for filling in bucket._fillings:  # no id has a row there, no age is a number
            filling.block.view(torch.uint8)[: 64 * 16 * 4].fill_(0xFF)
            filling.columns["age_s"].fill_(float("nan"))
        assert np.array_equal(scorer.score(few, 64).logits, first)


def test_a_shape_follows_from_the_step_and_the_requests_own_length() -> None:
    model = build_model(config("laser"), seed=3)
    planned = plan(model, 1000, 32, "cpu")
    assert planned.shapes == (Shape(64, 256, 32), Shape(32, 504, 32), Shape(16, 1000, 32))
    served = planned.of(np.array([0, 256, 257, 504, 505, 1000, 5000]))
    assert served.tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert plan(model, 50, 31, "cpu").shapes == (Shape(64, 56, 32),)
    assert plan(model, 25, 8, "cpu").shapes == (Shape(128, 32, 8),)
    assert plan(model, 5000, 200, "cuda").shapes[-1] == Shape(16, 5000, 200)
    # A self-attention's scores grow with the square of the history.
    assert plan(build_model(config("hstu"), 3), 1000, 32, "cpu").shapes[-1].requests == 1


def test_swapped_weights_score_at_once_and_say_which_they_are() -> None:
    one, other = build_model(config("laser"), seed=3), build_model(config("laser"), seed=4)
    requests, scorer = Requests.of(random_batch(LENGTHS)), BucketScorer(one)
    before = scorer.score(requests, 280)
    for old, new in zip(one.parameters(), other.parameters(), strict=True):
        old.data.copy_(new.data)
    assert np.array_equal(scorer.score(requests, 280).logits, before.logits)
    scorer.swap(freeze(one))
    after, fresh = scorer.score(requests, 280), BucketScorer(other).score(requests, 280)
    assert np.array_equal(after.logits, fresh.logits)
    assert after.version == fresh.version != before.version
    with pytest.raises(ValueError, match="Make a new scorer"):
        scorer.swap(freeze(build_model(config("din"), seed=3)))


class Older(Din):
    """A user's own model, which says nothing of fixed shapes and needs lengths."""

    seen: ClassVar[list[int]] = []

    def attend(self, batch: RankingBatch, target: Tensor) -> Tensor:
        self.seen.append(int(batch.lengths.max()))
        return super().attend(batch, target)


def test_a_model_without_fixed_shapes_is_scored_request_by_request_and_said_to_be(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    model = Older(ModelConfig(f"{__name__}:Older", 30, 50, 3, 3, 8))
    requests, scorer = Requests.of(random_batch([9, 0, 3])), BucketScorer(model)
    assert scorer.notes["request by request"] == "Older does not set FIXED_SHAPES"
    assert "scored one by one" in caplog.text
    together = scorer.score(requests, 5).logits
    assert Older.seen == [5, 0, 3]
    assert np.array_equal(scorer.score(requests.take(np.array([2]), 5), 5).logits[0], together[2])


def test_out_of_memory_takes_smaller_batches_and_gives_up_at_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fits = 4

    class Small(Bucket):
        def __init__(self, snapshot: Snapshot, shape: Shape) -> None:
            if shape.requests > fits:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
            super().__init__(snapshot, shape)

    monkeypatch.setattr(held, "Bucket", Small)
    model = build_model(config("laser"), seed=3)
    requests, scorer = Requests.of(random_batch(LENGTHS)), BucketScorer(model)
    scored = scorer.score(requests, 60).logits
    assert np.allclose(scored, Scorer(model).score(random_batch(LENGTHS).newest(60)), atol=1e-5)
    assert scorer.notes["shapes"] == ["4 x 64 x 8"]
    assert "out of memory for batches of 16 x 64 x 8, taking 8 x 64 x 8" in caplog.text
    fits = 0
    with pytest.raises(DeviceMemoryError, match="with one request of 64 behaviours and 8 candidates"):
        BucketScorer(model).score(requests, 60)


def test_buckets_used_longest_ago_are_let_go_and_score_the_same_when_built_again() -> None:
    model = build_model(config("din"), seed=3)
    requests, scorer = Requests.of(random_batch(LENGTHS)), BucketScorer(model)
    expected = {history: scorer.score(requests, history).logits for history in (20, 30, 40)}
    kept = [bucket.bytes for bucket in scorer.held.buckets.values()]
    limited = BucketScorer(model, memory_bytes=kept[0] + kept[1])
    for history in (20, 30, 40, 30, 20):
        assert np.array_equal(limited.score(requests, history).logits, expected[history])
    assert list(limited.held.buckets) == [Shape(128, 32, 8), Shape(128, 24, 8)]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("category", 30, "category holds 30, expected ids below 30"),
        ("ad", -1, "ad holds -1"),
        ("age_s", -0.5, "age_s spans -0.5"),
        ("age_s", float("nan"), "expected finite seconds"),
        ("propensity", float("inf"), "propensity holds a value that is not finite"),
        ("candidate_count", 5, "candidate_count holds 5, expected ids below 5"),
    ],
)
def test_what_the_model_cannot_read_is_refused(column: str, value: float, message: str) -> None:
    requests = Requests.of(random_batch([5, 2]))
    getattr(requests, column).reshape(-1)[-1] = value
    with pytest.raises(ScoreError, match=message):
        BucketScorer(build_model(config("laser"), seed=3)).score(requests, 10)


def test_requests_are_taken_cut_and_joined_whole() -> None:
    requests = Requests.of(random_batch([5, 0, 9, 2]))
    taken = requests.take(np.array([2, 0, 3]), 4)
    assert taken.lengths.tolist() == [4, 4, 2]
    assert np.array_equal(taken.category[:4], requests.category[10:14][-4:])
    assert np.array_equal(taken.ad, requests.ad[[2, 0, 3]])
    both = beside(requests.take(np.arange(2), 9), requests.take(np.arange(2, 4), 9))
    assert all(np.array_equal(getattr(both, name), column) for name, column in vars(requests).items())
    with pytest.raises(ValueError, match="offsets run from 0 to 15 over 16 behaviours"):
        Requests(**{**vars(requests), "offsets": np.array([0, 5, 5, 14, 15])})
    with pytest.raises(ValueError, match=r"ad has shape|position has shape"):
        Requests(**{**vars(requests), "position": np.zeros((4, 3), np.int64)})


def test_no_requests_and_no_candidates_score_nothing() -> None:
    scorer = BucketScorer(build_model(config("laser"), seed=3))
    assert scorer.score(Requests.of(random_batch([])), 10).logits.shape == (0, 4)
    assert scorer.score(Requests.of(random_batch([3, 0], candidates=0)), 10).logits.shape == (2, 0)


def test_a_bucket_scorer_takes_a_model_or_a_snapshot() -> None:
    model: RankingModel = build_model(config("din"), seed=3)
    requests = Requests.of(random_batch(LENGTHS))
    of_snapshot = BucketScorer(freeze(model)).score(requests, 280)
    assert np.array_equal(of_snapshot.logits, BucketScorer(model).score(requests, 280).logits)
