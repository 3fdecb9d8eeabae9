"""Group commit: appends that wait at the same time share one sync, and become readable in the log's order.

A change is written to the log by its thread, one after the other, and then waits here. Of the waiting
threads one syncs for all, applies their changes, and wakes them; those that come meanwhile are the next
group. Changes that need not wait are applied at once, unless others are waiting before them.

An interrupt (Ctrl-C) may end any wait. It is no failure: what waited stays queued, and the next wait syncs
and applies it.
"""

import threading
from collections import deque
from collections.abc import Callable

from seqvault.errors import StoreError
from seqvault.vault.disk.files import SyncFailedError
from seqvault.vault.disk.points import point
from seqvault.vault.log.change import Change
from seqvault.vault.log.wal import Wal

__all__ = ["Flusher", "GroupCommit"]

# One that syncs for others and is interrupted twice may wake nobody: they look by themselves.
_LOOK_S = 1.0


class GroupCommit:
    """Changes on their way from the log to the tails.

    Args:
        wal: the live log; replaced, with nothing waiting, when it is rotated.
        apply: makes a change readable; called by one thread at a time, in the log's order, and once more for
            a change at which it was interrupted.
    """

    def __init__(self, wal: Wal, apply: Callable[[Change], None]) -> None:
        self.wal = wal
        self._apply = apply
        self._turn = threading.Condition()
        self._applying = threading.Lock()
        self._queue: deque[Change] = deque()
        self._last = wal.written
        self._syncing = False
        self._failed: BaseException | None = None

    @property
    def failed(self) -> BaseException | None:
        """Why nothing can become durable any more."""
        return self._failed

    @property
    def last(self) -> int:
        """Number of the last change that was added."""
        return self._last

    def add(self, change: Change, *, waits: bool) -> None:
        """Take over a change that was just written; called in the log's order.

        Args:
            waits: whether its thread waits until it is durable; it is not readable before. Otherwise it is
                readable at once, or with the changes before it.
        """
        with self._applying:
            self._queue.append(change)
            self._last = change.sequence
            if not waits:
                if len(self._queue) > 1:
                    self._queue[-1] = change.copied()
                else:
                    self._apply(change)
                    self._queue.pop()

    def keep(self) -> None:
        """Let no queued change share arrays with a caller, who was interrupted and may write over them."""
        with self._applying:
            for i, change in enumerate(self._queue):
                self._queue[i] = change.copied()

    def wait(self, sequence: int | None = None) -> None:
        """Return once a change, or all that were added, is durable and readable.

        Raises:
            SyncFailedError: this or an earlier sync failed.
        """
        if sequence is None:
            sequence = self._last
        while True:
            syncs = False
            try:
                with self._turn:
                    if self.wal.durable >= sequence:
                        return
                    if self._failed is not None:
                        raise SyncFailedError(str(self._failed))
                    if self._syncing:
                        self._turn.wait(_LOOK_S)
                        continue
                    target = self._last
                    # One statement: no interrupt comes between the two.
                    self._syncing = syncs = True
                self._sync(target)
            finally:
                if syncs:
                    self._syncing = False
                    with self._turn:
                        self._turn.notify_all()

    def _sync(self, target: int) -> None:
        """Sync the log for every change up to `target`, and apply them."""
        try:
            self.wal.sync()
            point("wal.synced")
            with self._applying:
                while self._queue and self._queue[0].sequence <= target:
                    self._apply(self._queue[0])
                    self._queue.popleft()
            self.wal.durable = target
        except BaseException as error:
            failed = _failure(error)
            if failed is not None:
                self._failed = self._failed or failed
            raise


def _failure(error: BaseException | None) -> BaseException | None:
    """The failure that an exception is, or that an interrupt took the place of; None for a mere interrupt."""
    while error is not None and not isinstance(error, StoreError | OSError):
        error = error.__context__
    return error


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
