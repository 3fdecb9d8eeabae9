"""Writing files that survive: full writes, syncs believed only when they succeed, atomic replacement.

A failed sync is never retried: the kernel may have dropped the dirty pages and call the next one a success.
The store stops writing instead, and tells from the files what is durable when it is opened again."""

import errno
import os
from pathlib import Path

from seqvault.errors import DamagedDataError, StoreError, StoreFullError, StoreReadOnlyError

__all__ = [
    "SyncFailedError",
    "make_file",
    "read_at",
    "rename",
    "replace_file",
    "sync",
    "sync_folder",
    "write_at",
]


class SyncFailedError(StoreReadOnlyError):
    """A sync failed: what was written since the last one may or may not be durable."""


def write_at(fd: int, data: bytes | memoryview, offset: int, path: Path) -> None:
    """Write all of `data`. A full device first writes short, then fails: every count is checked.

    Raises:
        StoreFullError: no space left; part of the data may be in the file.
        StoreError: any other failure to write.
    """
    left = memoryview(data)
    try:
        while left:
            written = os.pwrite(fd, left, offset)
            if written <= 0:
                raise OSError(errno.EIO, "wrote nothing")
            left, offset = left[written:], offset + written
    except OSError as error:
        raise write_error(error, path) from error


def write_error(error: OSError, path: Path) -> StoreError:
    """The store's word for a failed write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFullError(f"{path}: no space left ({error}); nothing was kept: free space, write again")
    return StoreError(f"{path}: cannot write ({error}); check the device, then reopen the store")


def read_at(fd: int, size: int, offset: int, path: Path) -> bytes:
    """Exactly `size` bytes. Raises DamagedDataError when the file ends before, or does not read."""
    try:
        data = os.pread(fd, size, offset)
        while len(data) < size:
            more = os.pread(fd, size - len(data), offset + len(data))
            if not more:
                raise DamagedDataError(
                    f"{path} ends at byte {offset + len(data)}, not {offset + size}; restore it from backup"
                )
            data += more
    except OSError as error:
        raise DamagedDataError(f"{path}: cannot read ({error}); check the device") from error
    return data


def sync(fd: int, path: Path) -> None:
    """Make the file's bytes durable. Raises SyncFailedError."""
    try:
        os.fdatasync(fd)
    except OSError as error:
        raise SyncFailedError(
            f"{path}: sync failed ({error}); the store is read-only until reopened"
        ) from error


def sync_folder(folder: Path) -> None:
    """Make names in the folder durable: files made, renamed, removed. Raises SyncFailedError."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise SyncFailedError(
            f"{folder}: sync failed ({error}); the store is read-only until reopened"
        ) from error


def make_file(path: Path) -> int:
    """A new empty file open for reading and writing. Raises StoreFullError or StoreError."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise write_error(error, path) from error


def replace_file(path: Path, data: bytes) -> None:
    """Replace a small file atomically and durably: after a crash it is the old one or the new one, whole.

    Raises:
        StoreFullError: no space; the old file stands.
        SyncFailedError: unknown which of the two is durable.
    """
    draft = path.with_name(path.name + ".new")
    fd = make_file(draft)
    try:
        try:
            write_at(fd, data, 0, draft)
        except StoreError:
            draft.unlink(missing_ok=True)
            raise
        sync(fd, draft)
    finally:
        os.close(fd)
    rename(draft, path)
    sync_folder(path.parent)


def rename(draft: Path, path: Path) -> None:
    """Give a finished file its name. Raises SyncFailedError: what the folder holds is unknown then."""
    try:
        draft.rename(path)
    except OSError as error:
        raise SyncFailedError(
            f"{path}: cannot rename ({error}); the store is read-only until reopened"
        ) from error
