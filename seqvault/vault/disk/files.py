"""Writing files that survive: full writes, syncs believed only when they succeed, atomic replacement.

Every file operation of the engine goes through here, and from here through `io`, which a test replaces by a
device that fails, tears or forgets. Only the read kernels `pread` blocks by themselves, from descriptors
opened here. `points.py` marks the moments between which a crash must not matter.

A failed sync is never retried: the kernel may have dropped the dirty pages and call the next one a success.
The store stops writing instead, and learns from the files what is durable when it is opened again."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from seqvault.errors import DamagedDataError, StoreError, StoreFullError, StoreReadOnlyError
from seqvault.vault.disk.points import point

__all__ = [
    "FileIO",
    "FolderLostError",
    "Own",
    "SyncFailedError",
    "WriterStoppedError",
    "allocate",
    "anybody",
    "close",
    "cut",
    "io",
    "link",
    "make_file",
    "make_folder",
    "miswritten",
    "noticing_loss",
    "open_error",
    "open_file",
    "read_at",
    "read_file",
    "remove",
    "rename",
    "replace_file",
    "size_of",
    "sync",
    "sync_folder",
    "write_at",
    "write_error",
]

_MODE = 0o644
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
# A file system that cannot reserve space is written to without.
_CANNOT_ALLOCATE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


Own = Callable[[], None]
"""Asked right before a name is made, changed or removed: raises FolderLostError where the folder is no longer
the writer's."""


class WriterStoppedError(StoreReadOnlyError):
    """The writer must write no more, and must not remove what it wrote: it may be named."""


class SyncFailedError(WriterStoppedError):
    """A sync failed: what was written since the last one may or may not be durable."""


class FolderLostError(WriterStoppedError):
    """The path no longer leads to the folder that was opened: names there are somebody else's."""


@contextmanager
def noticing_loss(own: Own) -> Iterator[None]:
    """What fails within because the folder is another one now is called that, not damage. Raises as `own`."""
    try:
        yield
    except WriterStoppedError:
        raise
    except StoreError:
        own()
        raise


def anybody() -> None:
    """The Own of a folder that nobody else can have, such as a snapshot that is being made."""


class FileIO:
    """The system calls the engine makes, one method each; raises OSError as they do."""

    def open(self, path: Path, flags: int, mode: int) -> int:
        """A descriptor, closed on exec."""
        return os.open(path, flags | os.O_CLOEXEC, mode)

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        os.close(fd)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """At most `size` bytes; fewer at the end of the file, or when the system feels like it."""
        return os.pread(fd, size, offset)

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Bytes written, perhaps fewer than given."""
        return os.pwrite(fd, data, offset)

    def fdatasync(self, fd: int) -> None:
        """Bytes and length of a file to the device."""
        os.fdatasync(fd)

    def fsync_folder(self, folder: Path) -> None:
        """Names in a folder to the device."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def fallocate(self, fd: int, offset: int, size: int) -> None:
        """Reserve zeros at offset..offset + size."""
        os.posix_fallocate(fd, offset, size)

    def ftruncate(self, fd: int, size: int) -> None:
        """Cut a file, or lengthen it by zeros."""
        os.ftruncate(fd, size)

    def mkdir(self, folder: Path) -> None:
        """A new folder; its parent must be there."""
        folder.mkdir()

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, over any file that has it."""
        old.rename(new)

    def unlink(self, path: Path) -> None:
        """Remove a name."""
        path.unlink()

    def link(self, old: Path, new: Path) -> None:
        """A second name of the same file."""
        os.link(old, new)


io = FileIO()


def open_file(path: Path, *, write: bool = False, direct: bool = False) -> int:
    """A descriptor of an existing file.

    Args:
        direct: past the page cache; reads must then be aligned.

    Raises:
        FileNotFoundError: there is none.
        StoreError: the process, or the system, has no descriptor free.
        DamagedDataError: it does not open.
    """
    flags = (os.O_RDWR if write else os.O_RDONLY) | (os.O_DIRECT if direct else 0)
    try:
        return io.open(path, flags, _MODE)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise open_error(error, path) from error


def open_error(error: OSError, path: Path) -> StoreError:
    """The store's word for what does not open: a lack of descriptors says nothing about the file."""
    if error.errno in _NO_DESCRIPTOR:
        return StoreError(
            f"{path}: no descriptor free to open it with ({error}); it is not damaged. Close stores or "
            "files, or raise the limit (ulimit -n)"
        )
    return DamagedDataError(f"{path} does not open ({error}); check the device and the rights")


