"""The index: which entries are live, how little memory that takes, and that both twins agree."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from seqvault.errors import StoreError
from seqvault.vault.format.entries import BLOCK, ENTRY
from seqvault.vault.reading.index import Index
from seqvault.vault.reading.plain import PlainIndex

EXTREMES = (0, (1 << 64) - 1)
# Few users and ranks, so that entries meet; two ids that a hash table could take for marks of its own.
USERS = st.sampled_from([*EXTREMES, 1, 2, 3])
ROWS = st.integers(0, 3)


def entries(rows) -> np.ndarray:
    """ENTRY records from (user, start, rows); the other fields follow from their place."""
    out = np.zeros(len(rows), ENTRY)
    for i, (user, start, count) in enumerate(rows):
        out[i] = (user, start, 100 * start, 100 * start + 50, 8 * (i + 1), 16 * count, count)
    return out


SEGMENTS = st.lists(st.lists(st.tuples(USERS, st.integers(0, 40), ROWS), max_size=12), max_size=8)


def same_index(found: Index, expected: PlainIndex) -> None:
    np.testing.assert_array_equal(found.live(), expected.live())
    users = np.array([*EXTREMES, 1, 2, 3, 77], "u8")
    for one, other in zip(found.find(users), expected.find(users), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(found.users(), expected.users())
    np.testing.assert_array_equal(found.end_ranks(users), expected.end_ranks(users))
    np.testing.assert_array_equal(found.live_bytes(12), expected.live_bytes(12))
    assert (found.blocks, found.rows) == (expected.blocks, expected.rows)


@settings(max_examples=150)
@given(segments=SEGMENTS, gone=st.sets(st.integers(0, 7)), portion=st.integers(1, 5))
def test_index_agrees_with_its_plain_twin(segments, gone, portion) -> None:
    index, plain = Index(), PlainIndex()
    for slot, rows in enumerate(segments):
        if slot % 3 == 2:
            index.reserve(len(rows))
        index.apply(slot, entries(rows))
        plain.apply(slot, entries(rows))
        same_index(index, plain)
    # A compaction that copies some of the live blocks and drops the others.
    live = plain.live()
    copied = live[np.isin(live["slot"], list(gone))][::2]
    moved = np.zeros(len(copied), ENTRY)
    for name in ENTRY.names:
        moved[name] = copied[name]
    moved["offset"] += 800
    for i in range(0, len(moved), portion):
        index.move(gone, 9, moved[i : i + portion])
    plain.move(gone, 9, moved)
    same_index(index, plain)
    index.drop(gone)
    plain.drop(gone)
    same_index(index, plain)
    index.apply(11, entries([(1, 2, 1), (2, 0, 3), (3, 0, 1)]))
    plain.apply(11, entries([(1, 2, 1), (2, 0, 3), (3, 0, 1)]))
    same_index(index, plain)


@settings(max_examples=50)
@given(segments=SEGMENTS)
def test_index_built_at_once_is_the_one_built_segment_by_segment(segments) -> None:
    index, plain = Index(), PlainIndex()
    index.apply(5, entries([(1, 0, 2), (9, 0, 1)]))
    index.build(list(enumerate(map(entries, segments))))
    plain.build(list(enumerate(map(entries, segments))))
    same_index(index, plain)


def test_entry_replaces_the_blocks_from_its_rank_on() -> None:
    index = Index()
    index.apply(0, entries([(7, 0, 4), (7, 4, 4), (7, 8, 4)]))
    index.apply(1, entries([(7, 4, 6), (7, 10, 1)]))
    blocks = index.blocks_of(7)
    assert blocks.dtype == BLOCK
    assert blocks["start"].tolist() == [0, 4, 10]
    assert blocks["slot"].tolist() == [0, 1, 1]
    assert index.end_rank(7) == 11


def test_read_only_entries_and_users_are_taken() -> None:
    index, found, users = Index(), entries([(7, 0, 4)]), np.array([7], "u8")
    found.flags.writeable = users.flags.writeable = False
    index.build([(0, found)])
    index.apply(1, found)
    index.move([1], 2, found)
    assert index.find(users)[1]["slot"].tolist() == [2]


def test_tombstone_deletes_a_user_and_a_later_entry_begins_anew() -> None:
    index = Index()
    index.apply(0, entries([(7, 0, 4), (7, 4, 4), (8, 0, 1)]))
    index.apply(1, entries([(7, 0, 0)]))
    assert index.users().tolist() == [8]
    assert (index.rows, index.end_rank(7)) == (1, 0)
    index.apply(2, entries([(7, 0, 2)]))
    assert index.blocks_of(7)["slot"].tolist() == [2]


def test_block_dropped_from_the_middle_leaves_later_ranks_as_they_are() -> None:
    index = Index()
    index.apply(0, entries([(7, 0, 4)]))
    index.apply(1, entries([(7, 4, 4)]))
    index.apply(2, entries([(7, 8, 4)]))
    index.drop([1])
    assert index.blocks_of(7)["start"].tolist() == [0, 8]
    assert index.end_rank(7) == 12


def test_users_with_many_blocks_keep_them_all() -> None:
    index, plain = Index(), PlainIndex()
    for slot in range(60):
        rows = [(user, 10 * slot + k, 1) for user in range(5) for k in range(0, 10, 3)]
        index.apply(slot, entries(rows))
        plain.apply(slot, entries(rows))
    same_index(index, plain)


def test_ten_thousand_behaviours_take_150_bytes_of_index_a_user() -> None:
    users = np.unique(np.random.default_rng(0).integers(0, 1 << 63, 20_000, dtype="u8"))
    found = np.zeros(3 * len(users), ENTRY)
    found["user"] = np.repeat(users, 3)
    found["start"] = np.tile([0, 4096, 8192], len(users))
    found["rows"] = np.tile([4096, 4096, 1808], len(users))
    found["size"] = 20_000
    index = Index()
    index.build([(0, found)])
    assert index.rows == 10_000 * len(users)
    assert index.nbytes / len(users) <= 150


@pytest.mark.parametrize(
    ("field", "value"), [("start", 1 << 32), ("offset", 1 << 43), ("size", 1 << 27), ("offset", 12)]
)
def test_entries_beyond_what_the_index_holds_are_refused(field: str, value: int) -> None:
    entry = entries([(1, 0, 1)])
    entry[field] = value
    for index in (Index(), PlainIndex()):
        with pytest.raises(StoreError):
            index.apply(0, entry)
        assert index.blocks == 0
    with pytest.raises(StoreError):
        Index().apply(1 << 16, entries([(1, 0, 1)]))
