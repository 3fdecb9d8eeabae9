"""What serves a sequence's reads: its index, its tails and their reader, compiled or plain.

Compiled is the rule. The plain ones need no numba, say the same in a few lines of numpy, and are what the
compiled ones are tested against.
"""

from typing import TYPE_CHECKING

from seqvault.schema import HistorySchema
from seqvault.vault.reading.locks import ReadersWriterLock
from seqvault.vault.reading.plain import PlainIndex, PlainReader, PlainTails

if TYPE_CHECKING:
    from seqvault.vault.reading.compiled_reader import Reader
    from seqvault.vault.reading.index import Index
    from seqvault.vault.reading.tails import Tails

__all__ = ["engine"]


def engine(
    schema: HistorySchema, lock: ReadersWriterLock, *, plain: bool, direct: bool = False
) -> "tuple[Index, Tails, Reader] | tuple[PlainIndex, PlainTails, PlainReader]":
    """An empty index and empty tails, and a reader of both.

    Args:
        schema: the columns of the tails and of what is read.
        lock: made with the same `plain`.
        direct: the segments' descriptors bypass the page cache and want aligned reads.
    """
    if plain:
        index, tails = PlainIndex(), PlainTails(schema)
        return index, tails, PlainReader(schema, index, tails, lock, direct=direct)
    from seqvault.vault.reading.compiled_reader import Reader
    from seqvault.vault.reading.index import Index
    from seqvault.vault.reading.tails import Tails

    compiled = Index(), Tails(schema)
    return *compiled, Reader(schema, *compiled, lock, direct=direct)
