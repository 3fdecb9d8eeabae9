"""Writing a segment: blocks behind each other, a footer, and a name once all of it is durable and reads back.

What a segment replaces, a log or older segments, is given up only behind it. A byte that changed on its way
into the file (memory, a driver, the file system) would be found by the first read of it, too late: so every
block is read from the file and verified while what it was made from is still there.
"""

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from seqvault.errors import DamagedDataError
from seqvault.schema import Array
from seqvault.vault.disk.files import (
    Own,
    WriterStoppedError,
    close,
    make_file,
    remove,
    rename,
    sync,
    sync_folder,
    write_at,
)
from seqvault.vault.disk.identity import SegmentFile
from seqvault.vault.disk.points import point
from seqvault.vault.disk.segment import HEAD_BYTES, Segment, segment_footer, segment_head
from seqvault.vault.format.entries import ENTRY
from seqvault.vault.sealed.blockcheck import read_back
from seqvault.vault.sealed.salvage import stone_blocks

__all__ = ["SegmentWriter"]

# Written at once: large enough that the calls cost nothing, small enough to stay in the cache.
_BUFFER_BYTES = 1 << 20


class SegmentWriter:
    """Writes a new segment, which has its name only once `finish` made it durable; else it is removed.

    Args:
        path: its name when it is finished.
        file: its number and identity, written into it.
        own: whether the folder is still the writer's.

    Attributes:
        file: once it is finished, as the manifest names it.

    Raises:
        FolderLostError: it is not.
    """

    def __init__(self, path: Path, file: SegmentFile, own: Own) -> None:
        self.path = path
        self.file = file
        self._own = own
        own()
        self._draft = path.with_suffix(".new")
        self._fd = make_file(self._draft)
        point("segment.made")
        self._buffer: list[Array | bytes] = [segment_head(file)]
        self._buffered = HEAD_BYTES
        self._flushed = 0
        self._entries: list[Array] = []
        self._finished = False

    @property
    def size(self) -> int:
        """Bytes so far, footer aside."""
        return self._flushed + self._buffered

    @property
    def empty(self) -> bool:
        """Whether nothing was added."""
        return not self._entries

    def add(self, data: Array, entries: Array) -> None:
        """Put encoded blocks behind the others.

        Args:
            data: (N,) u1, the blocks; not changed before `finish`.
            entries: ENTRY of each, offsets counted from the beginning of `data`.
        """
        placed = entries.copy()
        placed["offset"] += self.size
        self._put(data, placed)

    def add_stones(self, stones: Array) -> None:
        """Put tombstones, (K,) ENTRY, behind what is there."""
        self._put(stone_blocks(stones), stones)

    def finish(self) -> Array:
        """Footer, sync, a look at what is there, name, sync of the name. Returns the footer's entries.

        Raises:
            StoreFullError: no space; nothing was kept.
            DamagedDataError: what was written does not read back; nothing was kept.
            SyncFailedError: whether it is durable is unknown.
            FolderLostError: the folder is somebody else's; its names were left alone.
        """
        entries = np.concatenate(self._entries) if self._entries else np.empty(0, ENTRY)
        footer, checksum = segment_footer(self.size, entries)
        self._buffer.append(footer)
        self._flush()
        point("segment.written")
        sync(self._fd, self._draft)
        point("segment.synced")
        self._own()
        self._read_back(entries, footer)
        self._own()
        rename(self._draft, self.path)
        self._finished = True
        self.file = self.file._replace(size=self._flushed, footer=checksum)
        point("segment.renamed")
        sync_folder(self.path.parent)
        point("segment.named")
        return entries

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        close(self._fd)
        # The draft may have its name already, or be nobody's: the next open sorts that out.
        if not self._finished and not isinstance(error, WriterStoppedError):
            remove(self._draft, self._own)

    def _put(self, data: Array, entries: Array) -> None:
        self._entries.append(entries)
        self._buffer.append(data)
        self._buffered += len(data)
        if self._buffered >= _BUFFER_BYTES:
            self._flush()

    def _read_back(self, entries: Array, footer: bytes) -> None:
        try:
            draft = Segment(self._draft, self.file)
            try:
                read_back(draft, entries, footer)
            finally:
                draft.close()
        except DamagedDataError as error:
            # Without the advice: there is nothing to restore.
            found, _, _ = str(error).partition(";")
            raise DamagedDataError(
                f"{found}, just after it was written. Nothing of it is used, and what it was to replace "
                "stays: nothing is lost. Check memory and device, then write again"
            ) from error

    def _flush(self) -> None:
        for part in self._buffer:
            data = memoryview(part) if isinstance(part, bytes) else part.data
            write_at(self._fd, data, self._flushed, self._draft)
            self._flushed += len(data)
        self._buffer, self._buffered = [], 0
        point("segment.writing")
