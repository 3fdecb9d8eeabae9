"""Refusing a block that is not what the index says of it."""

from collections.abc import Mapping
from typing import NoReturn

from seqvault.errors import DamagedDataError
from seqvault.schema import Array
from seqvault.vault.disk.segment import Segment

__all__ = ["Segments", "refuse"]

Segments = Mapping[int, Segment]


def refuse(segments: Segments, block: Array, words: str) -> NoReturn:
    """Raise DamagedDataError for a block."""
    segment = segments[int(block["slot"])]
    raise DamagedDataError(
        f"{segment.path}: the block at byte {block['offset']}, {block['rows']} behaviours of user "
        f"{block['user']} from {block['first_s']} to {block['last_s']}, {words}; restore it from backup, "
        "other blocks are intact"
    )