def make_folder(folder: Path) -> None:
    """The folder and those above it, durable; nothing where it is already. Raises StoreError."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        io.mkdir(folder)
    except FileExistsError:
        return
    except OSError as error:
        raise write_error(error, folder) from error
    sync_folder(folder.parent)


def make_file(path: Path) -> int:
    """A new empty file open for reading and writing. Raises StoreFullError or StoreError."""
    try:
        return io.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, _MODE)
    except OSError as error:
        raise write_error(error, path) from error


def close(fd: int) -> None:
    """Close a descriptor."""
    io.close(fd)


def size_of(fd: int) -> int:
    """Bytes of an open file."""
    return os.fstat(fd).st_size


def write_at(fd: int, data: bytes | memoryview, offset: int, path: Path) -> None:
    """Write all of `data`. A full device first writes short, then fails: every count is checked.

    Raises:
        StoreFullError: no space left; part of the data may be in the file.
        StoreError: any other failure to write.
    """
    left = memoryview(data)
    try:
        while left:
            try:
                written = io.pwrite(fd, left, offset)
            except InterruptedError:
                continue
            if written <= 0:
                raise OSError(errno.EIO, "wrote nothing")
            left, offset = left[written:], offset + written
    except OSError as error:
        raise write_error(error, path) from error


def write_error(error: OSError, path: Path) -> StoreError:
    """The store's word for a failed write."""
    if error.errno in _NO_SPACE:
        return StoreFullError(f"{path}: no space left ({error}); nothing was kept: free space, write again")
    return StoreError(f"{path}: cannot write ({error}); check the device, then reopen the store")


def read_at(fd: int, size: int, offset: int, path: Path) -> bytes:
    """Exactly `size` bytes. Raises DamagedDataError when the file ends before, or does not read."""
    parts: list[bytes] = []
    left = size
    try:
        while left:
            try:
                data = io.pread(fd, left, offset + size - left)
            except InterruptedError:
                continue
            if not data:
                raise DamagedDataError(
                    f"{path} ends at byte {offset + size - left}, not {offset + size}; restore it from backup"
                )
            parts.append(data)
            left -= len(data)
    except OSError as error:
        raise DamagedDataError(f"{path}: cannot read byte {offset} ({error}); check the device") from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_file(path: Path) -> bytes:
    """A whole file. Raises FileNotFoundError, DamagedDataError."""
    fd = open_file(path)
    try:
        return read_at(fd, size_of(fd), 0, path)
    finally:
        close(fd)


def allocate(fd: int, offset: int, size: int, path: Path) -> bool:
    """Reserve zeros for later writes; False where the file system cannot.

    Raises:
        StoreFullError: no space left.
        StoreError: any other failure.
    """
    try:
        io.fallocate(fd, offset, size)
    except OSError as error:
        if error.errno in _CANNOT_ALLOCATE:
            return False
        raise write_error(error, path) from error
    return True


def cut(fd: int, size: int, path: Path) -> None:
    """Cut a file to `size` bytes. Raises StoreError."""
    try:
        io.ftruncate(fd, size)
    except OSError as error:
        raise write_error(error, path) from error


def sync(fd: int, path: Path) -> None:
    """Make the file's bytes durable. Raises SyncFailedError."""
    while True:
        try:
            return io.fdatasync(fd)
        except InterruptedError:
            continue
        except OSError as error:
            raise _unsure(f"{path}: sync failed ({error})") from error


def sync_folder(folder: Path) -> None:
    """Make names in the folder durable: files made, renamed, removed. Raises SyncFailedError."""
    try:
        io.fsync_folder(folder)
    except OSError as error:
        raise _unsure(f"{folder}: sync failed ({error})") from error


def rename(draft: Path, path: Path) -> None:
    """Give a finished file its name. Raises SyncFailedError: what the folder holds is unknown then."""
    try:
        io.rename(draft, path)
    except OSError as error:
        raise _unsure(f"{path}: cannot rename ({error})") from error


def remove(path: Path, own: Own) -> None:
    """Remove a file no manifest names; one that stays is removed at the next open. Never a stranger's."""
    try:
        own()
        io.unlink(path)
    except (OSError, FolderLostError):
        return


def link(old: Path, new: Path) -> None:
    """A second name of the same bytes. Raises StoreFullError, StoreError."""
    try:
        io.link(old, new)
    except OSError as error:
        raise write_error(error, new) from error


def replace_file(path: Path, data: bytes, points: str, own: Own) -> None:
    """Replace a small file atomically and durably: after a crash it is the old one or the new one, whole.

    Args:
        points: the kill points passed are "POINTS.made", ".written", ".synced", ".renamed", ".named".

    Raises:
        StoreFullError: no space; the old file stands.
        DamagedDataError: the new file does not read back; the old file stands.
        SyncFailedError: unknown which of the two is durable.
        FolderLostError: the folder is somebody else's; nothing changed there.
    """
    own()
    draft = path.with_name(path.name + ".new")
    fd = make_file(draft)
    point(f"{points}.made")
    try:
        write_at(fd, data, 0, draft)
        point(f"{points}.written")
        sync(fd, draft)
        point(f"{points}.synced")
        if read_at(fd, len(data), 0, draft) != data:
            raise miswritten(draft)
        own()
    except WriterStoppedError:
        raise
    except StoreError:
        remove(draft, own)
        raise
    finally:
        close(fd)
    rename(draft, path)
    point(f"{points}.renamed")
    sync_folder(path.parent)
    point(f"{points}.named")


def miswritten(path: Path) -> DamagedDataError:
    """The error for a new file that is not what was written into it."""
    return DamagedDataError(
        f"{path} does not read back as it was written: it is not used, and what it was to replace "
        "stays. Check memory and device, then write again"
    )


def _unsure(what: str) -> SyncFailedError:
    return SyncFailedError(f"{what}; the store is read-only until reopened")
