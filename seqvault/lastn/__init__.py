"""LastN: the control's store, behaviour histories in RocksDB in one of three layouts.

Start at `store.py`.
"""

from seqvault.lastn.store import LastNStore

__all__ = ["LastNStore"]
