"""A store's items, numbered: by their attribute, such as the category, then by id.

A block that names items by number spends a third less on them: those one user likes lie close together; and
the attribute follows from the number. An order by popularity within the category gains another 2% of the
column, but the table, sorted in fewer places, would take that much more.
"""

from typing import NamedTuple

import numpy as np

from seqvault.schema import Array

__all__ = ["ItemTable"]


class ItemTable(NamedTuple):
    """Items with their attribute.

    Args:
        key: position of the items' column in the schema.
        attribute: position of the attribute's column.
        values: (I,) items in the column's dtype, ascending (modulo 2**64) where the attribute is equal.
        attributes: (I,) their attribute, in its column's dtype, ascending modulo 2**64.
    """

    key: int
    attribute: int
    values: Array
    attributes: Array

    def groups(self) -> tuple[Array, Array]:
        """The distinct attributes, (A,) u8, and where the items of each begin, (A+1,) i8."""
        of_items = words_of(self.attributes)
        begins = np.flatnonzero(np.diff(of_items, prepend=~of_items[:1]))
        return of_items[begins], np.append(begins, len(of_items))

    def numbers(self, values: Array, attributes: Array) -> tuple[Array, Array]:
        """Numbers of items with their attribute, (K,) i8, and which of them are in the table.

        Args:
            values, attributes: (K,) u8, modulo 2**64.
        """
        names, bounds = self.groups()
        of_items = words_of(self.values)
        found = np.zeros(len(values), "?")
        numbers = np.zeros(len(values), "i8")
        for attribute in np.unique(attributes):
            group = np.searchsorted(names, attribute)
            if group == len(names) or names[group] != attribute:
                continue
            asked = np.flatnonzero(attributes == attribute)
            there = of_items[bounds[group] : bounds[group + 1]]
            at = np.minimum(np.searchsorted(there, values[asked]), len(there) - 1)
            found[asked] = there[at] == values[asked]
            numbers[asked] = bounds[group] + at
        return numbers, found


def words_of(values: Array) -> Array:
    """Integers of any width as u8, modulo 2**64."""
    return values.astype("i8").view("u8") if values.dtype.kind == "i" else values.astype("u8")
