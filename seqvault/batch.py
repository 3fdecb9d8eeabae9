"""What a read returns: the histories of several users in flat arrays, and how long it took."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from seqvault.schema import Array, Columns, HistorySchema


# Not frozen: making one then cost 2.5 times as much, with cold caches a tenth of reading 200 behaviours.
@dataclass(eq=False, slots=True)
class HistoryBatch:
    """Histories of U users in one set of flat arrays.

    Args:
        user_ids: (U,) u8, in the order asked for.
        offsets: (U+1,) i8; user i's behaviours are rows offsets[i]:offsets[i+1].
        columns: name -> (N,) array, N = offsets[-1]; oldest behaviour first, equal times in arrival order.
    """

    user_ids: Array
    offsets: Array
    columns: dict[str, Array]

    @property
    def lengths(self) -> Array:
        """(U,) i8: behaviours of each user."""
        return np.diff(self.offsets)

    def of(self, i: int) -> dict[str, Array]:
        """The columns of the i-th user asked for; views, not copies."""
        start, end = int(self.offsets[i]), int(self.offsets[i + 1])
        return {name: values[start:end] for name, values in self.columns.items()}

    def __len__(self) -> int:
        return len(self.user_ids)

    def __iter__(self) -> Iterator[dict[str, Array]]:
        return (self.of(i) for i in range(len(self)))

    @classmethod
    def gather(
        cls, schema: HistorySchema, user_ids: Array, names: Sequence[str], parts: Sequence[Columns | None]
    ) -> "HistoryBatch":
        """One batch from each user's columns, in order; None is an empty history."""
        lengths = [0 if part is None else len(part[names[0]]) for part in parts]
        offsets = np.zeros(len(parts) + 1, "i8")
        np.cumsum(lengths, out=offsets[1:])
        full = [part for part in parts if part is not None]
        columns: dict[str, Array] = {}
        for name in names:
            arrays = [part[name] for part in full]
            columns[name] = np.concatenate(arrays) if arrays else np.empty(0, schema.dtype(name))
        return cls(user_ids, offsets, columns)


@dataclass(frozen=True)
class ReadTime:
    """How long a read took, in wall seconds.

    Args:
        call_s: the whole call as the caller waited for it.
        own_s: the store's own work within it, without what only the language binding costs; at most call_s.
    """

    call_s: float
    own_s: float
