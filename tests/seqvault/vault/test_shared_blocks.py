"""Small histories share blocks: read like any other, never mixed up, rewritten whole, and small on disk."""

import tempfile
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from histories import START_S, behaviours, numbered, same
from hypothesis import given, settings

from seqvault import BEHAVIOURS, Column, DamagedDataError, HistorySchema
from seqvault.memory import MemoryStore
from seqvault.schema import SequenceType
from seqvault.vault import SeqVault
from seqvault.vault.care.check import check_store
from seqvault.vault.compiled.whole import shared_entries
from seqvault.vault.disk.segment import Segment
from seqvault.vault.format.block import read_header
from seqvault.vault.format.damage import BlockDamage
from seqvault.vault.format.entries import ENTRY, block_sizes, is_shared
from seqvault.vault.format.footer import pack_entries, unpack_entries
from seqvault.vault.sealed.blockcheck import damaged_blocks

ALL = 10**9
USERS = np.array([0, 1, 5, 6, 7, 2**63, 2**64 - 1], "u8")
TIME = Column("time_s", "i8", "s")


def drawn(seed: int, rows: int, users: np.ndarray = USERS) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    picked, columns = behaviours(seed, rows, users=len(users))
    return users[picked], columns


def segment_of(store: SeqVault) -> Segment:
    """The only segment of the first sequence."""
    (segment,) = store._table(None).segments.values()
    return segment


def entries_of(store: SeqVault) -> np.ndarray:
    return segment_of(store).entries()


