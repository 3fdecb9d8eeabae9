"""The two ways a store is open: for reading, following its writer, and for writing."""

import logging
import os
import threading
import warnings
from pathlib import Path

from seqvault.errors import StoreError
from seqvault.floor import check_floor
from seqvault.vault.compiled.options import Options
from seqvault.vault.disk.files import noticing_loss
from seqvault.vault.engine.compaction import Compactor
from seqvault.vault.engine.follower import Follower
from seqvault.vault.engine.recovery import Asked, FolderLock, recover
from seqvault.vault.engine.state import State
from seqvault.vault.engine.table import Table
from seqvault.vault.engine.writer import Writer

__all__ = ["ReadOnly", "Writable", "close_dropped"]

# A dropped store's sync may take a while; waiting for it lets the next line open the store again.
_CLOSING_S = 5.0
_log = logging.getLogger(__name__)


class ReadOnly:
    """A store that is followed. Args, Raises: see Follower."""

    def __init__(self, folder: Path, asked: Asked, options: Options) -> None:
        self._follower = Follower(folder, asked, options)
        self.replayed = self._follower.replayed
        self.current = self._follower.current  # as it is: every read asks for it

    @property
    def state(self) -> State:
        """The store as it was last seen."""
        return self._follower.state

    @property
    def durable_sequence(self) -> int:
        """The last change seen."""
        return self._follower.sequence

    @property
    def log_end(self) -> int:
        """Byte behind the last record seen."""
        return self._follower.log_end

    def refresh(self) -> None:
        """See everything acknowledged before the call."""
        self._follower.refresh()

    @property
    def background_errors(self) -> int:
        """A reader does nothing behind the caller's back."""
        return 0

    def own(self) -> None:
        """Raise StoreError unless the path leads to the folder that was opened."""
        self._follower.own()

    def let_go(self) -> None:
        """Close all files in a forked child, whose parent goes on with them."""
        self._follower.let_go()

    def close(self) -> None:
        """Close all files."""
        self._follower.close()


class Writable:
    """A store open for writing. Args, Raises: see recovery.recover."""

    def __init__(self, folder: Path, asked: Asked, options: Options) -> None:
        self._lock = FolderLock(folder)
        try:
            with noticing_loss(self._lock.own):
                self.state, wal, self.replayed = recover(folder, asked, options, self._lock.own)
        except BaseException:
            self._lock.close()
            raise
        self.writer = Writer(self.state, wal)
        self.compactor = Compactor(self.writer)
        self._maintained = 0
        self._background = _Background(self.compactor) if options.background else None

    def current(self) -> State:
        """The store."""
        return self.state

    @property
    def durable_sequence(self) -> int:
        """The last change known durable."""
        return self.writer.durable_sequence

    @property
    def log_end(self) -> int:
        """Byte behind the last record."""
        return self.writer.log_end

    def refresh(self) -> None:
        """A writer sees what it writes."""

    def expire(self, table: Table, before_s: int, *, force: bool) -> None:
        """See SeqVault.expire."""
        if not force:
            self._check_floor(table, before_s)
        self.writer.expire(table, before_s)

    def expire_old(self, now_s: int | None, *, force: bool) -> None:
        """Expire what is older than its sequence's ttl_s, in all sequences that hold any, or in none."""
        if now_s is None:
            return
        floors = [
            (table, now_s - sequence.ttl_s)
            for table, sequence in zip(self.state.tables, self.state.manifest.sequences, strict=True)
            if sequence.ttl_s is not None and table.tails.rows + table.index.rows
        ]
        if not force:
            for table, before_s in floors:
                self._check_floor(table, before_s)
        for table, before_s in floors:
            self.writer.expire(table, before_s)

    def maintain(self) -> None:
        """Compact after a seal, where it is worth it."""
        if self.writer.sealed == self._maintained:
            return
        self._maintained = self.writer.sealed
        if self._background is not None:
            self._background.wake()
        else:
            compact_unasked(self.compactor)

    @property
    def background_errors(self) -> int:
        """Compactions that were due and failed."""
        return self.compactor.failures

    def own(self) -> None:
        """Raise FolderLostError unless the path leads to the folder that was opened."""
        self._lock.own()

    def _check_floor(self, table: Table, before_s: int) -> None:
        if before_s > table.reader.floor_s:
            ttl_s = self.state.manifest.sequences[table.place].ttl_s
            check_floor(before_s, table.times(), ttl_s, table.name)

    def let_go(self) -> None:
        """Close all files in a forked child, whose parent goes on with them; nothing is written."""
        self.writer.let_go()
        self.state.let_go()

    def close(self) -> None:
        """Make everything durable and close all files. Raises SyncFailedError."""
        if self._background is not None:
            self._background.stop()
        try:
            self.writer.close()
        finally:
            self.state.close()
            self._lock.close()


def close_dropped(access: ReadOnly | Writable, path: Path, owner: int) -> None:
    """Close a store that was dropped while it was open; in a child of its `owner`, only let go of it."""
    if os.getpid() != owner:
        access.let_go()
        return
    # In a thread of its own: the collector may find it in any thread, also in one that closing waits for.
    closer = threading.Thread(target=access.close, name="seqvault-closer")
    closer.start()
    closer.join(_CLOSING_S)
    warnings.warn(f"{path} was dropped while it was open: close it, or open it in `with`", ResourceWarning, 2)


def compact_unasked(compactor: Compactor) -> None:
    """Compact what is worth it; what hinders it also hinders, and is reported by, the next write or read."""
    try:
        while compactor.step():
            pass
    except StoreError as error:
        # A full device, damage, a failed sync: nothing depends on it, and the writer has noted the last.
        compactor.failures += 1
        _log.warning("a compaction that was due failed, and will be tried again: %s", error)


class _Background:
    """Compacts in a thread of its own, started when there first is something to do."""

    def __init__(self, compactor: Compactor) -> None:
        self._compactor = compactor
        self._turn = threading.Condition()
        self._due = False
        self._stopping = False
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """There may be something to do."""
        with self._turn:
            self._due = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="seqvault-compaction", daemon=True)
                self._thread.start()
            self._turn.notify()

    def stop(self) -> None:
        """End the thread, after what it is doing."""
        with self._turn:
            self._stopping = True
            self._turn.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._due or self._stopping)
                if self._stopping:
                    return
                self._due = False
            compact_unasked(self._compactor)
