from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.traffic import files
from simulator.traffic.files import (
    BEHAVIOURS_SCHEMA,
    REQUESTS_SCHEMA,
    ROW_GROUP,
    read_behaviours,
    read_requests,
    write_behaviours,
    write_requests,
)
from simulator.traffic.trace import Requests, TraceError
from simulator.world.world import World


def same(a: object, b: object) -> None:
    for f in fields(a):  # type: ignore[arg-type]
        mine, other = getattr(a, f.name), getattr(b, f.name)
        assert mine.dtype == other.dtype, f.name
        np.testing.assert_array_equal(mine, other)


def test_requests_survive_the_file(world: World, tmp_path: Path) -> None:
    write_requests(tmp_path / "requests.parquet", world.requests)
    same(read_requests(tmp_path / "requests.parquet"), world.requests)


def test_behaviours_survive_the_file(world: World, tmp_path: Path) -> None:
    count = write_behaviours(tmp_path / "b.parquet", world.behaviours)
    assert count == len(world.behaviours)
    same(read_behaviours(tmp_path / "b.parquet"), world.behaviours)


def test_writing_block_by_block_gives_the_same_bytes(world: World, tmp_path: Path) -> None:
    write_behaviours(tmp_path / "whole.parquet", world.behaviours)
    write_behaviours(tmp_path / "blocks.parquet", world.behaviour_blocks())
    assert (tmp_path / "whole.parquet").read_bytes() == (tmp_path / "blocks.parquet").read_bytes()


def test_row_groups_are_fixed(world: World, tmp_path: Path) -> None:
    write_behaviours(tmp_path / "b.parquet", world.behaviours)
    meta = pq.ParquetFile(tmp_path / "b.parquet").metadata
    sizes = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
    assert set(sizes[:-1]) == {ROW_GROUP}


