"""Slots: the open segments a reader fetches blocks from, by the small numbers the index knows them by."""

from pathlib import Path

import numpy as np

from seqvault.errors import DamagedDataError
from seqvault.vault.disk.files import close, open_file, read_at
from seqvault.vault.format.entries import MAX_SLOTS

__all__ = ["Slots"]


class Slots:
    """Descriptors and paths by slot.

    Attributes:
        fds: (MAX_SLOTS,) i8, -1 where nothing is open. Never replaced: compiled reads know its address.
    """

    def __init__(self) -> None:
        self.fds = np.full(MAX_SLOTS, -1, "i8")
        self._paths: dict[int, Path] = {}

    def add(self, slot: int, fd: int, path: Path) -> None:
        """A segment is open."""
        self.fds[slot] = fd
        self._paths[slot] = path

    def remove(self, slot: int) -> None:
        """It is not any more; its path is still reported until the slot is taken again."""
        self.fds[slot] = -1

    def path(self, slot: int) -> Path:
        """The file in a slot."""
        return self._paths.get(slot, Path(f"segment in slot {slot}"))

    def damaged(
        self, slot: int, offset: int, user: int, start: int, rows: int, wrong: str
    ) -> DamagedDataError:
        """The error for a block that cannot be believed."""
        return DamagedDataError(
            f"{self.path(slot)}: the block at byte {offset} (user {user}, behaviours {start} to "
            f"{start + rows - 1}) {wrong}; restore the file from backup. Other users, and other blocks of "
            "this one, are still readable"
        )

    def read(self, slot: int, offset: int, size: int, *, direct: bool) -> bytes:
        """Bytes of a segment. Raises DamagedDataError."""
        if direct:
            # Past the page cache only aligned memory can be read into, which Python does not offer.
            fd = open_file(self.path(slot))
            try:
                return read_at(fd, size, offset, self.path(slot))
            finally:
                close(fd)
        return read_at(int(self.fds[slot]), size, offset, self.path(slot))

    def unreadable(self, slot: int, offset: int, size: int) -> DamagedDataError:
        """The error for a block whose bytes did not come: reads them once more, to learn why."""
        path = self.path(slot)
        try:
            self.read(slot, offset, size, direct=True)
        except FileNotFoundError as error:
            return DamagedDataError(f"{path} is gone ({error}); restore it from backup")
        except DamagedDataError as error:
            return error
        return DamagedDataError(
            f"{path}: {size} bytes at byte {offset} could not be read, and now can; check the device, and "
            "read again"
        )

    def closed(self, slot: int) -> DamagedDataError:
        """The error for a block in a segment that is not open."""
        return DamagedDataError(
            f"{self.path(slot)} is not open, but the index lists a block in it: reopen the store"
        )
