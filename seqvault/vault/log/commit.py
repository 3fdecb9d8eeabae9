"""Group commit: appends that wait at the same time share one sync, and become readable in the log's order.

A change is written to the log by its thread, one after the other, and then waits here. Of the waiting
threads one syncs for all, applies their changes, and wakes them; those that come meanwhile are the next
group. Changes that need not wait are applied at once, unless others are waiting before them.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence

from seqvault.errors import StoreError, StoreReadOnlyError
from seqvault.vault.disk.files import SyncFailedError
from seqvault.vault.disk.points import point
from seqvault.vault.log.change import Change
from seqvault.vault.log.wal import Wal

__all__ = ["Flusher", "GroupCommit"]


class GroupCommit:
    """Changes on their way from the log to the tails.

    Args:
        wal: the live log; replaced, with nothing waiting, when it is rotated.
        apply: makes changes readable; called by one thread at a time, in the log's order.
    """

    def __init__(self, wal: Wal, apply: Callable[[Sequence[Change]], None]) -> None:
        self.wal = wal
        self._apply = apply
        self._turn = threading.Condition()
        self._applying = threading.Lock()
        self._queue: deque[Change] = deque()
        self._last = wal.written
        self._syncing = False
        self._failed: StoreError | None = None

    @property
    def failed(self) -> StoreError | None:
        """Why nothing can become durable any more."""
        return self._failed

    def add(self, change: Change, *, waits: bool) -> None:
        """Take over a change that was just written; called in the log's order.

        Args:
            waits: whether its thread waits until it is durable; it is not readable before. Otherwise it is
                readable at once, or with the changes before it.
        """
        with self._applying:
            if waits:
                self._queue.append(change)
            elif self._queue:
                self._queue.append(change.copied())
            else:
                self._apply([change])
        with self._turn:
            self._last = change.sequence

    def wait(self, sequence: int | None = None) -> None:
        """Return once a change, or all that were added, is durable and readable.

        Raises:
            SyncFailedError: this or an earlier sync failed.
        """
        if sequence is None:
            sequence = self._last
        while True:
            with self._turn:
                if self.wal.durable >= sequence:
                    return
                if self._failed is not None:
                    raise SyncFailedError(str(self._failed))
                if self._syncing:
                    self._turn.wait()
                    continue
                self._syncing = True
                target = self._last
            self._sync(target)

    def _sync(self, target: int) -> None:
        """Sync the log for every change up to `target`, and apply them."""
        failed: StoreError | None = StoreReadOnlyError("the thread that synced for others was interrupted")
        try:
            self.wal.sync()
            point("wal.synced")
            with self._applying:
                changes = []
                while self._queue and self._queue[0].sequence <= target:
                    changes.append(self._queue.popleft())
                self._apply(changes)
            failed = None
        except StoreError as error:
            failed = error
            raise
        finally:
            with self._turn:
                self._syncing = False
                if failed is None:
                    self.wal.durable = target
                else:
                    self._failed = self._failed or failed
                self._turn.notify_all()


class Flusher:
    """Syncs what `durability="async"` wrote, in a thread of its own.

    Args:
        commit: what to wait for.
        interval_s: at most so long after a change its sync begins;
        rows: or as soon as so many behaviours are unsynced.
    """

    def __init__(self, commit: GroupCommit, interval_s: float, rows: int) -> None:
        self._commit = commit
        self._interval_s = interval_s
        self._rows = rows
        self._unsynced = 0
        self._stopping = False
        self._turn = threading.Condition()
        self._thread: threading.Thread | None = None

    def note(self, rows: int) -> None:
        """So many behaviours were written that nobody waits for."""
        with self._turn:
            first = self._unsynced == 0
            self._unsynced += rows
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="seqvault-flusher", daemon=True)
                self._thread.start()
            if first or self._unsynced >= self._rows:
                self._turn.notify()

    def stop(self) -> None:
        """End the thread; what it has not synced stays unsynced."""
        with self._turn:
            self._stopping = True
            self._turn.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._stopping or self._unsynced > 0)
                self._turn.wait_for(lambda: self._stopping or self._unsynced >= self._rows, self._interval_s)
                if self._stopping:
                    return
                self._unsynced = 0
            try:
                self._commit.wait()
            except StoreError:
                # GroupCommit keeps the reason; the next write raises it.
                return
