"""The hot tier answers as blocks and tails do, whatever changes meanwhile, and stays under its bytes."""

import threading
from pathlib import Path

import numpy as np
import pytest
from histories import behaviours, numbered, same

from seqvault import SequenceType
from seqvault.memory import MemoryStore
from seqvault.schema import BEHAVIOURS
from seqvault.vault import SeqVault
from seqvault.vault.reading import hot

EVERYONE = np.arange(9, dtype="u8")
BYTES = 1 << 20


def grown(store: SeqVault | MemoryStore, seeds: range) -> None:
    for seed in seeds:
        store.append(*behaviours(seed, 120, users=8))


@pytest.fixture
def pair(tmp_path: Path):
    """A store with a hot tier, and the oracle with the same in it."""
    kinds = (SequenceType("behaviours", BEHAVIOURS, cap=300, ttl_s=10**9),)
    with SeqVault(tmp_path, sequences=kinds, hot_bytes=BYTES, block_rows=16, background=False) as store:
        oracle = MemoryStore(sequences=kinds)
        for target in (store, oracle):
            grown(target, range(4))
        store.seal()
        yield store, oracle


def compared(store: SeqVault, oracle: MemoryStore, rounds: int = 4) -> None:
    """Reads of every kind, often enough for users to be admitted and answered."""
    middle = int(np.median(oracle.read_last(EVERYONE, 10**6).columns["time_s"]))
    ends = np.arange(middle - 4, middle + 5)
    for _ in range(rounds):
        for n in (0, 1, 20, 10**6):
            for bound in (None, middle, ends):
                for names in (None, ["item_id"], ["time_s", "dwell_s"]):
                    expected = oracle.read_last(EVERYONE, n, before_s=bound, columns=names)
                    same(store.read_last(EVERYONE, n, before_s=bound, columns=names), expected)
                    same(store.prepare_last(n, columns=names)(EVERYONE, bound), expected)
        for user in EVERYONE[:3]:
            same(store.read_last([user], 7), oracle.read_last([user], 7))
            same(store.prepare_last(7)([user]), oracle.read_last([user], 7))
        same(store.read_last(EVERYONE, 9, scenes=[1]), oracle.read_last(EVERYONE, 9, scenes=[1]))
        same(store.read_range(EVERYONE, middle, 2**62), oracle.read_range(EVERYONE, middle, 2**62))


CHANGES = {
    "nothing": lambda store: None,
    "append": lambda store: grown(store, range(4, 6)),
    "late append": lambda store: store.append(*behaviours(9, 50, users=4, at_s=1_600_000_000)),
    "bulk load": lambda store: store.bulk_load(*behaviours(8, 400, users=8)),
    "delete": lambda store: store.delete_user(3),
    "expire": lambda store: store.expire(int(store.read_last([1], 60).columns["time_s"][0]), force=True),
}


@pytest.mark.parametrize("change", CHANGES)
def test_answers_are_those_of_the_oracle_before_and_after(
    change: str, pair: tuple[SeqVault, MemoryStore]
) -> None:
    store, oracle = pair
    compared(store, oracle)
    assert store.stats()["hot_hits"] > 100
    for target in pair:
        CHANGES[change](target)
    compared(store, oracle, 1)
    store.seal()
    store.compact(full=True)
    compared(store, oracle, 2)


