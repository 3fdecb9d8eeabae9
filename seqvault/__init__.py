"""SeqVault: stores behaviour histories. Start at `store.py`.

`open_store` opens a store of any kind; `SeqVault` itself has more (docs/storage.md).
"""

import importlib
from typing import TYPE_CHECKING, Any

from seqvault.errors import (
    DamagedDataError,
    ExpiredWarning,
    SchemaError,
    StoreClosedError,
    StoreError,
    StoreFullError,
    StoreLockedError,
    StoreReadOnlyError,
)
from seqvault.query import Conditions
from seqvault.schema import BEHAVIOURS, Column, HistorySchema, SequenceType
from seqvault.store import Columns, HistoryBatch, HistoryStore, ReadTime, open_store, store_kinds

if TYPE_CHECKING:
    from seqvault.vault.store import SeqVault as SeqVault

__all__ = [
    "BEHAVIOURS",
    "Column",
    "Columns",
    "Conditions",
    "DamagedDataError",
    "ExpiredWarning",
    "HistoryBatch",
    "HistorySchema",
    "HistoryStore",
    "ReadTime",
    "SchemaError",
    "SeqVault",
    "SequenceType",
    "StoreClosedError",
    "StoreError",
    "StoreFullError",
    "StoreLockedError",
    "StoreReadOnlyError",
    "open_store",
    "store_kinds",
]


# PEP 562: importing numba takes a second, which who opens a store in memory need not.
def __getattr__(name: str) -> Any:
    if name != "SeqVault":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("seqvault.vault.store").SeqVault


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
