"""Devices that fail: a call that errors or is cut short, a disk with so many bytes left."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seqvault.vault.disk import files

WATCHED = (
    "open",
    "pread",
    "pwrite",
    "fdatasync",
    "fsync_folder",
    "fallocate",
    "ftruncate",
    "mkdir",
    "rename",
    "unlink",
    "link",
)
FAULTS = ("EIO", "short", "EINTR")


class FaultyIO(files.FileIO):
    """Counts the watched calls and lets one of them fail, or every one from it on.

    Args:
        at: the failing call, counted from 0; -1 for none.
        fault: "EIO" and "EINTR" fail without effect; "short" moves half of the bytes of a read or write and
            does nothing to other calls.
        lasting: the calls behind it fail too.
    """

    def __init__(self, at: int, fault: str, *, lasting: bool = False) -> None:
        self.at, self.fault, self.lasting = at, fault, lasting
        self.calls = 0
        self.failed: list[str] = []

    def _pass(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        number, self.calls = self.calls, self.calls + 1
        if self.at < 0 or not (number == self.at or (self.lasting and number > self.at)):
            return call(*arguments)
        self.failed.append(name)
        if self.fault == "short":
            return self._short(name, call, *arguments)
        code = errno.EIO if self.fault == "EIO" else errno.EINTR
        raise OSError(code, os.strerror(code))

    @staticmethod
    def _short(name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        if name == "pread" and arguments[1] > 1:
            fd, size, offset = arguments
            return call(fd, size // 2, offset)
        if name == "pwrite" and len(arguments[1]) > 1:
            fd, data, offset = arguments
            return call(fd, memoryview(data)[: len(data) // 2], offset)
        return call(*arguments)


def _watch(name: str) -> Callable[..., Any]:
    def watched(self: FaultyIO, *arguments: Any) -> Any:
        return self._pass(name, getattr(super(FaultyIO, self), name), *arguments)

    return watched


for _name in WATCHED:
    setattr(FaultyIO, _name, _watch(_name))


class FullIO(files.FileIO):
    """A device with `left` bytes of space: short counts, then ENOSPC, as the kernel does it.

    Space is taken where a file grows, and by names a little; it comes back when the last name goes.
    """

    NAME_BYTES = 64

    def __init__(self, left: float) -> None:
        self.left = self.least = left
        self.refused = 0

    def open(self, path: Path, flags: int, mode: int) -> int:
        if flags & os.O_CREAT and not path.exists():
            self._take(self.NAME_BYTES)
        elif flags & os.O_TRUNC:
            self.left += path.stat().st_size
        return super().open(path, flags, mode)

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        grows = max(0, offset + len(data) - os.fstat(fd).st_size)
        kept = len(data) - max(0, grows - int(min(self.left, grows)))
        if kept <= 0 < len(data):
            self._refuse()
        written = super().pwrite(fd, memoryview(data)[:kept], offset)
        self._took(max(0, grows - (len(data) - written)))
        return written

    def fallocate(self, fd: int, offset: int, size: int) -> None:
        self._take(max(0, offset + size - os.fstat(fd).st_size))
        super().fallocate(fd, offset, size)

    def ftruncate(self, fd: int, size: int) -> None:
        self._take(size - os.fstat(fd).st_size)
        super().ftruncate(fd, size)

    def mkdir(self, folder: Path) -> None:
        self._take(self.NAME_BYTES)
        super().mkdir(folder)

    def rename(self, old: Path, new: Path) -> None:
        freed = new.stat().st_size if new.exists() and new.stat().st_nlink == 1 else 0
        super().rename(old, new)
        self.left += freed

    def unlink(self, path: Path) -> None:
        found = path.stat()
        super().unlink(path)
        self.left += found.st_size if found.st_nlink == 1 else 0

    def link(self, old: Path, new: Path) -> None:
        self._take(self.NAME_BYTES)
        super().link(old, new)

    def _take(self, size: int) -> None:
        if size > self.left:
            self._refuse()
        self._took(size)

    def _took(self, size: int) -> None:
        self.left -= size
        self.least = min(self.least, self.left)

    def _refuse(self) -> None:
        self.refused += 1
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
