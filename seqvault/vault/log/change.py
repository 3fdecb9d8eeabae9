"""What one record of the log does to the store."""

from typing import NamedTuple

from seqvault.schema import Array

__all__ = ["Change"]


class Change(NamedTuple):
    """One change, or rows of several that follow each other.

    Args:
        sequence: the number of the (last) change.
        kind: record.ROWS, DELETE or EXPIRE.
        table: place of the sequence; DELETE is for all.
        users: (N,) the users; none for EXPIRE.
        columns: of ROWS; `floor_s` of EXPIRE.
    """

    sequence: int
    kind: int
    table: int
    users: Array
    columns: dict[str, Array]

    def copied(self) -> "Change":
        """The same with arrays of its own."""
        columns = {name: values.copy() for name, values in self.columns.items()}
        return self._replace(users=self.users.copy(), columns=columns)
