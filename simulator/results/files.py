"""Atomic files, plain JSON and the lock that distinguishes a running folder from an interrupted one."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from simulator.results.errors import ResultsError, from_os_error

LOCK_NAME = "run.lock"
# A reader asking "is it running?" holds the lock for microseconds, unless the system lets it wait meanwhile;
# and a process that was killed, or is about to end, needs a moment too.
_LOCK_WAIT_S, _LOCK_LOOK_S = 1.0, 0.005


def plain(value: Any) -> Any:
    """Turn a value into what JSON can hold: numpy becomes Python; NaN and infinity become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def json_text(value: Any) -> str:
    """One JSON document, keys in the given order, NaN as null, a newline at the end."""
    return json.dumps(plain(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def write_new(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file of its own, outside of run folders: all of it or nothing; a device is written to as is.

    Raises:
        ResultsError: the disk is full or the folder not writable; nothing is left there.
    """
    if path.exists() and not path.is_file():
        try:
            with path.open("wb") as file:
                write(file)
        except OSError as error:
            raise from_os_error(path, error, resumable=False) from error
        return
    # Resolved: the file that a link names is written, not the link.
    write_atomic(path.resolve(), write, resumable=False)


def write_atomic(path: Path, write: Callable[[IO[bytes]], object], *, resumable: bool = True) -> int:
    """Write a file so that `path` holds either its old content or all of the new one.

    Args:
        path: the file.
        write: writes the content to the open file.
        resumable: whether it is part of a folder that can be resumed, which an error then advises.

    Returns:
        The file's size in bytes.

    Raises:
        ResultsError: the disk is full or the folder not writable; `path` is untouched.
    """
    # Hidden, so that no reader's pattern matches a half-written file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        # Also where `write` itself gave up: no half a file stays.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise from_os_error(path, error, resumable=resumable) from error
        raise
    return size


def write_text(path: Path, text: str) -> None:
    """`write_atomic` for a text."""
    write_atomic(path, lambda file: file.write(text.encode()))


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder survive a power cut."""
    if sys.platform == "win32":  # no handle on folders there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class FolderLock:
    """An exclusive flock on FOLDER/run.lock, held until `release` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        """Take the lock.

        Raises:
            ResultsError: another process holds it.
        """
        path = folder / LOCK_NAME
        try:
            self._handle: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise from_os_error(path, error) from error
        until = time.monotonic() + _LOCK_WAIT_S
        while not _try_lock(self._handle, exclusive=True):
            if time.monotonic() >= until:
                os.close(self._handle)
                raise ResultsError(
                    path,
                    "found it locked by a running process, expected a free folder.",
                    "Wait for that process to end, or stop it, then try again.",
                )
            time.sleep(_LOCK_LOOK_S)

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def is_locked(folder: Path) -> bool:
    """Whether a live process holds the folder's lock."""
    with _opened(folder / LOCK_NAME) as handle:
        return handle is not None and not _try_lock(handle, exclusive=False)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)


def _try_lock(handle: int, *, exclusive: bool) -> bool:
    if sys.platform == "win32":  # no flock: a dead run reads as interrupted, a live one too
        return True
    import fcntl

    try:
        fcntl.flock(handle, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
