"""Expiry: a floor that would hide everything is refused, and an append below one says so."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from histories import numbered

from seqvault import BEHAVIOURS, ExpiredWarning, SequenceType, StoreError
from seqvault.memory import MemoryStore
from seqvault.vault import SeqVault

NOW_S = 1_750_000_000
DAY_S = 86_400
KINDS = (SequenceType("views", BEHAVIOURS, ttl_s=7 * DAY_S), SequenceType("clicks", BEHAVIOURS))
Make = Callable[[], Any]


@pytest.fixture(params=["seqvault", "plain", "memory"])
def make(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    if request.param == "plain":
        monkeypatch.setenv("SEQVAULT_PLAIN", "1")
    kind = MemoryStore if request.param == "memory" else SeqVault
    return lambda: kind(tmp_path, sequences=KINDS)


def times(store: Any, sequence: str | None = None) -> list[int]:
    found: list[int] = store.read_last([1], 99, sequence=sequence).columns["time_s"].tolist()
    return found


def put(store: Any, *at: int, sequence: str | None = None) -> None:
    store.append(*numbered([1] * len(at), list(at)), sequence=sequence)


def test_floor_up_to_the_newest_time_plus_its_life_is_taken(make: Make) -> None:
    with make() as store:
        put(store, NOW_S - DAY_S, NOW_S)
        store.expire(NOW_S)
        assert times(store) == [NOW_S]
        store.expire(NOW_S + 7 * DAY_S)
        assert times(store) == []
        put(store, NOW_S - 5, NOW_S, sequence="clicks")
        store.expire(NOW_S, sequence="clicks")
        assert times(store, "clicks") == [NOW_S]


def test_floor_beyond_it_is_refused_unless_forced(make: Make) -> None:
    with make() as store:
        put(store, NOW_S - 5, NOW_S)
        put(store, NOW_S, sequence="clicks")
        for sequence, beyond in (("views", NOW_S + 7 * DAY_S + 1), ("clicks", NOW_S + 1)):
            for before_s in (beyond, NOW_S * 1000):
                with pytest.raises(
                    StoreError, match=f"floor of {before_s} s .* newest is of {NOW_S}.*force=True"
                ):
                    store.expire(before_s, sequence=sequence)
        assert times(store) == [NOW_S - 5, NOW_S]
        put(store, NOW_S + 1)
        assert times(store) == [NOW_S - 5, NOW_S, NOW_S + 1]
        store.expire(NOW_S * 1000, force=True)
        assert times(store) == []


def test_floor_of_a_sequence_without_behaviours_is_refused(make: Make) -> None:
    with make() as store:
        with pytest.raises(StoreError, match="it holds none"):
            store.expire(NOW_S)
        store.expire(NOW_S, force=True)
        # Lower than what there is: nothing to do, and nothing to refuse.
        store.expire(NOW_S - 5)


def test_append_below_the_floor_warns_before_it_is_written(make: Make) -> None:
    with make() as store:
        put(store, NOW_S)
        store.expire(NOW_S)
        put(store, NOW_S)
        for write in (store.append, store.bulk_load):
            with pytest.raises(ExpiredWarning, match=f"before {NOW_S} s have expired"):
                write(*numbered([1, 1], [NOW_S - 1, NOW_S]))
        assert store.stats()["behaviours"] == 2
        with pytest.warns(ExpiredWarning) as caught:
            put(store, NOW_S - 1, NOW_S)
        assert [warning.filename for warning in caught] == [__file__]
        assert times(store) == [NOW_S] * 3


def test_caller_in_a_loop_is_warned_once(make: Make) -> None:
    with make() as store, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        put(store, NOW_S)
        store.expire(NOW_S)
        for late in range(1, 9):
            put(store, NOW_S - late)
        assert len(caught) == 1


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("operation", ["maintain", "compact", "full"])
def test_maintenance_by_a_clock_in_milliseconds_changes_nothing(
    operation: str, sealed: bool, tmp_path: Path
) -> None:
    def tend(store: SeqVault, now_s: int, **force: bool) -> None:
        if operation == "maintain":
            store.maintain(now_s, **force)
        else:
            store.compact(now_s, full=operation == "full", **force)

    old_s = NOW_S - 8 * DAY_S
    with SeqVault(tmp_path, sequences=KINDS) as store:
        put(store, old_s, NOW_S)
        if sealed:
            store.seal()
        with pytest.raises(StoreError, match="Is it in seconds"):
            tend(store, NOW_S * 1000)
        put(store, NOW_S + 1)
        assert times(store) == [old_s, NOW_S, NOW_S + 1]
    with SeqVault(tmp_path, sequences=KINDS) as store:
        tend(store, NOW_S)
        assert times(store) == [NOW_S, NOW_S + 1]
        # The latest now that leaves the newest its life: 14 days behind it.
        tend(store, NOW_S + 1 + 14 * DAY_S)
        assert times(store) == []


def test_maintenance_expires_all_sequences_or_none_and_passes_over_empty_ones(tmp_path: Path) -> None:
    kinds = [SequenceType(name, BEHAVIOURS, ttl_s=DAY_S) for name in ("views", "orders", "searches")]
    with SeqVault(tmp_path, sequences=kinds) as store:
        put(store, NOW_S - 2 * DAY_S, NOW_S)
        put(store, NOW_S - 9 * DAY_S, sequence="orders")
        with pytest.raises(StoreError, match="'orders'"):
            store.maintain(NOW_S)
        assert times(store) == [NOW_S - 2 * DAY_S, NOW_S]
        store.maintain(NOW_S, force=True)
        assert (times(store), times(store, "orders")) == ([NOW_S], [])
        put(store, 5, sequence="searches")
        assert times(store, "searches") == [5]


def test_newest_time_is_found_among_many_users_wherever_it_lies(tmp_path: Path) -> None:
    users = list(range(200_000))
    with SeqVault(tmp_path, sequences=KINDS, seal_rows=10**9) as store:
        at = [NOW_S] * len(users)
        at[150_000] = NOW_S + 50
        store.append(*numbered(users, at), sequence="clicks")
        for _ in range(2):
            with pytest.raises(StoreError, match=f"newest is of {NOW_S + 50}"):
                store.expire(NOW_S + 51, "clicks")
            store.seal()
        store.expire(NOW_S + 50, "clicks")
        assert store.read_last([150_000, 0], 9, sequence="clicks").lengths.tolist() == [1, 0]
