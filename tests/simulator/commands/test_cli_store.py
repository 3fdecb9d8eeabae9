"""`laser-ab store` on real folders: sound, damaged, foreign, and with a writer at work."""

import json
import subprocess
import sys
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from seqvault import BEHAVIOURS, Column, HistorySchema, SequenceType, StoreError, open_store
from seqvault.vault import SeqVault
from simulator.cli import app

ORDERS = HistorySchema("orders", 3, (Column("time_s", "i8", "s"), Column("price_cent", "u4")))
KINDS = (SequenceType("views", BEHAVIOURS, ttl_s=10**6), SequenceType("orders", ORDERS, cap=50))
USERS, BIG = 12, 2**64 - 1


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")


def call(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["store", *map(str, arguments)])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def rows(seed: int, count: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    limits = {"item_id": 1 << 60, "category": 400, "action": 5, "scene": 3, "dwell_s": 900}
    columns = {name: rng.integers(0, limit, count) for name, limit in limits.items()}
    return rng.integers(0, USERS, count), {"time_s": 10_000 + rng.integers(0, 5000, count), **columns}


def fill(store: SeqVault) -> None:
    """Two segments of views, one of orders, and a log."""
    store.bulk_load(*rows(0, 3000))
    store.append(*rows(1, 400))
    store.append(np.array([BIG, 3], "u8"), {"time_s": [5, 6], "price_cent": [100, 7]}, sequence="orders")
    store.seal()
    store.append(*rows(2, 50))
    store.append([3], {"time_s": [7], "price_cent": [8]}, sequence="orders")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with SeqVault(tmp_path / "store", sequences=KINDS, block_rows=128, background=False) as store:
        fill(store)
    return tmp_path / "store"


def contents(path: Path, sequence: str | None = None) -> dict[str, list[int]]:
    with SeqVault(path, schema=None, read_only=True) as store:
        batch = store.read_last(store.users(sequence), 1 << 40, sequence=sequence)
    users = np.repeat(batch.user_ids, batch.lengths)
    return {"user_id": users.tolist(), **{name: values.tolist() for name, values in batch.columns.items()}}


def flip(file: Path, byte: int) -> None:
    data = bytearray(file.read_bytes())
    data[byte] ^= 4
    file.write_bytes(bytes(data))


def block_of(path: Path, user: int) -> tuple[Path, int, int]:
    """A user's newest sealed block."""
    with SeqVault(path, schema=None, read_only=True) as store:
        return store.locate(user, 1000)[-1]


# ---- check -------------------------------------------------------------------------------------------


def test_check_of_a_sound_store_lists_its_files(folder: Path) -> None:
    output = call("check", folder).output
    assert "The store is sound." in output
    assert "✗" not in output
    for file in folder.iterdir():
        assert (file.name in output) == (file.name != "LOCK")


def test_check_names_damaged_block_and_what_is_left(folder: Path) -> None:
    path, offset, size = block_of(folder, 3)
    flip(path, offset + size // 2)
    output = call("check", folder, code=1).output
    assert f"✗ {path.name}, byte {offset:,}: block of user 3" in output
    assert "fails its checksum" in output
    assert "all other users" in output
    assert "copy " + path.name in output
    report = json.loads(call("check", folder, "--json", code=1).output)
    assert report["sound"] is False
    assert [finding["byte"] for finding in report["findings"]] == [offset]
    # What it calls readable is.
    with SeqVault(folder, schema=None, read_only=True) as store:
        assert store.read_last([4], 10_000).lengths[0] > 0


@pytest.mark.parametrize(("pattern", "byte"), [("MANIFEST", 30), ("views-*.seg", 3), ("views-*.seg", -40)])
def test_check_finds_damage_outside_of_blocks(folder: Path, pattern: str, byte: int) -> None:
    file = sorted(folder.glob(pattern))[0]
    flip(file, byte)
    output = call("check", folder, code=1).output
    assert f"✗ {file.name}" in output
    assert "mend" in output


def test_check_finds_a_missing_file(folder: Path) -> None:
    missing = sorted(folder.glob("orders-*.seg"))[0]
    missing.unlink()
    assert f"✗ {missing.name}" in call("check", folder, code=1).output


def test_check_distinguishes_damage_of_the_log_from_a_torn_end(folder: Path) -> None:
    (log,) = folder.glob("wal-*.log")
    intact = log.read_bytes()
    records = len(intact.rstrip(b"\0")) // 8 * 8 + 8
    log.write_bytes(intact[:records].ljust(records + 64, b"\0")[:-32] + b"torn" * 8)
    output = call("check", folder).output
    assert "unfinished write, never acknowledged" in output
    log.write_bytes(b"none" + intact[4:])
    assert f"✗ {log.name}" in call("check", folder, code=1).output


def test_check_notes_files_that_are_not_the_stores(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    assert "notes.txt: not of SeqVault" in call("check", folder).output


# ---- with a writer at work ---------------------------------------------------------------------------


def test_commands_that_read_work_while_another_process_writes(folder: Path, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from seqvault.vault import SeqVault\n"
        "store = SeqVault(sys.argv[1], schema=None)\n"
        "print('open', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        assert "sound" in call("check", folder).output
        assert call("stats", folder).output
        assert call("dump", folder, "--user", 3, "--format", "csv").output
        call("snapshot", folder, tmp_path / "copy")
        assert "open for writing elsewhere" in call("compact", folder, code=1).output
        writer.communicate("\n")
    assert contents(tmp_path / "copy") == contents(folder)


# ---- stats, bench, snapshot, compact -----------------------------------------------------------------


def test_stats_for_people_and_for_programs(folder: Path) -> None:
    output = call("stats", folder).output
    assert "sequence views: behaviours version 1 (time_s, item_id" in output
    assert "keeps newest 50" in output
    assert "keeps younger than 1,000,000 s" in output
    found = json.loads(call("stats", folder, "--json").output)
    assert found["sequences"] == ["views", "orders"]
    assert found["users"] == USERS + 1
    assert found["behaviours"] == 3453
    assert found["bytes_on_disk"] > 0


def test_bench_measures_the_sizes_that_users_have(folder: Path) -> None:
    reads = json.loads(call("bench", folder, "--json").output)["reads"]
    assert [one["n"] for one in reads] == [200, None]
    for one in reads:
        assert 0 < one["wall_p50_us"] <= one["wall_p99_us"]
        assert one["returned_bytes"] == pytest.approx(one["behaviours"] * BEHAVIOURS.row_bytes)
        assert one["read_bytes"] > 0
    assert reads[0]["behaviours"] == 200
    assert "CPU µs" in call("bench", folder).output


def test_bench_of_an_empty_store_says_so(tmp_path: Path) -> None:
    SeqVault(tmp_path / "empty").close()
    assert "nothing to read" in call("bench", tmp_path / "empty").output


def test_snapshot_opens_and_holds_the_same(folder: Path, tmp_path: Path) -> None:
    output = call("snapshot", folder, tmp_path / "copy").output
    assert str(tmp_path / "copy") in output
    for sequence in ("views", "orders"):
        assert contents(tmp_path / "copy", sequence) == contents(folder, sequence)
    assert "sound" in call("check", tmp_path / "copy").output
    call("snapshot", folder, tmp_path / "copy", code=1)


def test_full_compaction_keeps_every_behaviour_but_the_expired(folder: Path) -> None:
    before = contents(folder)
    assert "bytes before" in call("compact", folder, "--full").output
    assert contents(folder) == before
    found = json.loads(call("compact", folder, "--now", 10**6 + 12_000, "--json").output)
    assert found["bytes_after"] > 0
    assert min(contents(folder)["time_s"]) >= 12_000


def test_compaction_refuses_a_time_in_milliseconds_unless_forced(folder: Path) -> None:
    before = contents(folder)
    milliseconds = 1_750_000_000_000
    output = call("compact", folder, "--now", milliseconds, code=1).output
    assert "Is it in seconds" in output
    assert "--force" in output
    assert contents(folder) == before
    call("compact", folder, "--now", milliseconds, "--force")
    assert contents(folder)["time_s"] == []


# ---- dump --------------------------------------------------------------------------------------------


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


# ---- a store to try ----------------------------------------------------------------------------------


def test_made_store_is_sound_and_the_same_for_the_same_seed(tmp_path: Path) -> None:
    tables = []
    for name in ("a", "b"):
        made = call("make", tmp_path / name, "--users", 20, "--seed", 3)
        assert f"laser-ab store stats {tmp_path / name}" in made.output
        call("check", tmp_path / name)
        assert "20" in call("stats", tmp_path / name).output
        tables.append(call("dump", tmp_path / name).stdout)
    assert tables[0] == tables[1]
    assert len(tables[0].splitlines()) > 20


def test_a_store_is_not_made_over_what_is_there(folder: Path) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert "nothing is yet" in call("make", folder, code=2).output
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize(("said", "meant"), [("verify", "check"), ("export", "dump"), ("backup", "snapshot")])
def test_a_command_by_another_name_is_answered_with_its_own(said: str, meant: str, tmp_path: Path) -> None:
    assert f"Did you mean '{meant}'" in call(said, tmp_path, code=2).output


# ---- other folders -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["check", "stats", "bench", "dump", "compact", "snapshot"])
def test_folders_without_a_store_get_a_friendly_error(command: str, tmp_path: Path) -> None:
    more = [tmp_path / "copy"] if command == "snapshot" else []
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("no folder")
    open_store("lastn", tmp_path / "lastn").close()
    for name in ("none", "empty", "file", "lastn"):
        output = call(command, tmp_path / name, *more, code=1).output
        assert "error:" in output
        assert name in output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "file", "lastn"]
    assert list((tmp_path / "empty").iterdir()) == []


def test_sequence_that_is_not_there_is_named(folder: Path) -> None:
    for command in ("bench", "dump"):
        assert "clicks" in call(command, folder, "--sequence", "clicks", code=1).output


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


def test_figures_in_the_form_that_prometheus_reads(folder: Path) -> None:
    lines = call("stats", folder, "--prometheus").output.splitlines()
    with SeqVault(folder, schema=None, read_only=True) as store:
        stats = store.stats()
    values = dict(line.split(" ") for line in lines if not line.startswith("#"))
    assert values[f'seqvault_users{{store="{folder}"}}'] == str(stats["users"])
    assert f'seqvault_background_errors_total{{store="{folder}"}}' in values
    assert {line.split("{")[0].removesuffix("_total") for line in lines if not line.startswith("#")} >= {
        f"seqvault_{name}" for name in stats
    }
    assert lines[0].startswith("# TYPE seqvault_users gauge")
