"""Batches and examples: what they accept, what they refuse, and how histories are aligned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ranking_batches import random_batch

from laser.batch import RankingBatch
from laser.examples import ExampleSet


@given(st.lists(st.integers(0, 12), min_size=1, max_size=6), st.sampled_from([1, 3, 5]))
def test_histories_are_aligned_at_their_newest_behaviour(lengths: list[int], multiple: int) -> None:
    batch = random_batch(lengths)
    values = torch.arange(1, sum(lengths) + 1)
    aligned = batch.align(values, multiple)
    assert aligned.shape[1] % multiple == 0
    assert aligned.shape[1] >= max(1, max(lengths))
    start = 0
    for row, length in zip(aligned.tolist(), lengths, strict=True):
        assert row[len(row) - length :] == list(range(start + 1, start + length + 1))
        assert not any(row[: len(row) - length])
        start += length


@given(st.lists(st.integers(0, 8), min_size=1, max_size=5), st.integers(0, 9))
def test_newest_keeps_the_last_behaviours_of_each_request(lengths: list[int], keep: int) -> None:
    batch = random_batch(lengths)
    kept = batch.newest(keep)
    whole, parts = batch.age_s.split(lengths), kept.age_s.split(kept.lengths.tolist())
    for all_of, some in zip(whole, parts, strict=True):
        assert torch.equal(some, all_of[max(len(all_of) - keep, 0) :])


def test_only_scenes_drops_the_other_scenes_and_keeps_the_order() -> None:
    batch = random_batch([6, 0, 9])
    kept = batch.only_scenes((1, 2))
    assert torch.equal(kept.age_s, batch.age_s[batch.scene > 0])
    assert kept.offsets[-1] == len(kept.age_s)


def test_padded_gives_columns_and_the_mask_of_real_behaviours() -> None:
    columns, real = random_batch([2, 4]).padded()
    assert real.tolist() == [[False, False, True, True], [True] * 4]
    assert columns["age_s"].shape == (2, 4)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("category", np.zeros((2, 3)), "category has dtype float64, expected integers"),
        ("ad", np.zeros(3, int), r"ad has shape \(3,\), expected \(B, C\)"),
        ("offsets", [0, 3, 2, 5], r"offsets run from 0 to 5 over 5 behaviours"),
        ("offsets", [0, 5], r"offsets has shape \(2,\), expected \(4,\)"),
        ("age_s", [-1.0, 1, 1, 1, 1], "A negative age means a behaviour later than the request"),
        ("age_s", [np.nan, 1, 1, 1, 1], "expected finite seconds"),
        ("ad_category", -np.ones((3, 4), int), "ad_category holds -1, expected ids of 0 or more"),
        ("candidate_count", [1, 2, 5], "candidate_count spans 1 to 5, expected 0 to 4"),
        ("hour", [1.0, 2.0], "hour is torch.float32 of shape"),
        ("propensity", [1.0, np.inf, 2.0], "propensity holds a value that is not finite"),
        ("scene", ["a", "b", "c", "d", "e"], "scene has dtype <U1, expected integers"),
    ],
)
def test_malformed_batches_are_refused_with_what_was_found(column: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        random_batch([2, 0, 3], **{column: np.asarray(value)})


def test_tensors_of_another_dtype_are_refused() -> None:
    good = vars(random_batch([2, 1]))
    with pytest.raises(ValueError, match=r"age_s is torch.float64 .* expected torch.float32"):
        RankingBatch(**{**good, "age_s": good["age_s"].double()})


def test_read_only_and_narrow_columns_are_accepted() -> None:
    category = np.array([3, 4], np.uint16)
    category.flags.writeable = False
    batch = random_batch([2], category=category)
    assert batch.category.tolist() == [3, 4]


def changed(examples: ExampleSet, **columns: object) -> ExampleSet:
    return ExampleSet(**{**vars(examples), **columns})  # type: ignore[arg-type]


def test_a_batch_of_examples_holds_the_newest_behaviours_before_each_request(
    small_world: tuple[ExampleSet, ExampleSet],
) -> None:
    examples, _ = small_world
    rows = np.array([5, 0, 17])
    batch = examples.batch(rows, 30)
    assert batch.lengths.tolist() == [30, 30, 30]
    for i, row in enumerate(rows):
        end = int(examples.history_end[row])
        assert batch.category[30 * i : 30 * (i + 1)].tolist() == examples.category[end - 30 : end].tolist()
        age = examples.request_time_s[row] - examples.time_s[end - 30 : end]
        np.testing.assert_allclose(batch.age_s[30 * i : 30 * (i + 1)], age, rtol=1e-6)


def test_columns_of_examples_are_those_of_the_batch_of_narrower_numbers(
    small_world: tuple[ExampleSet, ExampleSet],
) -> None:
    examples, _ = small_world
    chosen = {30: np.array([5, 0, 17]), 7: np.arange(40), 0: np.arange(3), 9: np.arange(0)}
    for length, rows in chosen.items():
        columns, batch = examples.columns(rows, length), examples.batch(rows, length)
        for name, column in columns.items():
            wide = getattr(batch, name).numpy()
            assert np.array_equal(column.astype(wide.dtype), wide), name
        assert columns["category"].dtype == examples.category.dtype


def test_nothing_later_than_the_request_can_enter_an_example(
    small_world: tuple[ExampleSet, ExampleSet],
) -> None:
    examples, _ = small_world
    with pytest.raises(ValueError, match="see a behaviour later than themselves"):
        changed(examples, history_end=examples.history_end + 5)


def test_whatever_comes_after_a_request_changes_nothing_that_a_model_sees(
    small_world: tuple[ExampleSet, ExampleSet],
) -> None:
    examples, _ = small_world
    rows = np.arange(0, len(examples), 50)
    later = np.ones(len(examples.category), bool)
    for row in rows:  # what some chosen request knows is no one's future
        later[examples.history_start[row] : examples.history_end[row]] = False
    assert later.mean() > 0.3
    names = ("category", "action", "scene", "dwell_s")
    other = {name: np.where(later, 0, getattr(examples, name)) for name in names}
    labels = {"label": 1 - examples.label, "p_true": None}
    one, two = (given.batch(rows, 500) for given in (examples, changed(examples, **other, **labels)))
    for name, value in vars(one).items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(getattr(two, name))), name


def test_missing_candidates_are_counted_out(small_world: tuple[ExampleSet, ExampleSet]) -> None:
    examples, _ = small_world
    ad = examples.ad.copy()
    ad[:, 6:] = -1
    assert changed(examples, ad=ad).batch(np.arange(3), 4).candidate_count.tolist() == [6, 6, 6]
    ad[:, 3] = -1
    with pytest.raises(ValueError, match="gaps at the end of a row only"):
        changed(examples, ad=ad)


@pytest.mark.parametrize(
    ("column", "change", "message"),
    [
        ("hour", lambda a: a[:-1], r"hour has shape"),
        ("label", lambda a: a + 1, "expected 0 or 1"),
        ("ad", lambda a: a.astype(float), "ad has dtype float64, expected integers"),
        ("history_end", lambda a: a + 10**9, "history slices span"),
    ],
)
def test_malformed_examples_are_refused(
    small_world: tuple[ExampleSet, ExampleSet], column: str, change: object, message: str
) -> None:
    examples, _ = small_world
    with pytest.raises(ValueError, match=message):
        changed(examples, **{column: change(getattr(examples, column))})  # type: ignore[operator]