def test_candidates_are_read_in_parts_that_32_bits_count_however_many_there_are(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, width = tmp_path / "requests.parquet", world.requests.candidates.shape[1]
    write_requests(path, world.requests)
    monkeypatch.setattr(files, "LISTS_AT_ONCE", 7)
    read = [part["ads"] for part in files._candidates(path)]
    assert max(part.size for part in read) == 7 * width < world.requests.candidates.size
    np.testing.assert_array_equal(np.concatenate(read), world.requests.candidates)
    same(read_requests(path), world.requests)


def test_requests_written_in_parts_are_the_same_bytes(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "ROW_GROUP", 50)
    write_requests(tmp_path / "whole.parquet", world.requests)
    parts = (world.requests.take(slice(first, first + 7)) for first in range(0, len(world.requests), 7))
    write_requests(tmp_path / "parts.parquet", parts)
    assert (tmp_path / "whole.parquet").read_bytes() == (tmp_path / "parts.parquet").read_bytes()
    groups = pq.ParquetFile(tmp_path / "parts.parquet").metadata
    assert {groups.row_group(i).num_rows for i in range(groups.num_row_groups - 1)} == {50}


def test_units_are_in_the_column_names() -> None:
    assert {"arrival_s", "propensity_logit"} <= set(REQUESTS_SCHEMA.names)
    assert {"time_s", "dwell_s"} <= set(BEHAVIOURS_SCHEMA.names)


def test_nothing_is_left_behind_when_writing_fails(world: World, tmp_path: Path) -> None:
    blocks = [world.behaviours, world.behaviours]
    with pytest.raises(TraceError, match="expected ascending users"):
        write_behaviours(tmp_path / "b.parquet", blocks)
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_named(world: World, tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="is not a folder"):
        write_requests(tmp_path / "nowhere" / "r.parquet", world.requests)


@pytest.mark.parametrize("read", [read_requests, read_behaviours])
class TestDamagedFiles:
    def test_missing_file(self, read, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(TraceError, match="does not exist"):
            read(tmp_path / "none.parquet")

    def test_empty_file(self, read, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        (tmp_path / "x.parquet").touch()
        with pytest.raises(TraceError, match="is empty"):
            read(tmp_path / "x.parquet")

    def test_not_parquet(self, read, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        (tmp_path / "x.parquet").write_text("user,item\n1,2\n")
        with pytest.raises(TraceError, match="damaged or no Parquet file"):
            read(tmp_path / "x.parquet")

    def test_cut_file(self, read, world: World, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        path = tmp_path / "x.parquet"
        write_requests(path, world.requests)
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(TraceError, match="damaged or no Parquet file"):
            read(path)

    def test_missing_columns(self, read, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        pq.write_table(pa.table({"user_id": pa.array([1], pa.uint64())}), tmp_path / "x.parquet")
        with pytest.raises(TraceError, match=r"lacks column .*found user_id"):
            read(tmp_path / "x.parquet")

    def test_no_rows(self, read, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        schema = REQUESTS_SCHEMA if read is read_requests else BEHAVIOURS_SCHEMA
        pq.write_table(schema.empty_table(), tmp_path / "x.parquet")
        with pytest.raises(TraceError, match="has no rows"):
            read(tmp_path / "x.parquet")


def rewritten(path: Path, name: str, values: pa.Array) -> Path:
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.schema.get_field_index(name), name, values), path)
    return path


@pytest.fixture
def trace_path(world: World, tmp_path: Path) -> Path:
    write_requests(tmp_path / "r.parquet", world.requests)
    return tmp_path / "r.parquet"


def test_mistyped_column_is_named(trace_path: Path, world: World) -> None:
    rewritten(trace_path, "arrival_s", pa.array(world.requests.arrival_s.astype(np.int64)))
    with pytest.raises(TraceError, match="arrival_s is int64, expected double"):
        read_requests(trace_path)


def test_nulls_are_counted(trace_path: Path, world: World) -> None:
    rewritten(trace_path, "slots", pa.array([None] + [1] * (len(world.requests) - 1), pa.uint8()))
    with pytest.raises(TraceError, match="slots has 1 nulls"):
        read_requests(trace_path)


def test_unequal_candidate_lists_are_refused(trace_path: Path, world: World) -> None:
    lists = [[1, 2]] + [[3]] * (len(world.requests) - 1)
    rewritten(trace_path, "candidates", pa.array(lists, pa.list_(pa.uint64())))
    with pytest.raises(TraceError, match="1 to 2 ads"):
        read_requests(trace_path)


def test_unknown_period_is_named(trace_path: Path, world: World) -> None:
    rewritten(trace_path, "period", pa.array(["later"] * len(world.requests)))
    with pytest.raises(TraceError, match="unknown period 'later'"):
        read_requests(trace_path)


def test_a_broken_rule_names_file_and_row(trace_path: Path, world: World) -> None:
    rewritten(trace_path, "arrival_s", pa.array(world.requests.arrival_s[::-1].copy()))
    with pytest.raises(TraceError, match=r"r\.parquet: Trace row 1: arrival_s"):
        read_requests(trace_path)


def test_unsorted_behaviours_name_the_row(world: World, tmp_path: Path) -> None:
    b = world.behaviours
    write_behaviours(tmp_path / "b.parquet", replace(b, time_s=b.time_s[::-1].copy()))
    with pytest.raises(TraceError, match="expected rows sorted"):
        read_behaviours(tmp_path / "b.parquet")


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("arrival_s", np.nan, "finite"), ("propensity", np.inf, "propensity"), ("hour", 24.0, "hour"),
        ("period", 2, "period"), ("day", 0, "day"), ("slots", 0, "slots"), ("slots", 33, "slots"),
        ("request_id", 5, "unique"),
    ],
)  # fmt: skip
def test_requests_refuse_a_bad_value(world: World, name: str, value: float, match: str) -> None:
    column = getattr(world.requests, name).copy()
    column[3] = value
    with pytest.raises(TraceError, match=match):
        replace(world.requests, **{name: column})


def test_requests_refuse_a_repeated_candidate(world: World) -> None:
    candidates = world.requests.candidates.copy()
    candidates[2, 0] = candidates[2, 1]
    with pytest.raises(TraceError, match="row 2: candidates"):
        replace(world.requests, candidates=candidates)


def test_requests_refuse_columns_of_different_lengths(world: World) -> None:
    with pytest.raises(TraceError, match="hour has shape"):
        replace(world.requests, hour=world.requests.hour[:-1])


def test_a_selection_may_be_empty(world: World) -> None:
    assert len(world.requests.take(slice(0, 0))) == 0


def test_tied_arrivals_are_ordered_by_request_id(world: World) -> None:
    r = world.requests.take(slice(0, 2))
    tied = {"arrival_s": np.full(2, r.arrival_s[0]), "day": np.full(2, r.day[0])}
    assert isinstance(replace(r, **tied), Requests)
    with pytest.raises(TraceError, match="sorted by"):
        replace(r, **tied, request_id=r.request_id[::-1].copy())
