"""`laser-ab store dump`, `load` and `delete`: between a store and files that others read and write."""

import json
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from store_folders import BIG, USERS, block_of, call, contents, flip

from seqvault import StoreError
from seqvault.vault import SeqVault


def test_dumps_hold_every_behaviour_in_order(folder: Path, tmp_path: Path) -> None:
    expected = contents(folder)
    for ending in ("parquet", "csv", "jsonl"):
        out = tmp_path / f"all.{ending}"
        result = call("dump", folder, "--out", out)
        assert "3,450 behaviours of 12 users" in result.stderr
        if ending == "parquet":
            found = pyarrow.parquet.read_table(out).to_pydict()
        elif ending == "csv":
            found = pyarrow.csv.read_csv(out).to_pydict()
        else:
            lines = [json.loads(line) for line in out.read_text().splitlines()]
            found = {name: [line[name] for line in lines] for name in lines[0]}
        assert found == expected
    schema = pyarrow.parquet.read_schema(tmp_path / "all.parquet")
    assert [str(kind) for kind in schema.types] == [
        "uint64",
        "int64",
        "uint64",
        "uint16",
        "uint8",
        "uint8",
        "uint16",
    ]
    assert schema.field("time_s").metadata == {b"unit": b"s"}


def test_dump_of_one_user_and_sequence_goes_to_stdout(folder: Path) -> None:
    result = call("dump", folder, "--user", BIG, "--user", 3, "--sequence", "orders")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert lines == [
        {"user_id": 3, "time_s": 6, "price_cent": 7},
        {"user_id": 3, "time_s": 7, "price_cent": 8},
        {"user_id": BIG, "time_s": 5, "price_cent": 100},
    ]


def test_dump_of_a_damaged_store_writes_nothing_or_what_is_left(folder: Path, tmp_path: Path) -> None:
    path, offset, size = block_of(folder, 3)
    flip(path, offset + size // 2)
    out = tmp_path / "left.csv"
    assert path.name in call("dump", folder, "--out", out, code=1).output
    assert list(tmp_path.glob("*left.csv*")) == []
    result = call("dump", folder, "--out", out, "--skip-damaged", code=1)
    assert "left out user 3" in result.stderr
    assert set(pyarrow.csv.read_csv(out)["user_id"].to_pylist()) == set(range(USERS)) - {3}


def test_dump_of_a_store_with_a_damaged_footer_holds_everything(folder: Path, tmp_path: Path) -> None:
    path, out, whole = sorted(folder.glob("views-*.seg"))[0], tmp_path / "all.csv", tmp_path / "whole.csv"
    call("dump", folder, "--out", whole)
    flip(path, -40)
    assert "read-only" in call("check", folder, code=1).output
    call("dump", folder, "--out", out)
    assert out.read_bytes() == whole.read_bytes()
    refused = call("compact", folder, code=1).stderr
    assert path.name in refused
    assert "store check" in refused


def test_dump_refuses_to_write_into_the_store(folder: Path) -> None:
    assert "inside" in call("dump", folder, "--out", folder / "MANIFEST", code=2).output
    assert "parquet" in call("dump", folder, "--format", "parquet", code=2).output


def behaviours_file(path: Path) -> pa.Table:
    """A file as others have them: texts, floats and times; several parts when loaded."""
    rng = np.random.default_rng(3)
    count = 400
    times = np.sort(rng.integers(1_600_000_000, 1_600_100_000, count))
    table = pa.table(
        {
            "household": [f"hh-{i}" for i in rng.integers(0, 9, count)],
            "at": pa.array(times, pa.timestamp("s")),
            "product": rng.integers(0, 10**6, count).astype("u4"),
            "price": rng.random(count),
            "weight": rng.random(count).astype("f4"),
            "shop": [f"shöp {i}" for i in rng.integers(0, 4, count)],
        }
    )
    pyarrow.parquet.write_table(table, path)
    return table


MAP = [f"--map={pair}" for pair in ("user_id=household", "time_s=at", "product=product", "price=price")]
MAP += ["--map=weight=weight", "--map=shop=shop"]


def test_load_is_the_inverse_of_dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.commands.store_load._ROWS", 150)
    table = behaviours_file(tmp_path / "in.parquet")
    call("load", tmp_path / "store", tmp_path / "in.parquet", *MAP)
    call("dump", tmp_path / "store", "--out", tmp_path / "out.parquet")
    found = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    expected = [
        {
            "user_id": row["household"],
            "time_s": int(row["at"].replace(tzinfo=UTC).timestamp()),
            **{name: row[name] for name in ("product", "price", "weight", "shop")},
        }
        for row in table.to_pylist()
    ]

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["user_id"], row["time_s"], row["product"]

    assert sorted(found, key=key) == sorted(expected, key=key)
    # A snapshot holds what the integers stand for, too.
    call("snapshot", tmp_path / "store", tmp_path / "copy")
    call("dump", tmp_path / "copy", "--out", tmp_path / "again.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "again.parquet").to_pylist() == found


def test_an_interrupted_load_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.commands.store_load._ROWS", 150)
    behaviours_file(tmp_path / "in.parquet")
    store = tmp_path / "store"
    loads, real = [], SeqVault.bulk_load

    def interrupted(self: SeqVault, *arguments: Any, **more: Any) -> bool:
        loads.append(1)
        if len(loads) == 2:
            raise StoreError("the power was cut, say")
        return real(self, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(SeqVault, "bulk_load", interrupted)
        call("load", store, tmp_path / "in.parquet", *MAP, code=1)
    for new in ("250", "0"):
        assert f"{new} behaviours new of 400" in call("load", store, tmp_path / "in.parquet", *MAP).output


def test_load_says_what_is_missing_or_cannot_be_kept(tmp_path: Path) -> None:
    behaviours_file(tmp_path / "in.parquet")
    said = call("load", tmp_path / "store", tmp_path / "in.parquet", "--map=user_id=household", code=1)
    assert "--map time_s=COLUMN" in said.output
    said = call("load", tmp_path / "store", tmp_path / "in.parquet", "--map=user_id", code=2)
    assert "NAME=COLUMN" in said.output
    assert not (tmp_path / "store").exists()


def test_users_of_a_file_are_deleted_as_one_change(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "gone.txt").write_text(f"3\n{BIG}\n777\n")
    with SeqVault(folder, schema=None, read_only=True) as store:
        before, changes = set(store.users().tolist()), store.durable_sequence
    assert "of 3 users" in call("delete", folder, "--users", tmp_path / "gone.txt", "--full").output
    with SeqVault(folder, schema=None, read_only=True) as store:
        assert set(store.users().tolist()) == before - {3, BIG}
        assert store.durable_sequence == changes + 1
    (tmp_path / "bad.txt").write_text("3\nsix\n")
    call("delete", folder, "--users", tmp_path / "bad.txt", code=1)


def test_users_kept_as_texts_are_deleted_by_their_texts(tmp_path: Path) -> None:
    table = behaviours_file(tmp_path / "in.parquet")
    call("load", tmp_path / "store", tmp_path / "in.parquet", *MAP)
    (tmp_path / "gone.txt").write_text("hh-2\nnobody\n")
    call("delete", tmp_path / "store", "--users", tmp_path / "gone.txt")
    call("dump", tmp_path / "store", "--out", tmp_path / "out.parquet")
    left = pyarrow.parquet.read_table(tmp_path / "out.parquet").column("user_id").to_pylist()
    assert sorted(left) == sorted(user for user in table.column("household").to_pylist() if user != "hh-2")
