"""What a reopened log must do that random streams rarely need: sync what it read, and never reuse a torn one.

Records of one size in a row, as a service that appends one behaviour at a time writes them: only then does
what is written over a torn record end where an old one begins.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lossy_disk import RecordingIO, crashes, instead_of_io
from tally import counted

from seqvault.vault import SeqVault

RECORDS = 6
# What is asynchronous waits for ever: nothing is durable but what a test makes so.
WAITING: dict[str, Any] = {"durability": "async", "flush_interval_s": 3600.0, "flush_rows": 1 << 40}
STATES = 40


def append(store: SeqVault, user: int) -> None:
    """Three behaviours: a record as large as every other one."""
    zeros = np.zeros(3, "i8")
    columns = dict.fromkeys(("category", "action", "scene", "dwell_s"), zeros)
    times = np.arange(3)
    store.append([user] * 3, {"time_s": times, "item_id": user * 8 + times, **columns})


def users(folder: Path) -> list[int]:
    with SeqVault(folder, read_only=True) as store:
        return [int(user) for user in store.users()]


@pytest.mark.parametrize("torn", range(1, RECORDS))
def test_nothing_behind_a_torn_record_comes_back_whatever_is_written_next(torn: int, tmp_path: Path) -> None:
    """Power was lost: record `torn` was written in part, those behind it wholly, none acknowledged."""
    with counted("torn logs written on") as part:
        store, ends = SeqVault(tmp_path / "first", **WAITING), []
        for user in range(RECORDS):
            append(store, user)
            ends.append(store._access.log_end)
        crashed = Path(shutil.copytree(tmp_path / "first", tmp_path / "crashed"))
        store.close()
        log = next(crashed.glob("*.log"))
        data = bytearray(log.read_bytes())
        data[ends[torn - 1] + 60 : ends[torn - 1] + 68] = b"\xff" * 8
        log.write_bytes(data)
        for more in range(1, RECORDS):
            folder = Path(shutil.copytree(crashed, tmp_path / f"more-{more}"))
            expected = [*range(torn), *range(100, 100 + more)]
            store = SeqVault(folder, **WAITING)
            for user in range(100, 100 + more):
                append(store, user)
            killed = shutil.copytree(folder, tmp_path / f"killed-{more}")
            store.close()
            for left in (killed, folder):
                found = users(Path(left))
                assert found == expected, f"{found} survived, {expected} were written"
            part.count += 1


def test_what_a_reopened_store_calls_durable_survives_a_loss_of_power(tmp_path: Path) -> None:
    """Killed with changes in the page cache alone; the next process reads them, and is asked to flush."""
    with counted("logs reopened behind a kill") as part:
        root = tmp_path / "disk"
        root.mkdir()
        device = RecordingIO(root)
        with instead_of_io(device):
            store = SeqVault(root / "vault", **WAITING)
            for user in range(RECORDS):
                append(store, user)
            device.die_in(0)
            device.revive()
            again = SeqVault(root / "vault", **WAITING)
            again.flush()
            durable = again.durable_sequence
            moment = len(device.events)
            # Both are as killed: their files closed, their threads ended, and nothing written any more.
            device.revive()
            for killed in (store, again):
                killed._dropped.detach()
                killed._access.writer._flusher.stop()
        assert durable == RECORDS
        rng = np.random.default_rng(0)
        for turn, (_, modes, image) in enumerate(crashes(device, [moment] * STATES, rng)):
            folder = tmp_path / f"state-{turn}"
            folder.mkdir()
            image.write(folder)
            found = users(folder / "vault")
            assert found == list(range(RECORDS)), f"{modes}: {found} survived of {RECORDS} reported durable"
            part.count += 1
