"""SeqVault: stores behaviour histories. Start at `store.py`."""

from seqvault.errors import (
    DamagedDataError,
    SchemaError,
    StoreClosedError,
    StoreError,
    StoreFullError,
    StoreLockedError,
    StoreReadOnlyError,
)
from seqvault.schema import BEHAVIOURS, Column, HistorySchema, SequenceType
from seqvault.store import Columns, HistoryBatch, HistoryStore, ReadTime, open_store, store_kinds

__all__ = [
    "BEHAVIOURS",
    "Column",
    "Columns",
    "DamagedDataError",
    "HistoryBatch",
    "HistorySchema",
    "HistoryStore",
    "ReadTime",
    "SchemaError",
    "SequenceType",
    "StoreClosedError",
    "StoreError",
    "StoreFullError",
    "StoreLockedError",
    "StoreReadOnlyError",
    "open_store",
    "store_kinds",
]
