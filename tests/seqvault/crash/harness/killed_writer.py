"""The process that is killed while it writes, and the parent that holds what is left to the promise."""

import os
import struct
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from board import open_board
from nursery import Nursery
from streams import Append, Stream, Survivors, standard_streams
from vaults import compact_early, open_vault

# One acknowledgement: stream, 1 if issued and 0 if acknowledged, operation, durable sequence.
ACK = struct.Struct("<BBxxxxxxQQ")


class Acks:
    """Where a writer notes what it issued and what was acknowledged, before it may die.

    Args:
        path: a file of ACK records, in the page cache at once.
        board: the file that readers of the store look at (followers.py), if there are any.
        wrote: a file that is made at the first acknowledgement, if one is named.
    """

    def __init__(self, path: str, board: str | None = None, wrote: str | None = None) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._board = None if board is None else open_board(board)
        self._wrote = None if wrote is None else Path(wrote)

    def issued(self, stream: int, number: int) -> None:
        if self._board is not None:
            self._board[0, stream] = number + 1
        os.write(self._fd, ACK.pack(stream, 1, number, 0))

    def acked(self, stream: int, number: int, durable: int) -> None:
        os.write(self._fd, ACK.pack(stream, 0, number, durable))
        if self._board is not None:
            self._board[1, stream] = number + 1
        wrote, self._wrote = self._wrote, None
        if wrote is not None:
            wrote.touch()


def write(
    folder: str,
    firsts: dict[str, int],
    acks: str,
    seed: int,
    options: dict[str, Any],
    maintain: bool,
    board: str | None = None,
    wrote: str | None = None,
) -> None:
    """A thread a stream, each operation noted before and after; seals and compactions beside."""
    noted = Acks(acks, board, wrote)
    compact_early(seed % 3 == 1)
    failed: list[BaseException] = []
    with open_vault(folder, **options) as store:
        threads = [
            threading.Thread(target=_write_stream, args=(store, s, firsts[str(s.number)], noted, failed))
            for s in standard_streams()
        ]
        for thread in threads:
            thread.start()
        rng = np.random.default_rng(seed)
        while not failed:
            time.sleep(float(rng.uniform(0, 0.02)))
            if maintain:
                _maintain(store, rng)
        raise failed[0]


def _write_stream(store, stream: Stream, first: int, noted: Acks, failed: list[BaseException]) -> None:
    try:
        # A writer that does not know whether its last batch arrived sends it again under its id.
        if first and stream.batch_ids:
            last = stream.operation(first - 1)
            if isinstance(last, Append):
                assert last.run(store) is False, f"batch {last.batch_id} was written twice"
        number = first
        while not failed:
            noted.issued(stream.number, number)
            stream.operation(number).run(store)
            noted.acked(stream.number, number, store.durable_sequence)
            number += 1
    except BaseException as error:
        failed.append(error)


def _maintain(store, rng: np.random.Generator) -> None:
    chance = rng.random()
    if chance < 0.4:
        store.seal()
    elif chance < 0.8:
        store.compact(full=bool(rng.random() < 0.5))
    else:
        store.flush()


class KillRounds:
    """Rounds of write, kill, reopen, compare, on one store."""

    def __init__(self, folder: Path, nursery: Nursery, options: dict[str, Any]) -> None:
        self.folder, self.nursery, self.options = folder, nursery, options
        self.survivors = {stream.number: Survivors(stream) for stream in standard_streams()}
        self.acknowledged = 0
        self.rounds = 0

    def round(self, live_s: float, *, maintain: bool, opens: bool = True, board: str | None = None) -> None:
        """Write, kill, reopen, compare.

        Args:
            live_s: until the kill, counted from the first acknowledgement where the writer `opens` the store;
                else from the beginning, so that it may die in between.
        """
        acks, wrote = self.folder / f"acks-{self.rounds}", self.folder / f"wrote-{self.rounds}"
        ended = self.nursery.run(
            "killed_writer:write",
            live_s,
            ready=wrote if opens else None,
            folder=str(self.folder / "vault"),
            firsts={number: known.operations for number, known in self.survivors.items()},
            acks=str(acks),
            seed=self.rounds,
            options=self.options,
            maintain=maintain,
            board=board,
            wrote=str(wrote),
        )
        assert ended["end"] == "killed by SIGKILL", f"{ended['end']}\n{ended.get('text', '')}"
        self.compare(acks)
        acks.unlink(missing_ok=True)
        wrote.unlink(missing_ok=True)
        self.rounds += 1

    def compare(self, acks: Path) -> None:
        """Reopen; nothing acknowledged may be missing, async or not: a killed process loses no page."""
        acked, issued, durable = read_acks(acks)
        if self.rounds % 4 == 0 and (self.folder / "vault" / "MANIFEST").exists():
            with open_vault(self.folder / "vault", read_only=True) as store:
                self._settle(store, acked, issued)
        with open_vault(self.folder / "vault", **self.options) as store:
            self._settle(store, acked, issued)
            reported = store.stats()["durable_sequence"]
            assert reported >= durable, f"sequence {durable} was reported durable, now it is {reported}"
        self.acknowledged += sum(acked.values())

    def _settle(self, store, acked: dict[int, int], issued: dict[int, int]) -> None:
        for number, known in self.survivors.items():
            known.settle(store, acked.get(number, 0), issued.get(number, 0))


def read_acks(path: Path) -> tuple[dict[int, int], dict[int, int], int]:
    """(operations acknowledged by stream, issued by stream, the highest durable sequence reported)."""
    acked: dict[int, int] = defaultdict(int)
    issued: dict[int, int] = defaultdict(int)
    durable = 0
    if path.exists():
        data = path.read_bytes()
        for stream, is_issue, number, sequence in ACK.iter_unpack(data[: len(data) // ACK.size * ACK.size]):
            (issued if is_issue else acked)[stream] = number + 1
            durable = max(durable, sequence)
    return acked, issued, durable
