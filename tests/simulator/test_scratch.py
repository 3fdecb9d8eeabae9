"""Records in a temporary file: an array's behaviour, and no more of the file in memory than is looked at."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from simulator.scratch import Scratch, apart, blank, gathered, largest, let_go, mapped, slices_of, taken

RECORD = np.dtype([("count", np.int32), ("sums", np.float64, (3,))], align=True)


def test_it_holds_what_an_array_would_whatever_is_put_and_added(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    scratch, twin = Scratch(RECORD, 50_000, tmp_path), np.zeros(50_000, RECORD)
    for _ in range(200):
        first = int(rng.integers(0, 49_000))
        rows = first + rng.permutation(1_000)[: int(rng.integers(0, 1_000))]
        sums, count = rng.normal(size=(len(rows), 3)), rng.integers(0, 9, len(rows))
        records, places = scratch.of(rows)
        records["sums"][places] += sums
        records["count"][places] = count
        twin["sums"][rows] += sums
        twin["count"][rows] = count
    every = np.arange(50_000)
    assert np.array_equal(scratch.take(every), twin)
    some = rng.permutation(50_000)[:100]
    assert np.array_equal(scratch.take(some), twin[some])
    assert not list(tmp_path.iterdir())  # the file has no name to be left behind


def test_what_is_looked_at_is_the_stretch_and_not_the_file() -> None:
    scratch = Scratch(np.float64, 100_000)
    records, places = scratch.of(np.array([70_003, 70_001]))
    assert (len(records), places.tolist()) == (3, [2, 0])
    assert len(scratch) == 100_000
    assert len(Scratch(np.float64, 0).take(np.zeros(0, np.int64))) == 0


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="room is not made beforehand here")
def test_a_full_disk_is_met_at_once_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=re.escape(str(tmp_path))):
        Scratch(np.float64, 10, tmp_path)
    assert not list(tmp_path.iterdir())


def test_mapped_columns_are_the_same_and_come_back_after_they_were_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulator.scratch._FEW_BYTES", 0)
    columns = {"a": np.arange(9.0), "none": np.zeros(0), "b": np.ones((3, 2), np.int8), "c": np.array([True])}
    found = mapped(columns, tmp_path)
    assert not list(tmp_path.iterdir())
    for _ in range(2):
        for name, column in columns.items():
            assert np.array_equal(found[name], column)
            assert found[name].dtype == column.dtype
        let_go(found["b"][1:])
    let_go(columns["a"])
    assert columns["a"][3] == 3.0
    assert list(mapped({"none": np.zeros(0)})["none"]) == []
    assert mapped({"again": found["a"]})["again"] is found["a"]


@pytest.mark.parametrize("few", [0, 1 << 20])
def test_blank_columns_keep_what_is_written_and_few_bytes_cannot_be_told_from_many(
    few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulator.scratch._FEW_BYTES", few)
    found = blank({"a": (np.float64, (3, 5)), "none": (np.int8, (0,)), "b": (np.bool_, (7,))})
    assert [(found[name].shape, found[name].dtype, found[name].any()) for name in found] == [
        ((3, 5), np.float64, False),
        ((0,), np.int8, False),
        ((7,), np.bool_, False),
    ]
    found["a"].T[2] = [1.0, 2.0, 3.0]
    found["b"][6] = True
    let_go(found["a"], found["b"])
    assert found["a"].sum() == 6.0
    assert found["b"].tolist() == [False] * 6 + [True]
    kept = mapped(found)
    with pytest.raises(ValueError, match="read-only"):
        mapped({"c": np.ones(3)})["c"][0] = 2.0
    assert np.array_equal(kept["a"], found["a"])


def test_columns_gathered_from_parts_are_the_parts_joined_and_come_back_after_they_were_let_go(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(3)
    parts = [
        {"a": rng.normal(size=rows), "none": np.zeros(0, np.uint16), "b": rng.integers(0, 9, (rows, 3))}
        for rows in (5, 0, 4_000, 1)
    ]
    found = gathered(iter(parts), tmp_path)
    assert not list(tmp_path.iterdir())
    for _ in range(2):
        for name in parts[0]:
            joined = np.concatenate([part[name] for part in parts])
            assert np.array_equal(found[name], joined)
            assert (found[name].dtype, found[name].shape) == (joined.dtype, joined.shape)
        let_go(*found.values())


def test_columns_that_find_no_room_say_where(tmp_path: Path) -> None:
    def parts() -> Iterator[dict[str, np.ndarray]]:
        yield {"a": np.zeros(3)}
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=re.escape(str(tmp_path))):
        gathered(parts(), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="nothing says what is resident here")
def test_what_was_let_go_of_is_memory_no_more() -> None:
    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    column = gathered({"a": np.full(1 << 20, part)} for part in range(8))["a"]
    size, before = column.nbytes, resident_bytes()
    assert column.sum() == (1 << 20) * sum(range(8))
    assert resident_bytes() > before + size // 2
    let_go(column)
    assert resident_bytes() < before + size // 2


def test_a_column_in_a_file_is_gone_through_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.scratch._AT_ONCE", 100)
    rng = np.random.default_rng(4)
    column = gathered([{"a": rng.integers(0, 900, 1_037)}], tmp_path)["a"]
    for rows in (np.arange(0), np.array([0, 99, 100, 1_036]), np.flatnonzero(rng.random(1_037) < 0.3)):
        assert np.array_equal(taken(column, rows), column[rows])
    assert (largest(column), largest(column, 1_000), largest(column[:0], 3)) == (column.max(), 1_000, 3)
    parts = list(slices_of(1_037, 100, column))
    assert [part.start for part in parts] == list(range(0, 1_037, 100))
    assert np.array_equal(np.concatenate([column[part] for part in parts]), column)


def test_records_set_apart_keep_their_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    records, group = np.arange(900), rng.choice([0, 2, 3], 900)  # nothing is in group 1, or in 4
    parts = ((records[part], group[part]) for part in slices_of(900, 70))
    found = list(apart(parts, 5, tmp_path))
    assert [rows.tolist() for rows in found] == [records[group == each].tolist() for each in range(5)]
    assert not list(tmp_path.iterdir())
