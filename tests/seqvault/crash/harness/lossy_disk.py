"""A disk that forgets: what may be on it after a loss of power, worked out from the calls a store made.

`RecordingIO` stands in for `files.io`, passes every call on and notes it. `crashes` then replays the notes up
to any moment and gives what a disk may hold there. The model is as unkind as POSIX allows a device that
honours flushes:

- 512-byte sectors written since the file's last fdatasync are old, new or any version between, each by
  itself, whatever the order of the writes; in one mode sectors tear, in another those never written before
  hold stale sectors of other files;
- a file's length is any it had since then;
- names made, renamed, linked and removed since the folder's last fsync are there or not, in some modes in
  order (ext4), in others each by itself; an fdatasync of a file says nothing of its name;
- a sync covers what was written before it began, not what other threads wrote meanwhile.

The process may die as well, at any call and with nothing tidied up; what it wrote stays in the page cache,
synced or not, for the next process to read.
"""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from seqvault.vault.disk import files

SECTOR = 512
DATA_MODES = ("lost", "kept", "prefix", "shuffled", "late", "torn", "stale")
NAME_MODES = ("lost", "kept", "prefix", "subset")
Sectors = dict[int, bytes]


@dataclass
class Event:
    """One noted call. `inode` is a file's number, whatever its names; `began` is set for syncs alone."""

    kind: str
    inode: int = 0
    path: str = ""
    other: str = ""
    offset: int = 0
    data: bytes = b""
    began: int = 0
    mark: object = None


class KilledError(BaseException):
    """The process is dead; not an Exception, so that nobody goes on after it."""


class RecordingIO(files.FileIO):
    """Notes every call that changes files under `root`, whose present content counts as durable.

    Args:
        sync_s: let each sync take so long, in wall seconds, so that other threads write meanwhile.
    """

    def __init__(self, root: Path, sync_s: float = 0.0) -> None:
        self.root = root
        self._sync_s = sync_s
        self.events: list[Event] = []
        self.base = Image.read(root)
        self._inodes = dict(self.base.names)
        self._next = 1 + max(self.base.files, default=0)
        self._by_fd: dict[int, int] = {}
        self._dies_at: float = float("inf")
        self._lock = threading.RLock()

    def mark(self, what: object) -> None:
        """Note something the workload knows, such as an acknowledgement."""
        with self._lock:
            self.events.append(Event("mark", mark=what))

    def die_in(self, events: int) -> None:
        """Let the process die after so many more events: every call fails from then on."""
        self._dies_at = len(self.events) + events

    @property
    def dead(self) -> bool:
        return len(self.events) >= self._dies_at

    def revive(self) -> None:
        """The next process begins: what the dead one had open is closed, its locks are gone."""
        self._dies_at = float("inf")
        for fd in self._by_fd:
            os.close(fd)
        self._by_fd.clear()

    def close(self, fd: int) -> None:
        with self._alive():
            super().close(fd)
            self._by_fd.pop(fd, None)

    def open(self, path: Path, flags: int, mode: int) -> int:
        with self._alive():
            name = self._name(path)
            fd = super().open(path, flags, mode)
            if name not in self._inodes:
                self._inodes[name] = self._next
                self.events.append(Event("make", self._next, name))
                self._next += 1
            elif flags & os.O_TRUNC:
                self.events.append(Event("truncate", self._inodes[name], offset=0))
            self._by_fd[fd] = self._inodes[name]
            return fd

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        with self._alive():
            return super().pread(fd, size, offset)

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        with self._alive():
            written = super().pwrite(fd, data, offset)
            kept = bytes(memoryview(data).cast("B")[:written])
            self.events.append(Event("write", self._by_fd[fd], offset=offset, data=kept))
            return written

    def fallocate(self, fd: int, offset: int, size: int) -> None:
        with self._alive():
            super().fallocate(fd, offset, size)
            self.events.append(Event("allocate", self._by_fd[fd], offset=offset + size))

    def ftruncate(self, fd: int, size: int) -> None:
        with self._alive():
            super().ftruncate(fd, size)
            self.events.append(Event("truncate", self._by_fd[fd], offset=size))

    def fdatasync(self, fd: int) -> None:
        with self._alive():
            began, inode = len(self.events), self._by_fd[fd]
        time.sleep(self._sync_s)
        super().fdatasync(fd)
        with self._alive():
            self.events.append(Event("sync", inode, began=began))

    def fsync_folder(self, folder: Path) -> None:
        with self._alive():
            began = len(self.events)
        super().fsync_folder(folder)
        with self._alive():
            self.events.append(Event("sync names", path=self._name(folder), began=began))

    def mkdir(self, folder: Path) -> None:
        with self._alive():
            super().mkdir(folder)
            self.events.append(Event("mkdir", path=self._name(folder)))

    def rename(self, old: Path, new: Path) -> None:
        with self._alive():
            super().rename(old, new)
            self._inodes[self._name(new)] = self._inodes.pop(self._name(old))
            self.events.append(Event("rename", path=self._name(old), other=self._name(new)))

    def unlink(self, path: Path) -> None:
        with self._alive():
            super().unlink(path)
            del self._inodes[self._name(path)]
            self.events.append(Event("unlink", path=self._name(path)))

    def link(self, old: Path, new: Path) -> None:
        with self._alive():
            super().link(old, new)
            self._inodes[self._name(new)] = self._inodes[self._name(old)]
            self.events.append(Event("link", path=self._name(old), other=self._name(new)))

    @contextmanager
    def _alive(self) -> Iterator[None]:
        with self._lock:
            if self.dead:
                raise KilledError
            yield

    def _name(self, path: Path) -> str:
        return str(Path(path).relative_to(self.root))


