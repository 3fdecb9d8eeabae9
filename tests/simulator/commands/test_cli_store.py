"""`laser-ab store` on real folders: sound, damaged, foreign, and with a writer at work."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from store_folders import USERS, block_of, call, contents, flip

from seqvault import BEHAVIOURS, StoreFullError, open_store
from seqvault.vault import SeqVault

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


def test_a_store_that_found_no_room_is_not_left_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **more: object) -> None:
        raise StoreFullError("no space left; nothing was kept: free space, write again")

    with monkeypatch.context() as patch:
        patch.setattr(SeqVault, "bulk_load", full)
        assert "no space left" in call("make", tmp_path / "store", code=1).stderr
    assert not (tmp_path / "store").exists()
    call("make", tmp_path / "store", "--users", 20)