@pytest.fixture(params=["", "1"], ids=["compiled", "plain"])
def plain(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setenv("SEQVAULT_PLAIN", request.param)
    return bool(request.param)


@pytest.mark.parametrize("codec", ["packed", "zstd"])
def test_small_histories_share_a_block_and_long_ones_do_not(plain: bool, codec: str, tmp_path: Path) -> None:
    rows, oracle = drawn(1, 60), MemoryStore()
    many = numbered([9] * 600, list(range(START_S, START_S + 600)))
    with SeqVault(tmp_path, codec=codec, block_rows=64, background=False) as store:
        for target in (store, oracle):
            target.append(*rows)
            target.append(*many)
        store.seal()
        entries = entries_of(store)
        shared = entries[is_shared(entries)]
        assert shared["user"].tolist() == USERS.tolist()
        assert len(set(shared["offset"].tolist())) == 1
        assert set(entries["user"][~is_shared(entries)].tolist()) == {9}
        everyone = np.append(USERS, np.array([9, 4], "u8"))
        for n in (1, 3, ALL):
            same(store.read_last(everyone, n), oracle.read_last(everyone, n))
            how = {"actions": [1, 2], "distinct": "category", "before_s": START_S + 200}
            same(store.read_last(everyone, n, **how), oracle.read_last(everyone, n, **how))
        bounds = START_S + 100, START_S + 300
        same(store.read_range(everyone, *bounds), oracle.read_range(everyone, *bounds))
        # Behaviours in the tail, late ones among them, are merged into what is shared.
        for target in (store, oracle):
            target.append(*drawn(2, 40))
        same(store.read_last(everyone, 7), oracle.read_last(everyone, 7))


def test_compiled_and_plain_write_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    for plain in ("", "1"):
        monkeypatch.setenv("SEQVAULT_PLAIN", plain)
        with SeqVault(tmp_path / f"store{plain}", codec="zstd", background=False) as store:
            store.append(*drawn(3, 200))
            store.seal()
            path = segment_of(store).path
        # Without the head, which has an identity drawn at random.
        written.append(path.read_bytes()[32:])
    assert written[0] == written[1]


def test_a_history_grown_out_of_its_shared_block_has_blocks_of_its_own(tmp_path: Path) -> None:
    with SeqVault(tmp_path, block_rows=8, background=False) as store:
        for turn in range(5):
            store.append(*numbered([1] * 4, list(range(4 * turn, 4 * turn + 4)), first=4 * turn))
            store.seal()
            blocks = store._table(None).index.blocks_of(1)
            assert set(is_shared(blocks).tolist()) == {turn < 2}
            assert (len(blocks) == 1) == (turn < 2)
            assert store.read_last([1], ALL).columns["item_id"].tolist() == list(range(4 * turn + 4))


@settings(max_examples=12)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3)), min_size=1, max_size=12), st.data())
def test_histories_that_grow_seal_by_seal_are_those_of_a_dict(
    turns: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Seals, deletions and both compactions, beyond the size from which a history has its own blocks."""
    oracle = MemoryStore()
    with tempfile.TemporaryDirectory() as folder, SeqVault(folder, block_rows=16, background=False) as store:
        for seed, (rows, then) in enumerate(turns):
            for target in (store, oracle):
                target.append(*drawn(seed, rows))
            store.seal()
            if then == 1:
                gone = int(data.draw(st.sampled_from(USERS.tolist())))
                for target in (store, oracle):
                    target.delete_user(gone)
            elif then > 1:
                store.compact(full=then == 2)
            same(store.read_last(USERS, ALL), oracle.read_last(USERS, ALL))
        assert check_store(Path(folder)).sound
        with SeqVault(folder, read_only=True) as reader:
            same(reader.read_last(USERS, ALL), oracle.read_last(USERS, ALL))


def test_what_a_cap_leaves_of_a_history_is_shared_by_a_full_compaction(tmp_path: Path) -> None:
    kinds = (SequenceType("behaviours", BEHAVIOURS, cap=5),)
    with SeqVault(tmp_path, sequences=kinds, block_rows=8, background=False) as store:
        store.append(*numbered([1] * 40, list(range(40))))
        store.compact(full=True)
        assert is_shared(entries_of(store)).all()
        store.append(*numbered([1], [40], first=40))
        store.seal()
        assert store.read_last([1], ALL).columns["item_id"].tolist() == [36, 37, 38, 39, 40]


def test_every_flipped_bit_of_a_shared_block_is_reported_and_the_rest_is_read(
    plain: bool, tmp_path: Path
) -> None:
    with SeqVault(tmp_path, block_rows=64, background=False) as store:
        store.append(*drawn(4, 60))
        store.append(*numbered([9] * 100, list(range(100))))
        store.seal()
        whole, expected = store.read_last([9], ALL), store.read_last(USERS, ALL)
        segment = segment_of(store)
        entry = entries_of(store)[-1]
        path, at, size = segment.path, int(entry["offset"]), int(block_sizes(entry))
        intact = path.read_bytes()
        for place in range(at, at + size, 7):
            with path.open("r+b") as file:
                file.seek(place)
                file.write(bytes([intact[place] ^ 1 << place % 8]))
            for user in USERS.tolist():
                with pytest.raises(DamagedDataError, match=f"{path.name}.*user {user}"):
                    store.read_last([user], 2)
            same(store.read_last([9], ALL), whole)
            path.write_bytes(intact)
        same(store.read_last(USERS, ALL), expected)


def test_check_names_the_users_of_a_damaged_shared_block(plain: bool, tmp_path: Path) -> None:
    with SeqVault(tmp_path, block_rows=64, background=False) as store:
        store.append(*drawn(4, 60))
        store.seal()
        store.delete_user(5)
        store.seal()
        path = min(tmp_path.glob("*.seg"))
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    (finding,) = check_store(tmp_path).findings
    assert finding.file == path.name
    assert "6 users from 0 to 18446744073709551615" in finding.found
    assert "0, 1, 6, 7" in finding.readable
    assert "5," not in finding.readable


@pytest.mark.parametrize("name", ["user", "rows", "first_s", "last_s"])
def test_an_entry_that_a_shared_block_does_not_confirm_is_refused(
    plain: bool, name: str, tmp_path: Path
) -> None:
    """Whatever a footer says with a valid checksum, nobody gets another user's rows."""
    with SeqVault(tmp_path, block_rows=64, background=False) as store:
        store.append(*drawn(4, 60))
        store.seal()
        table, entries = store._table(None), entries_of(store)
        (slot,) = table.segments
        for change in (1, -1):
            wrong = entries[2:3].copy()
            wrong[name] = (int(wrong[name][0]) + change) % 2**64
            index = type(table.index)()
            index.build([(slot, wrong)])
            table.index, table.reader.index = index, index
            user = int(wrong["user"][0])
            with pytest.raises(DamagedDataError, match="not the block the index lists"):
                store.read_last([user], ALL)
            with pytest.raises(DamagedDataError, match="not the block the index lists"):
                store._access.state.blocks.fetch(  # type: ignore[union-attr]
                    table.segments, table.versions, index.blocks_of(user), np.zeros(1, "i8"), 100
                )


def test_a_block_of_one_user_does_not_pass_for_a_shared_one_nor_the_other_way_round(
    plain: bool, tmp_path: Path
) -> None:
    with SeqVault(tmp_path, block_rows=64, background=False) as store:
        store.append(*drawn(4, 60, USERS[:1]))
        store.append(*numbered([9] * 65, list(range(65))))
        store.seal()
        table, entries = store._table(None), entries_of(store)
        (slot,), segment = table.segments, segment_of(store)
        entries["size"] ^= 1
        assert len(list(damaged_blocks(segment, entries, None))) == len(entries)
        table.index.build([(slot, entries)])
        for user in (0, 9):
            with pytest.raises(DamagedDataError, match="not the block the index lists"):
                store.read_last([user], ALL)


def test_entries_of_a_shared_block_follow_from_it(plain: bool, tmp_path: Path) -> None:
    with SeqVault(tmp_path, block_rows=64, background=False) as store:
        store.append(*drawn(4, 60))
        store.seal()
        entries, segment = entries_of(store), segment_of(store)
        at, size = int(entries["offset"][0]), int(block_sizes(entries)[0])
        block = np.frombuffer(bytearray(segment.read(at, size)), "u1")
        assert shared_entries(block, at, plain=plain).tobytes() == entries.tobytes()
        header = read_header(block)
        assert (header.kind, header.rows, header.columns) == (1, 60, 7)
        block[100] ^= 1
        with pytest.raises(BlockDamage):
            shared_entries(block, at, plain=plain)


def test_shared_blocks_of_older_schemas_are_read_and_copied_under_the_newest(tmp_path: Path) -> None:
    old = HistorySchema("visits", 1, (TIME, Column("item_id", "u8"), Column("shop", "u2")))
    new = HistorySchema("visits", 2, (TIME, Column("item_id", "u8"), Column("price", "i4", default=-3)))
    users, rows = np.repeat(USERS, 3), {"time_s": np.arange(21), "item_id": np.arange(21)}
    with SeqVault(tmp_path, schema=old, background=False) as store:
        store.append(users, {**rows, "shop": np.arange(21)})
        store.seal()
    with SeqVault(tmp_path, schema=new, background=False) as store:
        store.append(USERS[:2], {"time_s": [90, 91], "item_id": [7, 8], "price": [1, 2]})
        store.seal()
        for compact in (lambda: None, store.compact):
            compact()
            found = store.read_last(USERS, ALL)
            assert found.columns["price"][:4].tolist() == [-3, -3, -3, 1]
            assert found.columns["item_id"][:8].tolist() == [0, 1, 2, 7, 3, 4, 5, 8]
            assert len(found.columns["time_s"]) == 23


def test_a_schema_without_room_for_another_column_has_no_shared_blocks(tmp_path: Path) -> None:
    wide = HistorySchema("wide", 1, (TIME, *(Column(f"c{i}", "u1") for i in range(63))))
    rows = {name: np.arange(7) for name in wide.names}
    with SeqVault(tmp_path, schema=wide, background=False) as store:
        store.append(USERS, rows)
        store.compact(full=True)
        assert not is_shared(entries_of(store)).any()
        assert store.read_last(USERS, 1).columns["c62"].tolist() == list(range(7))


def test_live_bytes_of_shared_blocks_are_their_live_users_part(plain: bool, tmp_path: Path) -> None:
    users = np.arange(2000, dtype="u8")
    with SeqVault(tmp_path, background=False) as store:
        store.bulk_load(*numbered(users, users.tolist()))
        segment = segment_of(store)
        assert segment.block_bytes - 1 <= store.stats()["live_bytes"] <= segment.block_bytes
        store.delete_users(users[:500].tolist())
        assert store.stats()["live_bytes"] == pytest.approx(0.75 * segment.block_bytes, abs=1)
        store.compact()
        assert store.stats()["live_bytes"] == pytest.approx(segment_of(store).block_bytes, abs=1)
        assert segment_of(store).block_bytes < 0.8 * segment.block_bytes
        np.testing.assert_array_equal(store.users(), users[500:])


def test_one_behaviour_per_user_takes_little_more_than_its_columns(tmp_path: Path) -> None:
    """Bound: 22 + 17 + 9 + 3 + 2 + 12 bits are in the columns, and 22 more of the time are in the footer."""
    rng, rows = np.random.default_rng(5), 20_000
    items = rng.integers(0, 1 << 17, rows)
    columns = {"time_s": START_S + rng.integers(0, 1 << 22, rows), "item_id": items}
    columns |= {"category": items % 500, "action": rng.integers(0, 5, rows), "scene": items % 3}
    columns["dwell_s"] = rng.integers(0, 1 << 12, rows)
    with SeqVault(tmp_path, background=False) as store:
        store.bulk_load(np.arange(rows), columns)
        store.compact(full=True)
        bits = 8 * segment_of(store).path.stat().st_size / rows
    assert 87 <= bits < 1.1 * 87 + 4


@st.composite
def any_entries(draw: st.DrawFn) -> np.ndarray:
    """Entries whose fields are of every size, sorted or not."""
    entries = np.zeros(draw(st.integers(0, 40)), ENTRY)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    for name in ENTRY.names or ():
        width = 8 * entries[name].itemsize
        values = rng.integers(0, 1 << draw(st.integers(0, width - 1)), len(entries), dtype="u8")
        if draw(st.booleans()):
            values = np.sort(values)
        entries[name] = values.astype(entries[name].dtype)
    return entries


@settings(max_examples=100)
@given(any_entries())
def test_entries_unpack_as_they_were_packed(entries: np.ndarray) -> None:
    packed = pack_entries(entries)
    assert len(packed) % 8 == 0
    assert unpack_entries(packed).tobytes() == entries.tobytes()


def test_more_entries_than_a_block_holds_are_packed_in_several(tmp_path: Path) -> None:
    entries = np.zeros(70_000, ENTRY)
    entries["user"] = np.arange(70_000) * 3
    packed = pack_entries(entries)
    assert unpack_entries(packed).tobytes() == entries.tobytes()
    assert len(packed) < 70_000
    damaged = bytearray(packed)
    damaged[len(packed) // 2] ^= 8
    with pytest.raises(BlockDamage):
        unpack_entries(bytes(damaged))
