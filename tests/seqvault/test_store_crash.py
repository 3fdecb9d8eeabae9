"""kill -9 at random moments: no acknowledged append is lost, and what survives is a gap-free prefix."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from crash_child import ROWS, USERS, batch
from histories import open_kind, same

from seqvault.memory import MemoryStore

ROUNDS = 100
EVERYONE = np.arange(USERS)


@pytest.fixture(scope="module")
def nursery() -> Iterator[subprocess.Popen[str]]:
    script = Path(__file__).with_name("crash_child.py")
    process = subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=600) == 0
    assert process.stdout is not None
    process.stdout.close()


def kill_rounds(kind: str, folder: Path, nursery: subprocess.Popen[str], rounds: int, most_s: float) -> int:
    """Rounds of write, kill, reopen, compare, on one store; returns the appends that survived."""
    rng = np.random.default_rng(1)
    oracle, survived = MemoryStore(), 0
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    for turn in range(rounds):
        acks = folder / f"acks-{turn}"
        # A quarter lives long enough to write, however busy the machine is.
        live_s = float(np.exp(rng.uniform(np.log(0.001), np.log(most_s))))
        order = [kind, str(folder / "store"), survived, str(acks), live_s, turn % 4 == 3]
        nursery.stdin.write(json.dumps(order) + "\n")
        nursery.stdin.flush()
        assert nursery.stdout.readline() == "killed\n"
        noted = acks.read_bytes() if acks.exists() else b""
        acked = int.from_bytes(noted[-8:], "little") if noted else survived
        with open_kind(kind, folder / "store") as store:
            found = store.read_last(EVERYONE, 10**9)
            items = found.columns["item_id"]
            kept = int(items.max()) // ROWS + 1 if len(items) else 0
            assert kept >= acked, f"round {turn}: {acked} appends acknowledged, {kept} survived"
            # At most one append was under way.
            assert kept <= acked + 1
            for number in range(survived, kept):
                oracle.append(*batch(number))
            same(found, oracle.read_last(EVERYONE, 10**9))
        survived = kept
    return survived


@pytest.mark.parametrize(
    ("kind", "most_s"), [("seqvault-small", 0.03), ("lastn-chunks", 0.1)], ids=["seqvault", "lastn"]
)
def test_no_acknowledged_append_is_lost_in_100_kills(
    kind: str, most_s: float, tmp_path: Path, nursery: subprocess.Popen[str]
) -> None:
    assert kill_rounds(kind, tmp_path, nursery, ROUNDS, most_s) >= ROUNDS // 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["seqvault", "seqvault-small", "lastn-chunks", "lastn-behaviours"])
def test_no_acknowledged_append_is_lost_in_1000_kills(
    kind: str, tmp_path: Path, nursery: subprocess.Popen[str]
) -> None:
    assert kill_rounds(kind, tmp_path, nursery, 1000, 0.1) >= 250


def test_crash_leftovers_are_removed_at_open(tmp_path: Path) -> None:
    with open_kind("seqvault-small", tmp_path) as store:
        for number in range(20):
            store.append(*batch(number))
        expected = store.read_last(EVERYONE, 1000)
        live = {file.name for file in tmp_path.iterdir()}
    leftovers = ("segment-00000900.seg", "segment-00000901.new", "wal-00000900.log", "MANIFEST.new")
    for name in leftovers:
        (tmp_path / name).write_bytes(b"half a file")
    with open_kind("seqvault-small", tmp_path) as store:
        same(store.read_last(EVERYONE, 1000), expected)
        assert {file.name for file in tmp_path.iterdir()} == live