@contextmanager
def instead_of_io(device: files.FileIO) -> Iterator[None]:
    """Every file operation of the engine goes through `device` meanwhile."""
    real = files.io
    files.io = device
    try:
        yield
    finally:
        files.io = real


@dataclass
class Image:
    """Folders, names and files of a disk. Paths are relative to its root."""

    folders: set[str] = field(default_factory=set)
    names: dict[str, int] = field(default_factory=dict)
    files: dict[int, tuple[int, Sectors]] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path) -> "Image":
        image, numbers = cls(), dict[int, int]()
        for path in sorted(root.rglob("*")):
            name = str(path.relative_to(root))
            if path.is_dir():
                image.folders.add(name)
                continue
            number = numbers.setdefault(path.stat().st_ino, len(numbers) + 1)
            image.names[name] = number
            if number not in image.files:
                image.files[number] = _content(path)
        return image

    def write(self, root: Path) -> None:
        """Make these files in an empty folder."""
        for folder in sorted(self.folders):
            (root / folder).mkdir()
        written: dict[int, Path] = {}
        for name, number in self.names.items():
            path = root / name
            if not path.parent.is_dir():
                continue
            if number in written:
                os.link(written[number], path)
                continue
            written[number] = path
            size, sectors = self.files[number]
            with path.open("wb") as file:
                file.truncate(size)
                for place, data in sectors.items():
                    if place * SECTOR < size:
                        file.seek(place * SECTOR)
                        file.write(data[: size - place * SECTOR])


class _File:
    """One file's durable content, and every version since."""

    def __init__(self, size: int, sectors: Sectors) -> None:
        self.size, self.sectors = size, sectors
        self.now_size, self.now = size, dict(sectors)
        self.pending: list[tuple[int, int, Sectors]] = []

    def write(self, index: int, offset: int, data: bytes) -> None:
        changed: Sectors = {}
        for place, piece in _cut(data, offset):
            start = max(offset, place * SECTOR) - place * SECTOR
            old = self.now.get(place, b"").ljust(SECTOR, b"\0")
            changed[place] = old[:start] + piece + old[start + len(piece) :]
        self._change(index, max(self.now_size, offset + len(data)), changed)

    def resize(self, index: int, size: int) -> None:
        changed: Sectors = {}
        if size < self.now_size:
            edge = size // SECTOR
            changed = {place: b"\0" * SECTOR for place in self.now if place > edge}
            if edge in self.now:
                changed[edge] = self.now[edge][: size % SECTOR].ljust(SECTOR, b"\0")
        self._change(index, size, changed)

    def sync(self, before: int) -> None:
        while self.pending and self.pending[0][0] < before:
            _, self.size, changed = self.pending.pop(0)
            self.sectors.update(changed)

    def crash(self, mode: str, rng: np.random.Generator, stale: Sequence[bytes]) -> tuple[int, Sectors]:
        """A content the disk may hold."""
        if not self.pending or mode == "lost":
            return self.size, dict(self.sectors)
        if mode == "kept":
            return self.now_size, dict(self.now)
        if mode == "prefix":
            return self._prefix(rng)
        versions: dict[int, list[bytes]] = {}
        for _, _, changed in self.pending:
            for place, data in changed.items():
                versions.setdefault(place, []).append(data)
        sectors = dict(self.sectors)
        last = self.pending[-1][2]
        for place, data in versions.items():
            old = self.sectors.get(place)
            if mode == "late":
                if place in last:
                    sectors[place] = last[place]
                continue
            choice = int(rng.integers(-1, len(data)))
            found = data[choice] if choice >= 0 else (old or b"\0" * SECTOR)
            if mode == "torn" and rng.random() < 0.3:
                at = int(rng.integers(SECTOR))
                found = data[-1][:at] + (old or b"\0" * SECTOR)[at:]
            if mode == "stale" and choice < 0 and old is None and stale:
                found = stale[int(rng.integers(len(stale)))]
            sectors[place] = found
        sizes = [self.size, *(size for _, size, _ in self.pending)]
        size = sizes[-1] if mode == "late" or rng.random() < 0.5 else sizes[int(rng.integers(len(sizes)))]
        return size, sectors

    def _prefix(self, rng: np.random.Generator) -> tuple[int, Sectors]:
        whole = int(rng.integers(len(self.pending)))
        sectors, size = dict(self.sectors), self.size
        for _, new_size, changed in self.pending[:whole]:
            sectors.update(changed)
            size = new_size
        _, new_size, changed = self.pending[whole]
        places = sorted(changed)
        start, end = sorted(rng.integers(0, len(places) + 1, 2).tolist())
        if rng.random() < 0.5:
            start = 0
        sectors.update({place: changed[place] for place in places[start:end]})
        return (new_size if rng.random() < 0.7 else size), sectors

    def _change(self, index: int, size: int, changed: Sectors) -> None:
        self.now.update(changed)
        self.now_size = size
        self.pending.append((index, size, changed))


