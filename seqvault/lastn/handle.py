"""An open database with its folder: whether it is still there, how old what is read may be, and its end.

A reader is RocksDB's secondary instance: it follows the writer's log and files when it is told to, and keeps
a log of its own in a temporary folder. Of what was written past the log, as bulk loads are, it goes on
reading older versions from memory; so it is opened anew where the writer has made or removed files.
"""

import os
import shutil
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

from seqvault.errors import StoreError, StoreReadOnlyError
from seqvault.lastn.database import open_database, rocksdb_errors
from seqvault.ownership import inode_of, keep_for_ever, leads_to, lost_folder, open_folder

__all__ = ["Handle", "close_dropped"]


class Handle:
    """See the module. Methods are called by one thread at a time.

    Args:
        path: the store's folder; the database lies in `path/rocksdb`.
        staleness_s: a reader sees at least what had been acknowledged so long before a read.
        options: block_cache_bytes, point_lookups, see open_database.

    Raises:
        StoreError: see open_database.
    """

    def __init__(
        self, path: Path, *, read_only: bool, staleness_s: float, block_cache_bytes: int, point_lookups: bool
    ) -> None:
        self.path, self.read_only = path, read_only
        self._staleness_s = staleness_s
        self._own_folder = Path(tempfile.mkdtemp(prefix="lastn-reader-")) if read_only else None
        self._open = partial(
            open_database,
            path / "rocksdb",
            block_cache_bytes=block_cache_bytes,
            secondary=self._own_folder,
            point_lookups=point_lookups,
        )
        try:
            self._tables = self._find_tables()
            self.database = self._open()
        except BaseException:
            self._forget()
            raise
        self._folder_fd = open_folder(self.database.path)
        self._inode, self._lost = inode_of(self._folder_fd), False
        self._refreshed_s = time.monotonic()

    def check_own(self) -> None:
        """Raise StoreReadOnlyError once the path no longer leads to the folder that was opened."""
        self._lost = self._lost or not leads_to(self.database.path, self._inode)
        if self._lost:
            raise StoreReadOnlyError(lost_folder(self.path))

    def refresh_if_stale(self) -> bool:
        """See `refresh`; nothing where it was done within staleness_s."""
        stale = self.read_only and time.monotonic() - self._refreshed_s > self._staleness_s
        return stale and self.refresh()

    def refresh(self) -> bool:
        """Let a reader see everything that was acknowledged before the call. Raises StoreError.

        Returns:
            whether `database` is another one now.
        """
        began_s = time.monotonic()
        if not self.read_only:
            return False
        if not leads_to(self.database.path, self._inode):
            raise StoreError(lost_folder(self.path))
        tables = self._find_tables()
        anew = tables != self._tables
        with rocksdb_errors(self.path):
            if anew:
                self.database.rocks.close()
                self.database = self._open()
            else:
                self.database.rocks.try_catch_up_with_primary()
        self._tables, self._refreshed_s = tables, began_s
        return anew

    def close(self) -> None:
        """Close the database, and the folder in any case. Raises StoreError."""
        try:
            if self.read_only or leads_to(self.database.path, self._inode):
                with rocksdb_errors(self.path):
                    self.database.rocks.close()
            else:
                self._leave()
        finally:
            # Also where RocksDB fails on a full device: a descriptor keeps that from being unmounted.
            os.close(self._folder_fd)
            self._forget()

    def let_go(self) -> None:
        """In a forked child: close descriptors, and leave the rest to the parent."""
        self._leave()
        os.close(self._folder_fd)

    def _find_tables(self) -> set[str]:
        """Names of the database's sorted tables; none in a folder that is yet to be made."""
        folder = self.path / "rocksdb"
        return {file.name for file in folder.glob("*.sst")} if self.read_only else set()

    def _leave(self) -> None:
        """Have RocksDB close nothing: closing, it removes by name every file that it does not know."""
        keep_for_ever(self.database.rocks)

    def _forget(self) -> None:
        if self._own_folder is not None:
            shutil.rmtree(self._own_folder, ignore_errors=True)


def close_dropped(handle: Handle, owner: int) -> None:
    """Close a store that was dropped while it was open; in a child of its `owner`, only let go of it."""
    if os.getpid() != owner:
        handle.let_go()
        return
    try:
        handle.close()
    finally:
        warnings.warn(
            f"{handle.path} was dropped while it was open: close it, or open it in `with`", ResourceWarning, 2
        )
