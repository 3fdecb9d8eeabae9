"""What LastN adds to the contract of stores: its settings last, its layouts agree, its charge is bounded."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from histories import behaviours, numbered, same

from seqvault import DamagedDataError, SchemaError, open_store
from seqvault.lastn import LastNStore

LAYOUTS = ("behaviours", "blobs", "chunks")
CACHE_BYTES = 3 << 20


def opened(path: Path, layout: str, **more: object) -> LastNStore:
    store = open_store("lastn", path, layout=layout, block_cache_bytes=CACHE_BYTES, **more)  # type: ignore[arg-type]
    assert isinstance(store, LastNStore)
    return store


@pytest.mark.parametrize("read_only", [False, True])
def test_reopened_store_keeps_the_block_cache_it_is_given(tmp_path: Path, read_only: bool) -> None:
    with opened(tmp_path, "chunks") as store:
        store.append(*behaviours(1, 50))
    with opened(tmp_path, "chunks", read_only=read_only) as store:
        capacity = store._database.rocks.property_int_value("rocksdb.block-cache-capacity")
    assert capacity == CACHE_BYTES


def test_layouts_return_the_same_rows_for_every_question(tmp_path: Path) -> None:
    user_ids, columns = behaviours(2, 3000, users=3)
    stores = [opened(tmp_path / layout, layout) for layout in LAYOUTS]
    for store in stores:
        store.bulk_load(user_ids, columns)
    times = columns["time_s"]
    questions: list[dict[str, object]] = [
        {},
        {"before_s": int(np.median(times))},
        {"actions": [1]},
        {"distinct": "category", "scenes": [0], "before_s": int(times.max())},
    ]
    for n in (0, 1, 255, 256, 257, 10_000):
        for question in questions:
            found = [store.read_last([0, 1, 2, 9], n, **question) for store in stores]  # type: ignore[arg-type]
            for other in found[1:]:
                same(other, found[0])
    ranges = [store.read_range([0, 9], times.min(), np.median(times), distinct="item_id") for store in stores]
    for other in ranges[1:]:
        same(other, ranges[0])
    for store in stores:
        store.close()


def test_store_described_before_columns_had_hints_opens(tmp_path: Path) -> None:
    opened(tmp_path, "chunks").close()
    file = tmp_path / "store.json"
    described = json.loads(file.read_text())
    for column in described["schema"]["columns"]:
        del column["codec"], column["default"]
    file.write_text(json.dumps(described))
    opened(tmp_path, "chunks").close()
    described["schema"]["columns"][1]["dtype"] = "u4"
    file.write_text(json.dumps(described))
    with pytest.raises(SchemaError, match="was made with schema"):
        opened(tmp_path, "chunks")


def test_charge_of_a_blob_leaves_out_what_its_bytes_cost_python(tmp_path: Path) -> None:
    rows = 60_000
    with opened(tmp_path, "blobs") as store:
        store.bulk_load(*numbered([1] * rows + [2] * 10, [*range(rows), *range(10)]))
        store.timed_read_last([1], 10)
        # Both ends of a megabyte copied twice, at any memory's speed.
        assert 1e-11 < store.stats()["binding_byte_s"] < 1e-8
        spent = [store.timed_read_last([1], 10)[1] for _ in range(9)]
        assert all(took.own_s < took.call_s for took in spent)


def test_a_close_that_fails_holds_no_file_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path, "chunks")
    rocks = store._database.rocks

    class FullDevice:
        def close(self) -> None:
            rocks.close()
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store._handle, "database", replace(store._database, rocks=FullDevice()))  # type: ignore[arg-type]
    with pytest.raises(OSError, match="No space"):
        store.close()
    held = {path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}
    assert not any(path.is_relative_to(tmp_path) for path in held)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_users_are_listed_in_order_and_damage_is_no_end_of_them(layout: str, tmp_path: Path) -> None:
    users = np.array([0, 1, 255, 256, 2**63, 2**64 - 1], "u8")
    _, columns = behaviours(4, 6)
    with opened(tmp_path, layout) as store:
        assert store.users().tolist() == []
        store.bulk_load(users[::-1], columns)
        store.append(users, columns)
        assert store.users().tolist() == users.tolist()
        store.bulk_load(*behaviours(5, 20_000, users=900))
        listed = store.users()
        assert len(listed) > 900
    with opened(tmp_path, layout) as store:
        np.testing.assert_array_equal(store.users(), listed)
    for table in (tmp_path / "rocksdb").glob("*.sst"):
        data = bytearray(table.read_bytes())
        data[len(data) // 3] ^= 4
        table.write_bytes(bytes(data))
    with opened(tmp_path, layout) as store, pytest.raises(DamagedDataError):
        store.users()