class Disk:
    """The events of a recording, replayed; asked at any moment what a loss of power would leave."""

    def __init__(self, base: Image) -> None:
        self._files = {number: _File(size, dict(s)) for number, (size, s) in base.files.items()}
        self._folders, self._names = set(base.folders), dict(base.names)
        self._pending: list[tuple[int, Event]] = []
        self._stale: list[bytes] = []

    def apply(self, index: int, event: Event) -> None:
        match event.kind:
            case "write":
                self._files[event.inode].write(index, event.offset, event.data)
                self._stale.extend(piece for _, piece in _cut(event.data, 0) if len(piece) == SECTOR)
                del self._stale[:-4000]
            case "truncate":
                self._files[event.inode].resize(index, event.offset)
            case "allocate":
                file = self._files[event.inode]
                file.resize(index, max(file.now_size, event.offset))
            case "sync":
                self._files[event.inode].sync(event.began)
            case "sync names":
                self._sync_names(event.path, event.began)
            case "make":
                self._files[event.inode] = _File(0, {})
                self._pending.append((index, event))
            case "mkdir" | "rename" | "unlink" | "link":
                self._pending.append((index, event))

    def crash(self, data_mode: str, name_mode: str, rng: np.random.Generator) -> Image:
        image = Image(set(self._folders), dict(self._names))
        for kept in self._kept(name_mode, rng):
            _rename(image, kept)
        for number in set(image.names.values()):
            image.files[number] = self._files[number].crash(data_mode, rng, self._stale)
        return image

    def _sync_names(self, folder: str, before: int) -> None:
        image, left = Image(self._folders, self._names), []
        for index, event in self._pending:
            if index < before and str(Path(event.other or event.path).parent) == folder:
                _rename(image, event)
            else:
                left.append((index, event))
        self._pending = left

    def _kept(self, mode: str, rng: np.random.Generator) -> list[Event]:
        events = [event for _, event in self._pending]
        if mode == "lost":
            return []
        if mode == "prefix":
            return events[: int(rng.integers(len(events) + 1))]
        if mode == "subset":
            return [event for event in events if rng.random() < 0.5]
        return events


def crashes(
    recording: RecordingIO, moments: Sequence[int], rng: np.random.Generator
) -> Iterator[tuple[int, str, Image]]:
    """(moment, modes, image) for each moment, an index among the events before which power is lost."""
    disk, at = Disk(recording.base), 0
    for moment in sorted(moments):
        for index in range(at, moment):
            disk.apply(index, recording.events[index])
        at = moment
        data_mode, name_mode = str(rng.choice(DATA_MODES)), str(rng.choice(NAME_MODES))
        yield moment, f"sectors {data_mode}, names {name_mode}", disk.crash(data_mode, name_mode, rng)


def _rename(image: Image, event: Event) -> None:
    """Let a change of names happen; nothing where what it began with is not there."""
    if event.kind == "mkdir":
        image.folders.add(event.path)
    elif event.kind == "make":
        image.names[event.path] = event.inode
    elif event.path in image.names:
        number = image.names[event.path] if event.kind == "link" else image.names.pop(event.path)
        if event.kind != "unlink":
            image.names[event.other] = number


def _content(path: Path) -> tuple[int, Sectors]:
    """Length and sectors of a file; those of zeros left out, as logs are reserved long before use."""
    data = path.read_bytes()
    padded = np.frombuffer(data.ljust(-(-len(data) // SECTOR) * SECTOR, b"\0"), "u8").reshape(-1, SECTOR // 8)
    used = np.flatnonzero(padded.any(axis=1)).tolist()
    return len(data), {place: padded[place].tobytes() for place in used}


def _cut(data: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """(sector, its piece of the data written at offset)."""
    at = 0
    while at < len(data):
        place, start = divmod(offset + at, SECTOR)
        piece = data[at : at + SECTOR - start]
        yield place, piece
        at += len(piece)
