"""`laser-ab store dump`, `load` and `delete`: between a store and files that others read and write."""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
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


def three_rows(path: Path, **columns: Any) -> Path:
    """A file of three behaviours; files of equal columns have equal sizes."""
    table = pa.table({"user_id": [1, 1, 2], "time_s": [10, 20, 30], "item_id": [5, 6, 7], **columns})
    path.parent.mkdir(exist_ok=True)
    pyarrow.parquet.write_table(table, path, compression="none", use_dictionary=False)
    return path


def test_a_file_of_the_name_and_size_of_another_is_loaded_and_a_renamed_one_is_known(tmp_path: Path) -> None:
    monday = three_rows(tmp_path / "monday" / "part.parquet")
    tuesday = three_rows(tmp_path / "tuesday" / "part.parquet", time_s=[40, 50, 60])
    assert monday.stat().st_size == tuesday.stat().st_size
    renamed = Path(shutil.copy(monday, tmp_path / "again.parquet"))
    for file, new in ((monday, 3), (tuesday, 3), (renamed, 0)):
        assert f"{new} behaviours new" in call("load", tmp_path / "store", file).output
    assert len(contents(tmp_path / "store")["time_s"]) == 6


def test_times_beyond_nanoseconds_are_kept_and_rounded_down(tmp_path: Path) -> None:
    far, old = datetime(9999, 12, 31), datetime(1969, 12, 31, 23, 59, 59, 500_000)
    for kind in (pa.timestamp("ms"), pa.timestamp("us", tz="Europe/Berlin"), pa.date32(), pa.date64()):
        times = pa.array([old, far, far], pa.timestamp("us")).cast(kind, safe=False)
        file = three_rows(tmp_path / f"{kind}.parquet".replace("/", ""), time_s=times)
        call("load", tmp_path / f"{kind}", file)
        whole_days = pa.types.is_date(kind)
        expected = [-86_400 if whole_days else -1, 253_402_214_400, 253_402_214_400]
        assert contents(tmp_path / f"{kind}")["time_s"] == expected


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"item_id": [5, None, 7]}, "1 empty values"),
        ({"user_id": [1, -1, 2]}, "expected within 0"),
        ({"time_s": [1.5, 2.5, 3.5]}, "expected integers or times"),
        ({"user_id": [1.0, 1.0, 2.0]}, "expected integers or texts"),
        ({"a/b": [1, 2, 3]}, "expected an identifier"),
    ],
)
def test_a_refused_file_leaves_no_store(columns: dict[str, Any], says: str, tmp_path: Path) -> None:
    file = three_rows(tmp_path / "in.parquet", **columns)
    assert says in call("load", tmp_path / "store", file, code=1).stderr
    assert not (tmp_path / "store").exists()
    # A store that was there stays, with what it holds.
    call("load", tmp_path / "kept", three_rows(tmp_path / "sound.parquet"))
    call("load", tmp_path / "kept", file, code=1)
    assert len(contents(tmp_path / "kept")["time_s"]) == 3


def test_what_cannot_be_cleaned_up_does_not_hide_why_a_store_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"

    def refused(self: SeqVault, *drawn: object) -> None:
        flip(path / "MANIFEST", 30)
        raise StoreError("the first error")

    monkeypatch.setattr(SeqVault, "bulk_load", refused)
    said = call("make", path, code=1).stderr
    assert said.startswith("error: the first error\nWhat it left in ")
    assert path.exists()


def test_what_is_no_parquet_or_no_text_is_refused_with_its_name(folder: Path, tmp_path: Path) -> None:
    sound = three_rows(tmp_path / "sound.parquet").read_bytes()
    for name, content in (("empty", b""), ("words", b"hello" * 100), ("cut", sound[:-20])):
        file = tmp_path / f"{name}.parquet"
        file.write_bytes(content)
        for command in (["load", tmp_path / "new", file], ["delete", folder, "--users", file]):
            said = call(*command, code=1).stderr
            assert f"{file}: cannot be read as Parquet" in said
            assert "Traceback" not in said
    (tmp_path / "latin.txt").write_bytes("kö\n".encode("latin-1"))
    assert "no UTF-8 text" in call("delete", folder, "--users", tmp_path / "latin.txt", code=1).stderr
    (tmp_path / "windows.txt").write_bytes("\ufeff3\r\n777\r\n".encode())
    assert "1 of 2 users" in call("delete", folder, "--users", tmp_path / "windows.txt").output


def test_a_store_whose_texts_were_damaged_is_not_dumped_as_numbers(tmp_path: Path) -> None:
    store = tmp_path / "store"
    call("load", store, three_rows(tmp_path / "in.parquet", item_id=["ä", "b", "c"]))
    for file, content in ((store / "item_id.values.json", "{"), (store / "columns.json", "[]")):
        file.write_text(content)
        said = call("dump", store, code=1).stderr
        assert str(file) in said
        assert "snapshot or backup" in said
        assert "Traceback" not in said


def test_texts_are_themselves_in_any_locale(tmp_path: Path) -> None:
    call("load", tmp_path / "store", three_rows(tmp_path / "in.parquet", item_id=["ä", "→", "臂"]))
    strange = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "simulator.cli", "store", "dump", str(tmp_path / "store")]
    done = subprocess.run(command, env=strange, capture_output=True, check=True)
    assert [json.loads(line)["item_id"] for line in done.stdout.splitlines()] == ["ä", "→", "臂"]


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
