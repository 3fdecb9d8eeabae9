"""The life of an open SeqVault: how it was opened, whose it is, and its end."""

import os
import weakref
from pathlib import Path
from typing import Self

from seqvault.errors import SchemaError, StoreClosedError, StoreReadOnlyError
from seqvault.ownership import forked_store, tell_of_forks
from seqvault.vault.compiled.options import Options
from seqvault.vault.engine.access import ReadOnly, Writable, close_dropped
from seqvault.vault.engine.recovery import Asked
from seqvault.vault.engine.table import Table

__all__ = ["Opened"]


class Opened:
    """What SeqVault's methods stand on. Args, raises: see SeqVault."""

    def __init__(self, path: Path | str, asked: Asked, options: Options) -> None:
        # Absolute: the process may change its folder while the store is open.
        self.path = Path(path).absolute()
        self._access = (
            ReadOnly(self.path, asked, options) if options.read_only else Writable(self.path, asked, options)
        )
        self._owner = os.getpid()
        self._ended: str | None = None
        self._inherited = False
        tell_of_forks(self)
        self._dropped = weakref.finalize(self, close_dropped, self._access, self.path, self._owner)
        # A store that is open when the process ends is as one that was killed: nothing acknowledged is lost.
        self._dropped.atexit = False

    def close(self) -> None:
        """See HistoryStore.close. Tails stay in the log and are replayed at the next open."""
        self._dropped.detach()
        if self._inherited:
            self._inherited = False
            self._access.let_go()
        elif self._ended is None:
            self._ended = f"{self.path} is closed: open it again"
            self._access.close()

    def forked(self) -> None:
        """In a child of the process that opened the store: nothing of it is the child's to use."""
        if self._ended is None:
            self._ended = forked_store(self.path, self._owner)
            self._inherited = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _table(self, sequence: str | None) -> Table:
        if self._ended is not None:
            raise StoreClosedError(self._ended)
        tables = self._access.current().tables
        if sequence is None:
            return tables[0]
        for table in tables:
            if table.name == sequence:
                return table
        raise SchemaError(
            f"{self.path} has no sequence {sequence!r}: expected one of {[table.name for table in tables]}"
        )

    def _open(self) -> ReadOnly | Writable:
        if self._ended is not None:
            raise StoreClosedError(self._ended)
        return self._access

    def _writable(self) -> Writable:
        access = self._open()
        if not isinstance(access, Writable):
            raise StoreReadOnlyError(f"{self.path} is open read-only: open it with read_only=False")
        return access
