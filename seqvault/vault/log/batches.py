"""Batch ids that were written lately: a batch that a client sends again is not written again."""

from collections.abc import Iterable

from seqvault.errors import StoreError

__all__ = ["REMEMBERED", "Batches"]

REMEMBERED = 1 << 16


class Batches:
    """The last REMEMBERED batch ids, and the change that each came with.

    They are in the log: with their rows, and all together at the beginning of every new log.
    """

    def __init__(self) -> None:
        self._sequence_of: dict[int, int] = {}

    def sequence_of(self, batch: int) -> int | None:
        """The number of the change a batch came with, or of a later one; None for an unknown batch."""
        return self._sequence_of.get(batch)

    def note(self, batches: Iterable[int], sequence: int) -> None:
        """Remember batches, and forget the oldest for them."""
        for batch in batches:
            self._sequence_of.pop(batch, None)
            self._sequence_of[batch] = sequence
        while len(self._sequence_of) > REMEMBERED:
            del self._sequence_of[next(iter(self._sequence_of))]

    def ids(self) -> list[int]:
        """All of them, oldest first."""
        return list(self._sequence_of)


def check_batch(batch: int | None) -> int | None:
    """A batch id, when it is one. Raises StoreError."""
    if batch is not None and not 0 <= batch < 1 << 64:
        raise StoreError(f"batch_id={batch}: expected within 0..2**64 - 1")
    return batch
