"""A log that ends anywhere within its last records, or holds nothing from there on."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from lossy_disk import RecordingIO, instead_of_io
from streams import Stream, Survivors
from vaults import MEMORY, open_vault

RECORDS = 8
LAST = 3
STREAMS = [Stream(1), Stream(2, most_rows=40), Stream(4, batch_ids=True), Stream(5, sequence="impressions")]


def _truncated(data: bytes, at: int) -> bytes:
    return data[:at]


def _zeros_from(data: bytes, at: int) -> bytes:
    return data[:at].ljust(len(data), b"\0")


DAMAGES: dict[str, Callable[[bytes, int], bytes]] = {"truncated": _truncated, "zeros": _zeros_from}


def cut_everywhere(stream_index: int, damage: str, step: int) -> tuple[int, list[str]]:
    """Cut the log at every `step`-th byte of its last records; (cuts, what was wrong, one line a cut)."""
    stream, failures = STREAMS[stream_index], []
    root = Path(tempfile.mkdtemp(prefix="cuts-", dir=MEMORY))
    try:
        vault = root / "vault"
        ends = _write_log(vault, stream)
        (log,) = vault.glob("wal-*.log")
        data = log.read_bytes()
        cuts = range(ends[-LAST - 1], len(data) + 1, step)
        for at in cuts:
            copy = shutil.copytree(vault, root / "cut")
            damaged = DAMAGES[damage](data, at)
            (copy / log.name).write_bytes(damaged)
            # Records end in zeros: without their last bytes they are what they were.
            whole = [end for end in [*ends, len(data)] if damaged[:end] == data[:end]]
            torn = bool(damaged[whole[-1] :].strip(b"\0"))
            try:
                # Behind the last operation lies the mark of a store that was closed.
                expected = len([end for end in whole if end in ends])
                _check(copy, stream, expected, torn=torn, by_reader=at % 4 == 0)
            except Exception as error:
                failures.append(f"cut at byte {at} of {log.name} ({ends}): {type(error).__name__}: {error}")
            shutil.rmtree(copy)
    finally:
        shutil.rmtree(root)
    return len(cuts), failures


def _write_log(folder: Path, stream: Stream) -> list[int]:
    """Write RECORDS operations; where the record of each ends in the log."""
    folder.parent.mkdir(exist_ok=True)
    device = RecordingIO(folder.parent)
    ends = []
    with instead_of_io(device), open_vault(folder, seal_rows=1_000_000) as store:
        for number in range(RECORDS):
            before = len(device.events)
            stream.operation(number).run(store)
            writes = [event for event in device.events[before:] if event.kind == "write"]
            ends.append(max(event.offset + len(event.data) for event in writes))
    assert sorted(set(ends)) == ends
    return ends


def _check(folder: Path, stream: Stream, expected: int, torn: bool, by_reader: bool) -> None:
    """Exactly `expected` operations are left, reading and writing, and the store goes on behind them."""
    for read_only in (True, False) if by_reader else (False,):
        with open_vault(folder, read_only=read_only) as store:
            Survivors(stream).settle(store, expected, expected)
            stats = store.stats()
            assert stats["durable_sequence"] == expected, stats
            assert (stats["torn_bytes"] > 0) == torn, stats
            if not read_only:
                for number in range(expected, expected + 2):
                    stream.operation(number).run(store)
    with open_vault(folder) as store:
        Survivors(stream).settle(store, expected + 2, expected + 2)