def test_random_changes_and_reads_agree_with_the_oracle(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    oracle = MemoryStore()
    with SeqVault(tmp_path, hot_bytes=30_000, block_rows=8, seal_rows=150, background=False) as store:
        for step in range(600):
            chance = rng.random()
            if chance < 0.12:
                rows = behaviours(step, int(rng.integers(1, 30)), users=8, at_s=10**9 + step)
                for target in (store, oracle):
                    target.append(*rows)
            elif chance < 0.14:
                user = int(rng.integers(8))
                for target in (store, oracle):
                    target.delete_user(user)
            users = rng.integers(0, 9, int(rng.integers(1, 4))).astype("u8")
            n, bound = int(rng.choice([1, 5, 40, 10**6])), 10**9 + int(rng.integers(0, 900))
            before_s = None if rng.random() < 0.3 else bound
            same(store.read_last(users, n, before_s=before_s), oracle.read_last(users, n, before_s=before_s))
            assert store.stats()["hot_bytes"] <= 30_000
        stats = store.stats()
        assert stats["hot_hits"] > 100
        assert stats["hot_users"] > 0


def test_follower_forgets_what_its_writer_changes(tmp_path: Path) -> None:
    with (
        SeqVault(tmp_path, background=False) as writer,
        SeqVault(tmp_path, read_only=True, staleness_s=0.0, hot_bytes=BYTES) as reader,
    ):
        for first in range(0, 60, 3):
            writer.append(*numbered([1, 1, 2], [first, first + 1, first + 2], first=first))
            if first % 4 == 0:
                writer.seal()
            if first % 20 == 0:
                writer.compact(full=True)
            for _ in range(3):
                for user in ([1], [2]):
                    same(reader.read_last(user, 50), writer.read_last(user, 50))
        assert reader.stats()["hot_hits"] > 0


def test_nothing_read_before_a_change_is_kept_after_it(pair: tuple[SeqVault, MemoryStore]) -> None:
    """The change comes between the read that admits a user and the keeping of what it read."""
    store, oracle = pair
    table = store._table(None)
    tier = table.hot
    assert tier is not None
    read = table.reader.read

    def overtaken(query):  # type: ignore[no-untyped-def]
        found = read(query)
        for target in pair:
            target.append(*numbered([1], [2_000_000_000]))
        return found

    query = hot.Query.last(BEHAVIOURS, [1], 10)
    for _ in range(2):
        assert tier.read(query, overtaken) is None
    assert len(tier) == 0
    same(store.read_last([1], 10), oracle.read_last([1], 10))


def test_answers_of_the_tier_cannot_change_it(pair: tuple[SeqVault, MemoryStore]) -> None:
    store, oracle = pair
    prepared = store.prepare_last(5)
    for _ in range(4):
        batch = prepared([1])
    with pytest.raises(ValueError, match="read-only"):
        batch.columns["item_id"][0] = 7
    own = store.read_last([1], 5)
    own.columns["item_id"][:] = 0
    same(prepared([1]), oracle.read_last([1], 5))


def test_users_who_come_again_stay_and_others_make_room(tmp_path: Path) -> None:
    users = np.arange(200, dtype="u8")
    with SeqVault(tmp_path, hot_bytes=40_000) as store:
        store.bulk_load(np.repeat(users, 20), numbered([], np.arange(4000).tolist())[1])
        for user in users:
            for again in (user, user, 0, 1):
                store.read_last([again], 20)
        before = store.stats()
        assert 10 < before["hot_users"] < 100
        for user in (0, 1):
            store.read_last([user], 20)
        assert store.stats()["hot_hits"] == before["hot_hits"] + 2
        # One that would take more than a quarter is not kept, nor read twice for ever.
        store.bulk_load([999] * 3000, numbered([], np.arange(3000).tolist())[1])
        for _ in range(4):
            store.read_last([999], 3000)
        assert store.stats()["hot_bytes"] <= 40_000


def test_readers_and_a_writer_at_once_see_prefixes(tmp_path: Path) -> None:
    """A history only grows: no read after another one shows less, and none a gap."""
    done = threading.Event()
    wrong: list[str] = []
    with SeqVault(tmp_path, hot_bytes=BYTES, durability="async") as store:

        def read() -> None:
            prepared, most = store.prepare_last(10**6, columns=["item_id"]), 0
            while not done.is_set():
                acknowledged = written[0]
                items = prepared([1]).columns["item_id"]
                if len(items) < max(most, acknowledged) or not np.array_equal(items, np.arange(len(items))):
                    wrong.append(f"{len(items)} of {most}, {acknowledged}: {items[-3:]}")
                most = len(items)

        written = [0]
        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(300):
            store.append(*numbered([1], [number], first=number))
            written[0] = number + 1
            if number % 100 == 50:
                store.seal()
        done.set()
        for thread in threads:
            thread.join()
    assert not wrong, wrong[:3]
