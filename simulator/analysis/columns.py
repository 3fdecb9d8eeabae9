"""Tables as columns: what the analysis reads, whether it comes from a file or from memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from simulator.errors import SimulatorError

Array = NDArray[Any]
Columns = Mapping[str, Array]
# A pyarrow Table, or a mapping of columns; pyarrow ships no types.
Table: TypeAlias = Any

_AT_ONCE = 1 << 18  # rows that are looked up together
_CLOSE = 4  # unsigned ids are, if they spread over fewer than so many numbers each


class AnalysisError(SimulatorError):
    """A table or a setting the analysis cannot use."""


def columns(table: Table, *names: str) -> dict[str, Array]:
    """The named columns as numpy arrays; text columns stay for `labels`.

    Raises:
        AnalysisError: a column is missing.
    """
    return {name: _column(table, name) for name in names}


def units_of(ids: Array) -> tuple[Array, NDArray[np.int32]]:
    """What `np.unique` finds with `return_inverse`, in a quarter of its memory.

    Args:
        ids: (R,) of units, such as users.

    Returns:
        (U,) the distinct ids, sorted, and (R,) the place of each row's among them.
    """
    at = np.empty(len(ids), np.int32)
    parts = [slice(first, first + _AT_ONCE) for first in range(0, len(ids), _AT_ONCE)]
    unsigned = ids.dtype.kind == "u" and len(ids) > 0
    if unsigned and int(ids.max()) - int(ids.min()) < _CLOSE * len(ids):
        # Close together they are counted, a tenth of the work of sorting and searching.
        least = ids.min()
        there = np.zeros(int(ids.max() - least) + 1, np.bool_)
        for part in parts:
            there[ids[part] - least] = True
        place = np.cumsum(there, dtype=np.int32) - np.int32(1)
        for part in parts:
            at[part] = place[ids[part] - least]
        return np.flatnonzero(there).astype(ids.dtype) + least, at
    units = np.unique(ids)
    for part in parts:
        at[part] = np.searchsorted(units, ids[part])
    return units, at


def labels(table: Table, name: str, known: tuple[str, ...]) -> NDArray[np.int16]:
    """A text column as indices into `known`, -1 for any other text.

    Raises:
        AnalysisError: the column is missing.
    """
    if isinstance(table, Mapping):
        text = pa.array(_column(table, name), pa.string())
    else:
        _require(table.column_names, name)
        text = table.column(name).combine_chunks()
    # Hashing text once per distinct value: sorting half a million names would take a second.
    coded = text if pa.types.is_dictionary(text.type) else text.dictionary_encode()
    if not len(coded):
        return np.zeros(0, np.int16)
    lookup = np.array([known.index(d) if d in known else -1 for d in coded.dictionary.to_pylist()], np.int16)
    found: NDArray[np.int16] = lookup[coded.indices.to_numpy(zero_copy_only=False)]
    return found


def _column(table: Table, name: str) -> Array:
    if isinstance(table, Mapping):
        _require(list(table), name)
        return np.asarray(table[name])
    _require(table.column_names, name)
    return np.asarray(table.column(name).to_numpy())


def _require(found: list[str], name: str) -> None:
    if name not in found:
        raise AnalysisError(
            f"Column {name!r} is missing, found {found}. Write the table with the run's schema."
        )
