"""SeqVault loaded and opened as the benchmarks need it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.stores.harness.generator import Histories
from seqvault import HistorySchema, StoreError, open_store

# Behaviours a user keeps in DRAM in the benchmarks of the tail.
TAIL = 256
APPENDED = 10_000


class UnavailableError(RuntimeError):
    """Something this SeqVault does not offer: its rows are null, with this reason."""


def open_vault(path: Path, schema: HistorySchema, **options: Any) -> Any:
    """An open store. Raises UnavailableError when it has no such option."""
    try:
        return open_store("seqvault", path, schema=schema, **options)
    except StoreError as error:
        if "unexpected keyword" in str(error):
            raise UnavailableError(f"SeqVault has no option of {sorted(options)}: {error}") from error
        raise


def load_vault(path: Path, histories: Histories, **options: object) -> None:
    """All histories in blocks, compacted."""
    with open_vault(path, histories.schema, **options) as store:
        store.bulk_load(histories.user_ids, histories.columns)
        store.compact(full=True)


def load_with_tails(path: Path, histories: Histories, **options: Any) -> Any:
    """An open store whose newest TAIL behaviours per user are in DRAM, the older ones in blocks."""
    old, new = histories.split_newest(TAIL)
    users = histories.user_ids
    with open_vault(path, histories.schema, **options) as store:
        store.bulk_load(users[old], histories.rows_of(old))
    store = open_vault(path, histories.schema, seal_rows=1 << 30, **options)
    append_all(store, users[new], histories.rows_of(new))
    return store


def append_all(store: Any, users: np.ndarray, columns: dict[str, np.ndarray]) -> None:
    """Append rows in their order, many at a time."""
    for ids, rows in stream_batches(users, columns, APPENDED):
        store.append(ids, rows)


def stream_batches(
    users: np.ndarray, columns: dict[str, np.ndarray], batch: int
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Rows in their order, `batch` at a time; views."""
    for start in range(0, len(users), batch):
        rows = slice(start, start + batch)
        yield users[rows], {name: values[rows] for name, values in columns.items()}


@contextmanager
def noting(rows: list[dict[str, Any]], **what: object) -> Iterator[None]:
    """Turn something unavailable into a row without a value, and its reason."""
    try:
        yield
    except UnavailableError as error:
        rows.append({**what, "value": None, "reason": str(error)})
