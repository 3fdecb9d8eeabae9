"""Which file a file is: names repeat, in another store and before and after a restore; identities do not.

Every segment and log carries eight random bytes in its head, and the manifest names them beside its number:

    | store u32 | file u32 |      the store's, drawn when it was made; the file's, drawn when that was made

So a file of another store, or one that this store made before it was restored from a backup, is refused
though it has the right name. Files of format 2 have none (0): the manifest of a store that was opened for
writing since knows them by their size and their footer's hash alone.
"""

import os
import struct
from pathlib import Path
from typing import NamedTuple

from seqvault.errors import DamagedDataError
from seqvault.vault.format.hash64 import hash64

__all__ = [
    "HEAD_BYTES",
    "LogFile",
    "SegmentFile",
    "StrangerError",
    "check_head",
    "file_head",
    "in_words",
    "new_file",
    "new_store",
]

_FORMAT = 2
_HEAD = struct.Struct("<4sIQQ")
HEAD_BYTES = _HEAD.size + 8
_WORD = 1 << 32


class StrangerError(DamagedDataError):
    """An intact file of another store, or of this one before or after a restore, under a name of ours."""


class SegmentFile(NamedTuple):
    """A segment as the manifest names it.

    Args:
        id: see the module.
        size: bytes; None where a manifest of format 2 names it.
        footer: its footer's hash; None likewise.
    """

    number: int
    id: int
    size: int | None = None
    footer: int | None = None


class LogFile(NamedTuple):
    """A log as the manifest names it.

    Args:
        id: see the module.
        end: byte behind its last record; None where it is still written to.
    """

    number: int
    id: int
    end: int | None = None


def new_store() -> int:
    """A random identity for a new store: 1..2**32 - 1."""
    return int.from_bytes(os.urandom(4), "little") or 1


def new_file(store: int) -> int:
    """A random identity for a new file of a store."""
    return store * _WORD + int.from_bytes(os.urandom(4), "little")


def in_words(file_id: int) -> str:
    """An identity as messages show it."""
    return f"{file_id:016x}" if file_id else "none (format 2)"


def file_head(magic: bytes, number: int, file_id: int) -> bytes:
    """(HEAD_BYTES,) the first bytes of a segment or log."""
    fields = _HEAD.pack(magic, _FORMAT, number, file_id)
    return fields + struct.pack("<Q", hash64(fields))


def check_head(path: Path, found: bytes, magic: bytes, number: int, file_id: int) -> None:
    """See that a file begins as the one that the manifest names.

    Raises:
        StrangerError: it begins as another one.
        DamagedDataError: its head is damaged.
    """
    if found == file_head(magic, number, file_id):
        return
    if len(found) == HEAD_BYTES:
        other_magic, form, other_number, other = _HEAD.unpack_from(found)
        if other_magic == magic and form == _FORMAT and found == file_head(magic, other_number, other):
            raise StrangerError(_stranger(path, number, file_id, other_number, other))
    raise DamagedDataError(
        f"{path} begins with {found[:16]!r}: expected number {number} of format {_FORMAT}; restore it from "
        "backup"
    )


def _stranger(path: Path, number: int, file_id: int, other_number: int, other: int) -> str:
    if other_number != number:
        whose = f"file {other_number} under the name of file {number}"
    elif other // _WORD != file_id // _WORD:
        whose = "the file of this number of another store"
    else:
        whose = "another file of this number, of the same store before or after it was restored"
    return (
        f"{path} is {whose}: its identity is {in_words(other)}, the manifest names {in_words(file_id)}; put "
        "back the file that was there, or one of that identity from a backup"
    )
