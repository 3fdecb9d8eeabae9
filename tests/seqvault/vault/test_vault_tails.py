"""Tails: rows stay ordered by (time, arrival) however they come, and both twins agree."""

import hypothesis.strategies as st
import numpy as np
from histories import behaviours
from hypothesis import given, settings

from seqvault import BEHAVIOURS, Column, HistorySchema
from seqvault.vault.reading.plain import PlainTails
from seqvault.vault.reading.tails import Tails

# Widths in an order that a chunk does not have.
MIXED = HistorySchema(
    "mixed",
    1,
    (
        Column("time_s", "i8"),
        Column("a", "u1"),
        Column("b", "i4"),
        Column("c", "u8"),
        Column("d", "i2"),
        Column("e", "i1"),
    ),
)
BATCH = st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 12)), max_size=40)


def rows(schema: HistorySchema, pairs, first: int):
    """(users, columns) of (user, time) pairs; the other columns count arrivals."""
    users, times = np.array(pairs, "i8").reshape(-1, 2).T
    arrivals = np.arange(first, first + len(users))
    columns = {name: arrivals.astype(schema.dtype(name)) for name in schema.names}
    return users.astype("u8"), {**columns, "time_s": np.ascontiguousarray(times)}


def same_tails(found: Tails, expected: PlainTails) -> None:
    for one, other in zip(found.drain()[:2], expected.drain()[:2], strict=True):
        np.testing.assert_array_equal(one, other)
    columns, others = found.drain()[2], expected.drain()[2]
    assert list(columns) == list(others)
    for name, values in others.items():
        assert columns[name].dtype == values.dtype
        np.testing.assert_array_equal(columns[name], values, err_msg=name)
    assert found.rows == expected.rows
    np.testing.assert_array_equal(found.users(), expected.users())


@settings(max_examples=100)
@given(batches=st.lists(st.tuples(BATCH, st.none() | st.integers(-1, 4)), max_size=8))
def test_tails_agree_with_their_plain_twin(batches) -> None:
    tails, plain = Tails(MIXED), PlainTails(MIXED)
    arrivals = 0
    for pairs, dropped in batches:
        for twin in (tails, plain):
            twin.add(*rows(MIXED, pairs, arrivals))
            if dropped == -1:
                twin.clear()
            elif dropped is not None:
                twin.drop_user(dropped)
        arrivals += len(pairs)
        same_tails(tails, plain)


def test_late_rows_of_a_large_batch_come_behind_older_rows_of_equal_time() -> None:
    tails, plain = Tails(BEHAVIOURS), PlainTails(BEHAVIOURS)
    rng = np.random.default_rng(1)
    for first in (0, 30_000):
        pairs = np.column_stack((rng.integers(0, 3, 30_000), rng.integers(0, 500, 30_000)))
        for twin in (tails, plain):
            twin.add(*rows(BEHAVIOURS, pairs, first))
    same_tails(tails, plain)


def test_tail_of_one_user_may_outgrow_a_slab() -> None:
    tails = Tails(BEHAVIOURS)
    count = 1_000_000
    users, columns = rows(BEHAVIOURS, np.column_stack((np.zeros(count, "i8"), np.arange(count))), 0)
    tails.add(users, columns)
    found = tails.rows_of(0)
    assert found is not None
    np.testing.assert_array_equal(found["item_id"], columns["item_id"])
    assert tails.nbytes >= count * BEHAVIOURS.row_bytes


def test_cleared_tails_use_their_memory_again() -> None:
    tails = Tails(BEHAVIOURS)
    users, columns = rows(BEHAVIOURS, [(user, user) for user in range(5000)], 0)
    sizes = []
    for _ in range(3):
        tails.add(users, columns)
        sizes.append(tails.nbytes)
        tails.clear()
    assert sizes[0] == sizes[1] == sizes[2]


def test_read_only_rows_are_taken() -> None:
    tails = Tails(BEHAVIOURS)
    users, columns = rows(BEHAVIOURS, [(3, 5), (3, 4)], 0)
    for values in (users, *columns.values()):
        values.flags.writeable = False
    tails.add(users, columns)
    found = tails.rows_of(3)
    assert found is not None
    assert found["item_id"].tolist() == [1, 0]
    assert tails.rows_of(4) is None
    tails.drop_users(users)
    assert tails.rows == 0


def test_portions_together_are_what_draining_gives() -> None:
    tails = Tails(BEHAVIOURS)
    user_ids, columns = behaviours(5, 900, users=60)
    tails.add(*BEHAVIOURS.check(user_ids, columns))
    users, _, drained = tails.drain()
    parts = list(tails.portions(100))
    assert 5 <= len(parts) <= 12
    np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), users)
    for name, values in drained.items():
        np.testing.assert_array_equal(np.concatenate([part[2][name] for part in parts]), values)
