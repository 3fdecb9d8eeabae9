"""Damage in doubt: beside a writer, files that look damaged may have been replaced while they were read.

A reader takes the manifest and then opens what it names, which a seal or a compaction may remove in between.
And of a log that is written to at this moment a reader may get a later record without an earlier one. Neither
is there when looked at again: the manifest is another one, or the record is whole. So damage is believed only
when it is found twice in a row, the same, under the same manifest.
"""

from pathlib import Path

from seqvault.errors import DamagedDataError, StoreError
from seqvault.vault.disk.manifest import Manifest

__all__ = ["Doubt"]

# A writer that seals and compacts without a pause wins each of a few races, not so many.
_TRIES = 100


class Doubt:
    """One attempt at reading a store, begun anew from the manifest as long as its damage is in doubt.

    Args:
        folder: the store's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: tuple[Manifest | None, str] | None = None
        self._left = _TRIES

    def weigh(self, manifest: Manifest | None, error: DamagedDataError) -> None:
        """Return where it is worth another try.

        Args:
            manifest: what the store was read by; None where it did not load.

        Raises:
            DamagedDataError: the one given, which is to be believed.
            StoreError: the writer replaced files at each of many tries.
        """
        found = manifest, str(error)
        if found == self._found:
            raise error
        self._found = found
        self._left -= 1
        if not self._left:
            raise StoreError(
                f"{self._folder}: its writer replaced files {_TRIES} times while they were read; try again"
            ) from error
