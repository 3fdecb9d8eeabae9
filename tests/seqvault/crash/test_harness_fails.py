"""The harness finds what it is there to find: engines and devices made wrong on purpose do not pass."""

from pathlib import Path

import pytest
from bit_flips import damage
from lossy_disk import RecordingIO
from nursery import Nursery
from power_loss import lose_power
from streams import Stream, Survivors
from vaults import open_vault

from seqvault.vault.disk import files
from seqvault.vault.format import block
from seqvault.vault.reading import plain

OPERATIONS = 20


class Anything(int):
    """A checksum that equals every other."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__


def without_sync(method: str) -> list[str]:
    """Lose power on a device whose syncs, of files or of folders, do nothing."""
    setattr(RecordingIO, method, lambda self, what: getattr(files.FileIO, method)(self, what))
    return lose_power(0, 20)


def without_checksums() -> list[str]:
    """Flip bits under a plain decoder that believes every block's checksum."""
    for module in (block, plain):
        if hasattr(module, "hash64"):
            module.hash64 = lambda *_: Anything()  # type: ignore[attr-defined]
    return list(damage(0, 120, "packed", False, "flip")["wrong"])


@pytest.mark.parametrize("method", ["fdatasync", "fsync_folder"])
def test_a_skipped_sync_is_found(method: str, nursery: Nursery) -> None:
    assert nursery.value("test_harness_fails:without_sync", method=method)


def test_a_skipped_checksum_is_found() -> None:
    with Nursery({"SEQVAULT_PLAIN": "1"}) as nursery:
        wrong = nursery.value("test_harness_fails:without_checksums")
    assert any("silently wrong" in line for line in wrong), wrong


def test_a_lost_a_doubled_and_a_missing_operation_are_found(tmp_path: Path) -> None:
    stream = Stream(1)
    with open_vault(tmp_path / "vault") as store:
        for number in range(OPERATIONS):
            stream.operation(number).run(store)
        Survivors(stream).settle(store, OPERATIONS, OPERATIONS)
        with pytest.raises(AssertionError, match="holds no state"):
            Survivors(stream).settle(store, OPERATIONS + 1, OPERATIONS + 1)
        stream.operation(OPERATIONS - 1).run(store)
        with pytest.raises(AssertionError, match="holds no state"):
            Survivors(stream).settle(store, OPERATIONS, OPERATIONS)
    with open_vault(tmp_path / "gap") as store:
        for number in range(OPERATIONS):
            if number != OPERATIONS // 2:
                stream.operation(number).run(store)
        with pytest.raises(AssertionError, match="holds no state"):
            Survivors(stream).settle(store, 0, OPERATIONS)
