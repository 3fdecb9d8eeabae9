"""What an open store owns: a folder, whatever becomes of its path, and the process that opened it.

A path is looked up anew at each use: a folder may be moved, removed or replaced, and then the path leads to
somebody else's files. And a fork copies a store into a process that has none of its threads and shares its
descriptors, locks included. So a store keeps a descriptor of what it opened, asks before it changes names,
and learns of forks. docs/storage.md says what a caller sees.
"""

import ctypes
import os
import weakref
from pathlib import Path
from typing import Protocol

__all__ = [
    "Inode",
    "forked_store",
    "inode_of",
    "keep_for_ever",
    "leads_to",
    "lost_folder",
    "open_folder",
    "tell_of_forks",
]


Inode = tuple[int, int]
"""Device and number of a file or folder: nobody else's as long as a descriptor of it is open."""


def open_folder(path: Path) -> int:
    """A descriptor of a folder."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def inode_of(fd: int) -> Inode:
    """What a descriptor is of."""
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def leads_to(path: Path, inode: Inode) -> bool:
    """Whether a path leads to a file or folder that is held open."""
    try:
        found = path.stat()
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == inode


def lost_folder(folder: Path) -> str:
    """What to say where a path no longer leads to the folder that was opened."""
    return (
        f"{folder} no longer leads to the folder that was opened: it was moved, removed or replaced. This "
        "store has stopped, and leaves what is there now alone. Close it. What it acknowledged lies in its "
        "own folder: open that where it was moved to"
    )


class _Owned(Protocol):
    def forked(self) -> None:
        """Called in a child, right after a fork: whatever this is, it is the parent's."""


def tell_of_forks(owned: _Owned) -> None:
    """Have `owned.forked()` called in every child that is forked while `owned` lives."""
    _owned.add(owned)


def forked_store(path: Path, owner: int) -> str:
    """What to say where a child uses a store that its parent, process `owner`, opened."""
    return (
        f"{path} was opened by process {owner}; this is its child {os.getpid()}, which must not use what it "
        "inherited. Open the store in this process, with read_only=True while another one writes; or start "
        'processes with multiprocessing\'s "spawn"'
    )


def keep_for_ever(thing: object) -> None:
    """Never run the destructor of `thing`, not even when the interpreter ends."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


_owned: "weakref.WeakSet[_Owned]" = weakref.WeakSet()


def _tell() -> None:
    for owned in list(_owned):
        owned.forked()


os.register_at_fork(after_in_child=_tell)
